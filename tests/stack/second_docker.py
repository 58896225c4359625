"""A Docker daemon of one's own beside the machine's, to be killed.

It has a network namespace, a folder and a socket of its own, so that neither its bridges nor its ports nor its rules
ever meet those of the other. What it publishes is reached from inside its namespace, where the project's commands are
run, too; a client outside comes by a tunnel through a Unix socket, which no namespace keeps apart.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker

from tests.stack import relay
from tests.stack.harness import free_ports, wait_until

_RELAY = Path(relay.__file__)

#: Holds the namespace, in which the loopback interface is to be brought up, until its standard input ends.
_HOLDER = """
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x1))  # SIOCSIFFLAGS, IFF_UP
print("ready", flush=True)
sys.stdin.read()
"""


def _processes() -> dict[int, tuple[int, str]]:
    """Every process of the machine: its parent and its command line."""
    found: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(folder.name)] = parent, (folder / "cmdline").read_bytes().decode(errors="replace")
    return found


@dataclass
class SecondDocker:
    """The daemon.

    Attributes:
        folder: Everything of it.
        namespace: Process that holds its network namespace.
    """

    folder: Path
    namespace: subprocess.Popen[str]
    _daemon: subprocess.Popen[bytes] | None = None
    _tunnels: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def inside(self) -> tuple[str, ...]:
        """What goes before a command that is to run in its namespace."""
        return ("nsenter", f"--net=/proc/{self.namespace.pid}/ns/net")

    def client(self) -> docker.DockerClient:
        """A client of it."""
        return docker.DockerClient(base_url=self.address, timeout=60)

    def start(self) -> None:
        """Start it, and wait until it answers: it brings the containers back that ran before."""
        dockerd = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert dockerd is not None, "dockerd is not installed on this machine"
        options = {"--data-root": "root", "--exec-root": "exec", "--pidfile": "pid"}
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    *(*self.inside, dockerd, "--host", self.address),
                    *(word for option, name in options.items() for word in (option, str(self.folder / name))),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: bool(self.client().ping()), "the second Docker daemon answers", 120)

    def kill(self) -> None:
        """End the daemon and its containerd by SIGKILL; the containers know nothing of it."""
        assert self._daemon is not None
        containerd = self.folder / "exec" / "containerd" / "containerd.pid"
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int(containerd.read_text()), signal.SIGKILL)
        self._daemon.kill()
        self._daemon.wait()
        self._daemon = None
        # As long as their numbers are there, if only as zombies, the next daemon takes both for alive.
        for left in (containerd, self.folder / "pid"):
            left.unlink(missing_ok=True)

    def power_off(self) -> None:
        """End everything at once, containers and all, and forget what does not outlive a reboot."""
        self.kill()
        everybody = _processes()
        doomed = {pid for pid, (_, line) in everybody.items() if str(self.folder / "exec") in line}
        while more := {pid for pid, (parent, _) in everybody.items() if parent in doomed} - doomed:
            doomed |= more
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not doomed & {pid for pid, (_, line) in _processes().items() if line}, "all have ended")
        for mount in reversed(_mounts(self.folder)):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)

    def take_over(self, images: Iterable[str]) -> None:
        """Copy images of the machine's own daemon."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "--host", self.address, "load", "--quiet"],
                stdin=saved.stdout,
                check=True,
                capture_output=True,
            )
        assert saved.returncode == 0

    def tunnel(self, port: int) -> int:
        """A port of this machine that leads to one in its namespace, through every restart."""
        way = f"unix:{self.folder}/tunnel-{port}"
        self._tunnels.append(
            subprocess.Popen([*self.inside, sys.executable, str(_RELAY), way, f"tcp:127.0.0.1:{port}"])
        )
        (near,) = free_ports(1)
        listener = relay.listen(f"tcp:127.0.0.1:{near}")
        threading.Thread(target=relay.serve_forever, args=(listener, way), daemon=True).start()
        return near

    def end(self) -> None:
        """Take everything of it away."""
        for tunnel in self._tunnels:
            tunnel.kill()
            tunnel.wait()
        if self._daemon is not None:
            self.power_off()
        for mount in reversed(_mounts(self.folder)):
            subprocess.run(["umount", "--lazy", mount], check=False)
        self.namespace.communicate()
        shutil.rmtree(self.folder)


def _mounts(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [path for line in lines if (path := line.split()[4]).startswith(f"{folder}/")]


@contextmanager
def second_docker() -> Generator[SecondDocker]:
    """One that runs; nothing of it is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))  # the path of a socket may have 107 bytes
    namespace = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert namespace.stdout is not None
    assert namespace.stdout.readline() == "ready\n", "no network namespace of its own"
    second = SecondDocker(folder, namespace)
    try:
        second.start()
        yield second
    except BaseException:
        print((folder / "log").read_text(encoding="utf-8", errors="replace")[-5000:])
        raise
    finally:
        second.end()


def stand_ins(references: Iterable[str], there: str, client: docker.DockerClient) -> None:
    """Give an image that is there the names of base images that are looked for, and not used."""
    image = client.images.get(there)
    for reference in references:
        if not client.api.images(reference):
            image.tag(reference)
