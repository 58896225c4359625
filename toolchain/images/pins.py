"""What is pinned in the repository: it changes with the repository, not with time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from toolchain.paths import PROJECT_DIR

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_SECONDS = 60


def wheels() -> Iterator[tuple[Path, str, str]]:
    """The wheels that images are built from: the file with the pin, the name, the version."""
    for path in sorted((PROJECT_DIR / "images").glob("*/wheel.txt")):
        name, version = _PINNED.findall(path.read_text(encoding="utf-8"))[0]
        yield path.relative_to(PROJECT_DIR), name, version


def newest(name: str) -> str:
    """The newest version of a wheel on the index that pip is set up with; empty where it can't be asked."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--only-binary=:all:", name]
    try:
        answer = subprocess.run(
            command,
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return ""
    found = re.match(rf"{re.escape(name)} \((\S+)\)", answer.stdout)
    return found[1] if found else ""
