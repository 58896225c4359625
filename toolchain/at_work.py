"""Whether a command is at work on a stack, in any terminal of this user: it holds a lock that ends with its process.

The container of its job tells nothing about that: it goes on when its command was killed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from toolchain import engine, paths, store
from toolchain.errors import RefusedError


@contextmanager
def alone(stack: str, command: str) -> Generator[None]:
    """Be the only such command on a stack while the block runs.

    Args:
        stack: Its name.
        command: As a user types it: `import`.

    Raises:
        RefusedError: Another one is at work.
    """
    path = _path(stack, command)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        if not _locked(file, fcntl.LOCK_EX):
            raise refusal(stack, command)
        yield


def is_one(stack: str, command: str) -> bool:
    """Whether such a command is at work."""
    try:
        with _path(stack, command).open(encoding="utf-8") as file:
            return not _locked(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def refusal(stack: str, command: str) -> RefusedError:
    """What another command says while such a one is at work."""
    return RefusedError(f"stack {stack}", command, "is at work in another terminal", "wait for it to end, or end it")


def _path(stack: str, command: str) -> Path:
    """One for all checkouts: an import asks the Docker host alone what there is of a stack."""
    return paths.cache_root() / "at-work" / f"{command}-{stack}-{store.key(engine.endpoint())}.lock"


def _locked(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
