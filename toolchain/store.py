"""Things in the cache: made once, whole or not at all, also when two checkouts want them at the same time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path


def key(*parts: str | bytes) -> str:
    """A short name that changes with any of the parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]


def read(path: Path) -> str | None:
    """The text of a file, None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file whole or not at all.

    Args:
        path: The file; its folder must be there.
        text: What it shall hold.
        mode: Its rights, from the first byte on.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def lock(path: Path) -> Generator[None]:
    """Hold a lock that ends with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def entry(directory: Path, make: Callable[[Path], None]) -> Path:
    """Give a folder of the cache, made first where it is missing.

    Args:
        directory: The folder; its name holds a key over everything it is made from.
        make: Fills the empty folder that it is given; may raise.

    Returns:
        `directory`, complete.
    """
    if directory.is_dir():
        return directory
    with lock(directory.with_name(f".{directory.name}.lock")):
        if directory.is_dir():
            return directory
        for left in directory.parent.glob(f".{directory.name}.new-*"):
            shutil.rmtree(left, ignore_errors=True)  # whoever made it was killed: we hold the lock
        temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}.new-"))
        try:
            temporary.chmod(0o755)
            make(temporary)
            temporary.rename(directory)
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(temporary)
    return directory
