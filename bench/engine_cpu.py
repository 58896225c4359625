"""CPU time that the Docker engine spends on running containers, and that no container's own accounts show.

A health probe is a process in the container, but starting it is the work of `dockerd`, `containerd` and the
container's shim, and costs more than most probes do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from docker.models.containers import Container

_TICKS: Final = os.sysconf("SC_CLK_TCK")

#: In /proc/PID/stat, counted from the field after the program's name: user and system time of the process itself,
#: then of its children that have ended and were waited for (the short-lived `runc` among them).
_TIMES: Final = slice(11, 15)


def shims_seconds(containers: Iterable[Container]) -> float:
    """CPU time so far of these containers' shims and of the processes they started outside the containers, in seconds.

    What a shim has waited for counts as its own: the `runc` that starts a probe, and the probe itself, whose few
    milliseconds are in the container's account, too, on both sides alike.
    """
    wanted = {str(container.id) for container in containers}
    return sum(
        _seconds(process)
        for process, arguments in _processes()
        if "containerd-shim" in arguments[0] and not wanted.isdisjoint(arguments)
    )


def daemons_seconds() -> float:
    """CPU time so far of `dockerd` and `containerd`, in seconds, whoever they work for."""
    return sum(
        _seconds(process) for process, arguments in _processes() if Path(arguments[0]).name in {"dockerd", "containerd"}
    )


def host_seconds() -> float:
    """CPU time so far of everything on this machine, in seconds, without idling and waiting for a disk."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, interrupts, soft_interrupts = map(int, fields[:7])
    return (user + nice + system + interrupts + soft_interrupts) / _TICKS


def _processes() -> Iterator[tuple[Path, list[str]]]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            if line:
                yield process, line.rstrip(b"\0").decode(errors="replace").split("\0")


def _seconds(process: Path) -> float:
    try:
        text = (process / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    return sum(map(int, text.rpartition(")")[2].split()[_TIMES])) / _TICKS
