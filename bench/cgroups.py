"""Memory and CPU time of containers, as the kernel accounts them for their control groups (version 1 and 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from docker.models.containers import Container

_ROOT: Final = Path("/sys/fs/cgroup")

MIB: Final = 1024 * 1024


class CannotMeasureError(Exception):
    """This machine does not show what a measurement needs."""


def memory_mib(container: Container) -> float:
    """Memory of all processes of a container in MiB: anonymous and shared memory, and what of it is swapped out.

    A page that processes share since a fork is charged to the group once, by whoever touched it first, so shared
    memory counts once and copied pages count in full. The page cache (files that were read) is left out: the kernel
    takes it back whenever somebody needs the memory, and which container pays for a file of an image depends on who
    read it first.

    Raises:
        CannotMeasureError: The kernel does not show the container's group here.
    """
    if _is_unified():
        folder = _group(container, "")
        stat = _table(folder / "memory.stat")
        swap = _number(folder / "memory.swap.current")
        return (stat["anon"] + stat["shmem"] + swap) / MIB
    stat = _table(_group(container, "memory") / "memory.stat")
    return (stat["total_rss"] + stat.get("total_shmem", 0) + stat.get("total_swap", 0)) / MIB


def cpu_seconds(container: Container) -> float:
    """CPU time that the processes of a container have used so far, in seconds; those of its health probes too.

    Raises:
        CannotMeasureError: The kernel does not show the container's group here.
    """
    if _is_unified():
        return _table(_group(container, "") / "cpu.stat")["usage_usec"] / 1e6
    return _number(_group(container, "cpuacct") / "cpuacct.usage") / 1e9


def _is_unified() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _group(container: Container, controller: str) -> Path:
    container.reload()
    pid = int(container.attrs["State"]["Pid"])
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        raise CannotMeasureError(f"{container.name}: process {pid} is not one of this machine") from None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" if not controller else controller in controllers.split(","):
            folder = _ROOT / controller / path.lstrip("/")
            if folder.is_dir():
                return folder
    raise CannotMeasureError(f"{container.name}: no control group {controller} below {_ROOT}")


def _table(file: Path) -> dict[str, int]:
    pairs = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs}


def _number(file: Path) -> int:
    """What a file of one number holds; 0 where this kernel has no such file."""
    return int(file.read_text(encoding="ascii")) if file.exists() else 0
