"""Room on the disks of the stores. A full one answers with errors and loses nothing; it goes on when there is room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolchain.docker_objects import Objects, output

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Bytes below which a store is on its last legs: PostgreSQL makes its log in files of 16 MiB, and a few at a time.
_LEAST: Final = 64 * 1024**2

_FOLDERS: Final = {"postgres": "/var/lib/postgresql", "minio": "/data"}
_WORDS: Final = ("No space left on device", "XMinioStorageFull", "drive path full")

#: Lines of the log in which a store that does not run may have said why.
_LAST_LINES: Final = 40

MEND: Final = "docker system df, then docker image prune, or a larger disk; the store goes on by itself"


@dataclass(frozen=True, slots=True)
class Room:
    """The room that a store has.

    Attributes:
        role: The store.
        volume: Its volume.
        free: Bytes; None where it does not run.
        is_full: Whether it takes no more, or is about to.
    """

    role: str
    volume: str
    free: int | None
    is_full: bool


def look(objects: Objects) -> Iterator[Room]:
    """Ask each store that is there."""
    for role, folder in _FOLDERS.items():
        container = objects.container(role)
        if container is None:
            continue
        shown = output(container, ["df", "-Pk", folder])
        free = int(shown.splitlines()[-1].split()[3]) * 1024 if shown else None
        is_full = free < _LEAST if free is not None else _said_so(container)
        yield Room(role, f"mlflow-{objects.stack}-{role}-data", free, is_full)


def _said_so(container: Container) -> bool:
    said = container.logs(tail=_LAST_LINES).decode(errors="replace")
    return any(words in said for words in _WORDS)
