"""A Docker daemon of a test's own, beside the machine's: with folders, socket and network that nobody else uses."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolchain import engine


@dataclass(frozen=True, slots=True)
class Daemon:
    """Where it has its things."""

    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid_file(self) -> Path:
        return self.folder / "engine.pid"

    @property
    def log(self) -> Path:
        return self.folder / "dockerd.log"

    @property
    def options(self) -> list[str]:
        return [
            f"--data-root={self.folder}/data",
            f"--pidfile={self.folder}/docker.pid",
            "--bridge=none",
            "--iptables=false",
        ]

    @property
    def exec_root(self) -> Path:
        return self.folder / "exec"

    def start(self) -> None:
        engine.start_daemon(self.address, self.pid_file, self.log, self.options, self.exec_root)


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that is not started; ended after the test, however that went.

    It runs in a network namespace of its own: a daemon without a bridge removes `docker0`, which on the host is that
    of the machine's own daemon.
    """
    found = Daemon(tmp_path_factory.mktemp("d"))  # a short path: a socket's may have 107 characters
    real = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert real is not None, "the engine is installed before the tests"
    shim = found.folder / "bin" / "dockerd"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec unshare --net {real} "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    yield found
    engine.stop(found.pid_file)
    for line in reversed(Path("/proc/mounts").read_text(encoding="utf-8").splitlines()):
        if f" {found.folder}/" in line:  # one that was killed leaves its data folder mounted on itself
            subprocess.run(["umount", "--lazy", line.split()[1]], check=True)
