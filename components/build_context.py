"""Image tags that say what is in the image: a hash over everything that a build depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

#: Files of a build context that never reach an image.
_LEFT_OUT = {"__pycache__", ".pytest_cache", ".ruff_cache"}


def build_hash(context: Path, args: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits over a build context and the build's arguments.

    File names, contents and the executable bit count; times and owners do not, so that every clone of the
    repository gives the same tag.

    Args:
        context: Folder of the build context.
        args: Build arguments, the base images' references among them.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not context.is_dir():
        raise FileNotFoundError(context)
    digest = hashlib.sha256()
    for path in sorted(context.rglob("*")):
        if not path.is_file() or _LEFT_OUT.intersection(path.parts):
            continue
        executable = bool(path.stat().st_mode & 0o100)
        digest.update(f"{path.relative_to(context).as_posix()}\0{executable}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for key, value in sorted(args.items()):
        digest.update(f"{key}={value}\0".encode())
    return digest.hexdigest()[:12]
