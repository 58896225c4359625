"""The Docker engine: use the one that runs, else start what is installed, else install it from packages.

Only a daemon that this checkout started is ever stopped by it.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toolchain import paths, store
from toolchain.errors import FailedError, RefusedError, ToolchainError
from toolchain.say import Step, run_step, say

DEFAULT_SOCKET: Final = Path("/var/run/docker.sock")
EXEC_ROOT: Final = Path("/var/run/docker")

#: Subnets of the size that containers of a stack need: by itself Docker has room for about thirty networks, and a stack
#: takes four.
_POOL: Final = ("--default-address-pool", "base=172.16.0.0/12,size=24")

#: Seconds in which a daemon must answer, and one that starts or stops must have done so. A daemon that starts
#: brings back the containers that ran, one after the other, before it listens.
_ANSWER: Final = 10.0
_START: Final = 120.0
_STOP: Final = 60.0
_LET_GO: Final = 3.0
_LAST_LINES: Final = 8

_INSTALL_PAGE: Final = "https://docs.docker.com/engine/install/"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a daemon says of itself.

    Attributes:
        version: Version of the engine.
        api: Version of its API.
        root: Its data folder, on the machine where it runs.
    """

    version: str
    api: str
    root: str = ""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a daemon's socket: 20 lines here, half a second of imports with a client library."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def endpoint() -> str:
    """Where the daemon is: `DOCKER_HOST`, else the docker CLI's current context, else the usual socket."""
    explicit = os.environ.get("DOCKER_HOST")
    if explicit:
        return explicit
    return _context_endpoint() or f"unix://{DEFAULT_SOCKET}"


