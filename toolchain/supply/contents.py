"""What is in an image beside Debian's packages: Python packages and programs written in Go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import docker

from toolchain.images import throwaway

#: Go writes what a program is made of into the program, behind these words. Debian's own Python packages are left out:
#: they are Debian's business.
_LOOK: Final = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /usr/lib/python3 \) -prune -o \
    -type d -name '*.dist-info' -print
find / -xdev \( -path /proc -o -path /sys \) -prune -o \
    -type f -perm -100 -size +1000k -exec grep -l -a -F ' Go buildinf:' {} + || true
"""

_DIST_INFO: Final = re.compile(r"([A-Za-z0-9._]+)-([^-/]+)\.dist-info")

#: What this project puts into its own image: no package of an index.
_OURS: Final = "mlflow-stack-server"


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in an image.

    Attributes:
        python: Name and version of each Python package that is not one of Debian's, in order.
        go: Path of each program that was written in Go.
    """

    python: tuple[tuple[str, str], ...]
    go: tuple[str, ...]


def look(client: docker.DockerClient, image: str) -> Contents:
    """Look into an image.

    Raises:
        StepFailedError: It can't be looked into: it has no shell, for one.
    """
    python: set[tuple[str, str]] = set()
    go: list[str] = []
    for line in throwaway.shell(client, image, _LOOK).splitlines():
        match = _DIST_INFO.fullmatch(PurePosixPath(line).name)
        if match is None:
            go.append(line)
        elif (name := re.sub(r"[._-]+", "-", match[1]).lower()) != _OURS:
            python.add((name, match[2]))
    return Contents(tuple(sorted(python)), tuple(sorted(go)))
