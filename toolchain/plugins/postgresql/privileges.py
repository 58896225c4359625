"""Which privileges there are, and when two sets of them are the same."""

from __future__ import annotations

from typing import Final

from toolchain.plugins.wire import Value

ALLOWED: Final = {
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "schema": ("CREATE", "USAGE"),
    "function": ("EXECUTE",),
    "type": ("USAGE",),
}
_MAINTAIN_SINCE: Final = 170000


def allowed(object_type: str, version: int) -> tuple[str, ...]:
    """Return the privileges of a kind of object on a server of this version."""
    maintain = ("MAINTAIN",) if object_type == "table" and version >= _MAINTAIN_SINCE else ()
    return ALLOWED[object_type] + maintain


def validate(object_type: str, privileges: list[str], version: int) -> None:
    """Refuse a privilege that the kind of object has not.

    Raises:
        RuntimeError: naming it.
    """
    for privilege in privileges:
        if privilege != "ALL" and privilege not in allowed(object_type, version):
            msg = f"{privilege} is not an allowed privilege for object type {object_type}"
            raise RuntimeError(msg)


def equal(granted: list[str], wanted: list[str], object_type: str, version: int) -> bool:
    """Say whether what is granted is what is wanted; ALL is all there are."""
    if set(granted) == set(wanted):
        return True
    return "ALL" in wanted and set(granted) == set(allowed(object_type, version))


def object_types(values: tuple[str, ...]) -> Value:
    """Return a check for one of these kinds of objects."""

    def check(value: Value) -> str | None:
        quoted = " ".join(f'"{each}"' for each in values)
        return None if value in values else f"expected object_type to be one of [{quoted}], got {value}"

    return check
