"""A small disk for each store's data, to be filled to the brim and emptied again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from components.naming import Naming, Role

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """One of them.

    Attributes:
        root: Where it is mounted.
    """

    root: Path

    @property
    def data(self) -> Path:
        """The folder on it that is the volume."""
        return self.root / "data"

    def fill(self) -> None:
        """Leave no room."""
        with (self.root / "filler").open("ab") as filler:
            while free := os.statvfs(self.root).f_bavail * os.statvfs(self.root).f_frsize:
                os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), min(free, 16 * _MIB))

    def make_room(self) -> None:
        """Take away what filled it."""
        (self.root / "filler").unlink(missing_ok=True)


@contextmanager
def small_disk(root: Path, size_mib: int) -> Generator[SmallDisk]:
    """Mount one; it is gone with the block."""
    root.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    options = f"size={size_mib}m,mode=0777"
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(root)], check=True)
    try:
        disk = SmallDisk(root)
        disk.data.mkdir()
        yield disk
    finally:
        subprocess.run([*sudo, "umount", "--lazy", str(root)], check=True)


def put_data_on(disk: SmallDisk, client: docker.DockerClient, stack: str, role: Role, **label: str) -> None:
    """Make the data volume of a store there, before the stack is made."""
    naming = Naming(stack)
    client.volumes.create(
        naming.data_volume(role),
        driver="local",
        driver_opts={"type": "none", "o": "bind", "device": str(disk.data)},
        labels=naming.labels(role, **label),
    )
