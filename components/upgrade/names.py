"""Databases beside the backend store's own, in an upgrade."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import count

#: PostgreSQL cuts a longer name off; the endings below are 20 characters or so.
_LONGEST = 40


def coming(database: str) -> str:
    """The copy that is migrated, until it takes the database's place."""
    return f"{database[:_LONGEST]}_next"


def before(database: str, version: str) -> str:
    """What was served by an earlier version, until the new one has been checked."""
    return f"{_before(database)}{version.replace('.', '_')}"


def after(database: str, version: str, taken: Container[str] = ()) -> str:
    """What a version that was gone back from may have written; nothing removes it but a person.

    Args:
        database: Name of the backend store.
        version: The version.
        taken: Names that other databases have.
    """
    name = f"{database[:_LONGEST]}_after_{version.replace('.', '_')}"
    numbered = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(each for each in numbered if each not in taken)


def version_before(database: str, names: Iterable[str]) -> str | None:
    """The version whose database is kept as the way back; None where there is none."""
    mark = _before(database)
    found = (name.removeprefix(mark).replace("_", ".") for name in names if name.startswith(mark))
    return next(found, None)


def _before(database: str) -> str:
    return f"{database[:_LONGEST]}_before_"
