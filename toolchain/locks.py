"""Locks of a file backend whose process is gone."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from toolchain import environment
from toolchain.session import PROJECT, Session


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on a stack.

    Attributes:
        path: Its file.
        pid: Process that holds it.
        host: Machine of that process.
        since: When it was taken, ISO 8601.
    """

    path: Path
    pid: int
    host: str
    since: str

    @property
    def is_stale(self) -> bool:
        """Whether its process ran on this machine and has ended."""
        return self.host == socket.gethostname() and not _holds(self.pid, self.since)


def of(session: Session) -> Iterator[Lock]:
    """The locks on a stack; none for a backend that is not in a folder."""
    folder = environment.state_folder()
    if folder is None:
        return
    for path in (folder / ".pulumi" / "locks" / "organization" / PROJECT / session.name).glob("*.json"):
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            yield Lock(path, int(content["pid"]), str(content["hostname"]), str(content["timestamp"]))
        except (OSError, ValueError, KeyError):
            continue  # gone meanwhile, or not written by Pulumi


def _holds(pid: int, since: str) -> bool:
    """Whether a process lives that is old enough to have taken the lock: ids are used again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        taken = datetime.fromisoformat(since)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        booted = next(
            float(line.split()[1])
            for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines()
            if line.startswith("btime")
        )
    except (OSError, ValueError, StopIteration):
        return True
    if stat[0] == "Z":
        return False
    began = booted + int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return began <= taken.timestamp() + 2  # both clocks count whole seconds
