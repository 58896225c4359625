"""Files of a state folder that a killed Pulumi has left half written.

Pulumi writes a file of its state beside its place and moves it there. What it notes of the file, a type and a checksum,
stands in another one, `NAME.attrs`, which it makes empty and then fills. Killed in between, it finds an empty one the
next time and gives up on the file (`failed to load checkpoint: EOF`); where there is none, nothing is missed. Source:
`setAttrs` and `getAttrs` in `blob/fileblob/attrs.go` of google/go-cloud.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Seconds after which no living process is about to fill, or to move, what it has just made.
_SETTLED_AFTER: Final = 1.0
_POLL: Final = 0.05


def half_written(folder: Path, project: str, stack: str) -> list[Path]:
    """What nobody will finish of a stack's state, and what can be removed.

    Args:
        folder: Folder of the backend.
        project: Name of the project.
        stack: Name of the stack, without its organization.
    """
    return [path for path in _suspects(folder / ".pulumi", project, stack) if _is_left(path)]


def _suspects(root: Path, project: str, stack: str) -> Iterator[Path]:
    yield from root.glob("meta.yaml*")
    yield from (root / "stacks" / project).glob(f"{stack}.*")
    yield from (root / "locks" / "organization" / project / stack).glob("*")
    for kind in ("history", "backups"):
        yield from _empty_notes(root / kind / project / stack)


def _empty_notes(folder: Path) -> Iterator[Path]:
    """Each deployment leaves some more files: a stack of years has thousands, of which a look must not take long."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # gone meanwhile, or not ours to see
                if entry.name.endswith(".attrs") and not entry.stat().st_size:
                    yield Path(entry.path)


def _is_left(path: Path) -> bool:
    """Whether nobody will finish it; waits for what is too young to tell."""
    while True:
        try:
            found = path.stat()
        except OSError:  # gone meanwhile, or not ours to see
            return False
        if not (path.suffix == ".tmp" or (path.suffix == ".attrs" and not found.st_size)):
            return False
        age = time.time() - found.st_mtime
        if not 0 <= age < _SETTLED_AFTER:
            return True
        time.sleep(_POLL)