def _context_endpoint() -> str | None:
    """The endpoint of the docker CLI's current context: Docker Desktop, colima and rootless engines set one.

    The layout is that of the CLI's own files, `config.json` and `contexts/meta/<sha256 of the name>/meta.json`.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
    try:
        config: dict[str, Any] = json.loads(store.read(folder / "config.json") or "{}")
        name = os.environ.get("DOCKER_CONTEXT") or config.get("currentContext") or "default"
        if name == "default":
            return None
        digest = hashlib.sha256(str(name).encode()).hexdigest()
        meta: dict[str, Any] = json.loads(store.read(folder / "contexts" / "meta" / digest / "meta.json") or "{}")
        return str(meta["Endpoints"]["docker"]["Host"]) or None
    except (ValueError, KeyError, TypeError, OSError):
        return None


def ask(address: str) -> Answer:
    """Ask the daemon for its version.

    Args:
        address: `unix://`, `tcp://` or `ssh://`, as in `DOCKER_HOST`.

    Raises:
        OSError: Nobody answers there; `PermissionError` when this user may not ask.
    """
    if not address.startswith("unix://"):
        return _ask_remote(address)
    connection = _UnixConnection(address.removeprefix("unix://"), _ANSWER)
    try:
        connection.request("GET", "/version")
        version: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.request("GET", "/info")
        info: dict[str, Any] = json.loads(connection.getresponse().read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(errno.EPROTO, f"no Docker daemon: {error}") from None
    finally:
        connection.close()
    return Answer(str(version["Version"]), str(version["ApiVersion"]), str(info.get("DockerRootDir", "")))


def _ask_remote(address: str) -> Answer:
    import docker  # noqa: PLC0415 - slow to import, and needed for a remote daemon alone
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        client = docker.from_env(timeout=int(_ANSWER), environment={**os.environ, "DOCKER_HOST": address})
        version: dict[str, Any] = client.version()
    except DockerException as error:
        raise ConnectionError(str(error)) from None
    return Answer(str(version["Version"]), str(version["ApiVersion"]))


def ensure() -> str:
    """Have a Docker daemon that answers.

    Returns:
        One line: which one, and why.

    Raises:
        RefusedError: There is none, and this user or this machine can't get one; nothing was touched.
        FailedError: One was started or installed, and it does not work.
    """
    address = endpoint()
    answer = _try(address)
    if answer is not None:
        return f"Docker engine: {answer.version} at {address}, which runs already"
    if address != f"unix://{DEFAULT_SOCKET}":
        raise RefusedError(
            "docker", address, "no Docker daemon answers there", "start it, or unset DOCKER_HOST and DOCKER_CONTEXT"
        )
    with store.lock(paths.cache_root() / "engine.lock"):
        answer = _try(address)
        if answer is not None:
            return f"Docker engine: {answer.version} at {address}, which runs already"
        how = _bring_up(address)
        answer = ask(address)
    return f"Docker engine: {answer.version} at {address}, {how}"


def require() -> Answer:
    """Ask for the daemon without starting one.

    Raises:
        RefusedError: None answers.
    """
    answer = _try(endpoint())
    if answer is None:
        raise RefusedError("docker", "not running", "no Docker daemon answers", "make up, which starts it")
    return answer


def _try(address: str) -> Answer | None:
    try:
        return ask(address)
    except PermissionError:
        raise RefusedError(
            "docker",
            f"no rights on {address}",
            "this user may not talk to the Docker daemon",
            "sudo usermod -aG docker $USER, then log in again",
        ) from None
    except OSError:
        return None


def _bring_up(address: str) -> str:
    if sys.platform == "darwin":
        raise RefusedError("docker", "not running", "no Docker daemon answers", "open -a Docker (or: colima start)")
    root = os.geteuid() == 0
    installed = shutil.which("dockerd") is not None
    how = "started"
    if not installed:
        _install(root=root)
        how = "installed from this distribution's packages and started"
        if _answers_within(address, 5.0):
            return how  # the package's own scripts started it
    if Path("/run/systemd/system").is_dir():
        if not root:
            raise RefusedError("docker", "not running", "starting it takes root", "sudo systemctl start docker")
        run_step("starting Docker", ["systemctl", "start", "docker"], "journalctl -u docker")
        if not _answers_within(address, _START):
            raise FailedError("docker", "started", "does not answer", "journalctl -u docker")
        return f"{how} by systemd"
    if not root:
        raise RefusedError("docker", "not running", "starting it takes root", "sudo make up, or start dockerd as root")
    start_daemon(address, paths.engine_pid_file(), paths.cache_root() / "dockerd.log", _POOL)
    return f"{how} in the background, since no systemd runs here (stop it: make engine-stop)"


def _install(*, root: bool) -> None:
    if shutil.which("apt-get") is None:
        raise RefusedError("docker", "not installed", "the stack runs on a Docker engine", f"see {_INSTALL_PAGE}")
    if not root:
        raise RefusedError(
            "docker",
            "not installed",
            "installing it takes root",
            "sudo apt-get update && sudo apt-get install --no-install-recommends docker.io",
        )
    say("  Docker engine: not installed; taking docker.io from this distribution's packages")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    mend = "apt-get update && apt-get install docker.io"
    run_step("apt-get update", ["apt-get", "update"], mend, environment)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "docker.io"]
    run_step("installing docker.io", command, mend, environment)


def start_daemon(
    address: str, pid_file: Path, log: Path, options: Sequence[str] = (), exec_root: Path = EXEC_ROOT
) -> None:
    """Start `dockerd` so that it outlives this process, and wait until it answers.

    Args:
        address: Where it will listen, `unix://…`.
        pid_file: Gets its process id, for `stop`.
        log: Gets what it says.
        options: More of its options.
        exec_root: Where it keeps what does not outlive a reboot.

    Raises:
        FailedError: It ended or did not answer in time; the end of its log is told.
    """
    step = Step("starting dockerd")
    paths.ensure_local_dir()
    log.parent.mkdir(parents=True, exist_ok=True)
    _let_go(exec_root / "containerd" / "containerd.pid")
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            ["dockerd", "--host", address, "--exec-root", exec_root, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,  # neither Ctrl-C nor the end of make reaches it
        )
    store.write(pid_file, f"{daemon.pid} {_started_at(daemon.pid)}\n")

    def alive() -> bool:
        step.beat()
        return daemon.poll() is None

    if not _answers_within(address, _START, alive):
        said = [line for line in (store.read(log) or "").splitlines() if "module=grpc" not in line]
        say("\n".join(said[-_LAST_LINES:]))
        raise FailedError("docker", "dockerd", "does not start; the end of its log stands above", f"less {log}")
    step.done()


def _let_go(pid_file: Path) -> None:
    """Wait for the containerd of a daemon that was killed.

    It dies with its daemon, but as long as its process id is there, if only as a zombie, a new daemon takes it for
    alive, waits for it, and gives up after 15 s.
    """
    text = (store.read(pid_file) or "").strip()
    if not text.isdigit():
        return
    deadline = time.monotonic() + _LET_GO
    while _is_alive(int(text)):
        if time.monotonic() > deadline:
            return  # it outlived its daemon after all, and serves the next one
        time.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def _answers_within(address: str, seconds: float, go_on: Callable[[], bool] = lambda: True) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and go_on():
        try:
            ask(address)
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _started_at(pid: int) -> str:
    """When a process started, in clock ticks since boot: tells it from a later one with the same id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5); the name before it may hold anything


def own_daemon(pid_file: Path) -> int | None:
    """Process id of the daemon that `start_daemon` started, None when it is gone."""
    words = (store.read(pid_file) or "").split()
    if len(words) != 2 or _started_at(int(words[0])) != words[1]:  # noqa: PLR2004 - id and start
        return None
    return int(words[0])


def stop(pid_file: Path | None = None) -> bool:
    """Stop the daemon that `start_daemon` started, and with it its containers.

    Returns:
        Whether there was one.

    Raises:
        FailedError: It does not end.
    """
    pid_file = pid_file or paths.engine_pid_file()
    pid = own_daemon(pid_file)
    if pid is None:
        pid_file.unlink(missing_ok=True)
        return False
    step = Step("stopping dockerd")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP
    while own_daemon(pid_file) is not None and _is_alive(pid):
        if time.monotonic() > deadline:
            raise FailedError("docker", f"process {pid}", f"does not end within {_STOP:.0f} s", f"kill -9 {pid}")
        step.beat()
        time.sleep(0.1)
    pid_file.unlink(missing_ok=True)
    step.done()
    return True


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed by its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def problem() -> ToolchainError | None:
    """What stands in the way of using the daemon now, for `doctor`; starts nothing."""
    try:
        require()
    except ToolchainError as error:
        return error
    return None
