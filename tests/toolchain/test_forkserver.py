"""What the engine starts after its first language host is forked by one process, and is what it would be by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, provider_pb2_grpc

from tests.toolchain.boxes import eventually
from toolchain import paths

_STAND_IN = Path(__file__).with_name("engine_stand_in.py")
_LANGUAGE = "language/pulumi-language-python"
_PLUGIN = "plugins/pulumi-resource-docker"
_MARK = "MLFLOW_STACK_TEST"


@dataclass(frozen=True, slots=True)
class Started:
    """A process that the engine has started, and the port that it has told."""

    pid: int
    port: str


@dataclass
class Engine:
    """A process that starts others as the engine does, of some checkout."""

    root: Path
    process: subprocess.Popen[str]
    mark: str

    def _ask(self, **command: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def start(self, name: str, folder: Path | None = None, **environment: str) -> Started:
        program = self.root / "toolchain" / "bin" / name
        answer = self._ask(start=str(program), folder=str(folder or self.root), environment=environment)
        assert answer["port"].isdigit(), answer
        return Started(**answer)

    def end(self, started: Started) -> tuple[int, str, str]:
        answer = self._ask(end=started.pid)
        return answer["code"], answer["out"], answer["err"]

    @property
    def socket(self) -> Path:
        return self.root / ".local" / f"fork-{self.process.pid}.sock"

    def alive(self) -> set[int]:
        """Process ids of all that came of it, itself left out."""
        return _marked(self.mark) - {self.process.pid}

    def forks(self, started: Started) -> set[int]:
        """What stands for a process: whatever else writes where it does."""
        place = _stdout(started.pid)
        return {pid for pid in self.alive() - {started.pid} if _stdout(pid) == place}

    def waiting(self) -> set[int]:
        """What has been forked, and stands for nobody yet: it writes nowhere, as its server does."""
        silent = {pid for pid in self.alive() if _stdout(pid) == os.devnull}
        return {pid for pid in silent if _parent(pid) in silent}


def _marked(mark: str) -> set[int]:
    """Process ids of all that have a mark in their environment."""
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark.encode() in (folder / "environ").read_bytes()
            zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if marked and not zombie:
            found.add(int(folder.name))
    return found


def _stdout(pid: int) -> str:
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/fd/1").readlink())
    return ""


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _engine(root: Path) -> Iterator[Engine]:
    mark = uuid.uuid4().hex
    environment = {**os.environ, _MARK: mark, "MLFLOW_STACK_PYTHON": sys.executable}
    with subprocess.Popen(
        [sys.executable, _STAND_IN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        made = Engine(root, process, mark)
        yield made
        process.kill()
    eventually(lambda: not made.alive(), "all that came of an engine ends with it")


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine of this checkout."""
    paths.ensure_local_dir()
    yield from _engine(paths.PROJECT_DIR)


def _broken(tmp_path: Path, file: str) -> Iterator[Engine]:
    root = tmp_path / "checkout"
    for name in ("toolchain", "components", "images"):
        shutil.copytree(paths.PROJECT_DIR / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / file).write_text("raise SyntaxError('half written')\n")
    (root / ".local").mkdir(mode=0o700)
    yield from _engine(root)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Engine]:
    """An engine of a checkout whose program can't be imported."""
    yield from _broken(tmp_path, "components/stack.py")


@pytest.fixture
def half_broken(tmp_path: Path) -> Iterator[Engine]:
    """An engine of a checkout whose MinIO plugin can't be imported."""
    yield from _broken(tmp_path, "toolchain/plugins/minio/provider.py")


def _packages(started: Started) -> set[str]:
    """What the language host would have the engine download."""
    with grpc.insecure_channel(f"127.0.0.1:{started.port}") as channel:
        stub: Any = language_pb2_grpc.LanguageRuntimeStub(channel)
        info = language_pb2.ProgramInfo(root_directory=str(paths.PROJECT_DIR))
        answer = stub.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=info), timeout=30)
    return {package.name for package in answer.packages}


def _version(started: Started) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{started.port}") as channel:
        stub: Any = provider_pb2_grpc.ResourceProviderStub(channel)
        return str(stub.GetPluginInfo(Empty(), timeout=30).version)


def _begin(engine: Engine) -> tuple[int, set[int]]:
    """Have an engine start two hosts, as it always does: its fork server, and what that has forked ahead."""
    first = engine.start(_LANGUAGE)
    (server,) = engine.alive() - {first.pid}
    engine.start(_LANGUAGE)
    eventually(lambda: len(engine.waiting()) == 4, "three plugins and a host wait")
    return server, engine.waiting()


def test_what_comes_after_the_first_host_is_forked_and_answers(engine: Engine) -> None:
    first = engine.start(_LANGUAGE)
    assert engine.socket.exists()
    (server,) = engine.alive() - {first.pid}
    second, plugin = engine.start(_LANGUAGE), engine.start(_PLUGIN)
    forks = engine.forks(second) | engine.forks(plugin)
    assert len(forks) == 2, "a host and a plugin"
    assert {_parent(fork) for fork in forks} == {server}
    assert _packages(second) == _packages(first)
    assert _version(plugin)
    for started in (plugin, second, first):
        assert engine.end(started) == (0, "", ""), "quiet when the engine ends it"
    eventually(lambda: engine.alive() == {server} | engine.waiting(), "they have ended")


def test_what_comes_next_is_forked_before_it_is_asked_for(engine: Engine, tmp_path: Path) -> None:
    _, waiting = _begin(engine)
    plugin = engine.start(_PLUGIN)
    (fork,) = engine.forks(plugin)
    assert fork in waiting
    assert _version(plugin)
    host = engine.start(_LANGUAGE, tmp_path, PATH="/usr/bin:/bin")
    (fork,) = engine.forks(host)
    assert fork in waiting
    assert Path(f"/proc/{fork}/cwd").readlink() == tmp_path
    assert "docker" in _packages(host), "it looks at the PATH that it was given"
    eventually(lambda: len(engine.waiting()) == 4, "and those that come after them wait again")
    assert engine.end(plugin) == (0, "", "")
    assert engine.end(host) == (0, "", "")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "hangs"])
def test_one_that_ends_while_it_waits_is_done_without(engine: Engine, end: signal.Signals) -> None:
    server, waiting = _begin(engine)
    for pid in waiting:
        os.kill(pid, end)
    for name in (_PLUGIN, _LANGUAGE):
        started = engine.start(name)
        (fork,) = engine.forks(started)
        assert fork not in waiting
        assert engine.end(started) == (0, "", "")
    assert server in engine.alive()


def test_what_can_not_be_forked_ahead_leaves_the_rest_alone(half_broken: Engine) -> None:
    half_broken.start(_LANGUAGE)
    host = half_broken.start(_LANGUAGE)
    assert len(half_broken.forks(host)) == 1
    plugin = half_broken.start(_PLUGIN)
    assert len(half_broken.forks(plugin)) == 1
    assert _version(plugin)
    assert half_broken.end(host) == (0, "", "")


def test_a_fork_has_the_environment_and_the_folder_that_it_was_started_with(engine: Engine, tmp_path: Path) -> None:
    engine.start(_LANGUAGE)
    without = engine.start(_LANGUAGE, tmp_path, PATH="/usr/bin:/bin")
    assert "docker" in _packages(without)
    (fork,) = engine.forks(without)
    assert Path(f"/proc/{fork}/cwd").readlink() == tmp_path
    beside = engine.start(_LANGUAGE, PATH=f"{paths.PLUGINS_BIN}:/usr/bin:/bin")
    assert "docker" not in _packages(beside), "what stands on PATH needs no download"


def test_all_that_was_forked_ends_with_an_engine_that_is_killed(engine: Engine) -> None:
    _begin(engine)
    engine.start(_PLUGIN)
    engine.process.kill()
    engine.process.wait()
    eventually(lambda: not engine.alive(), "all is gone", 10)
    assert not engine.socket.exists()


def test_what_waits_ends_with_its_server(engine: Engine) -> None:
    server, waiting = _begin(engine)
    os.kill(server, signal.SIGKILL)
    eventually(lambda: not engine.alive() & waiting, "nobody is left to ask those that wait", 10)


@pytest.mark.parametrize("name", [_PLUGIN, _LANGUAGE])
def test_a_fork_ends_when_the_process_that_it_stands_for_is_killed(engine: Engine, name: str) -> None:
    _begin(engine)
    killed = engine.start(name)
    (fork,) = engine.forks(killed)
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: fork not in engine.alive(), "its fork is gone", 10)
    assert len(engine.forks(engine.start(name))) == 1, "and the next one is forked"


def test_a_fork_that_hangs_is_killed_some_time_after_the_process_that_it_stands_for(engine: Engine) -> None:
    engine.start(_LANGUAGE)
    plugin = engine.start(_PLUGIN)
    (fork,) = engine.forks(plugin)
    os.kill(fork, signal.SIGSTOP)
    os.kill(plugin.pid, signal.SIGKILL)
    eventually(lambda: fork not in engine.alive(), "its fork is gone", 15)


def test_a_signal_that_comes_when_the_fork_has_ended_is_no_complaint(engine: Engine) -> None:
    server, _ = _begin(engine)
    host = engine.start(_LANGUAGE)
    eventually(lambda: len(engine.waiting()) == 4, "the next one waits")
    held = Path(f"/proc/{server}/fd")
    (fork,) = engine.forks(host)
    during = len(list(held.iterdir()))
    os.kill(host.pid, signal.SIGSTOP)  # a busy machine
    os.kill(fork, signal.SIGINT)
    eventually(lambda: len(list(held.iterdir())) == during - 2, "the server has told how the fork ended")
    os.kill(host.pid, signal.SIGINT)
    os.kill(host.pid, signal.SIGCONT)
    assert engine.end(host) == (0, "", "")


def test_without_its_server_each_starts_by_itself(engine: Engine) -> None:
    first = engine.start(_LANGUAGE)
    (server,) = engine.alive() - {first.pid}
    os.kill(server, signal.SIGKILL)
    eventually(lambda: server not in engine.alive(), "the server is gone")
    plugin = engine.start(_PLUGIN)
    assert _version(plugin)
    assert engine.alive() == {first.pid, plugin.pid}
    again = engine.start(_LANGUAGE)
    assert engine.alive() - {first.pid, plugin.pid, again.pid}, "and a language host begins another one"


def test_a_program_that_can_not_be_imported_is_left_to_each_to_tell(broken: Engine) -> None:
    first = broken.start(_LANGUAGE)
    second, plugin = broken.start(_LANGUAGE), broken.start(_PLUGIN)
    assert _packages(second) == _packages(first)
    assert _version(plugin)


def test_another_program_is_run_without(engine: Engine, tmp_path: Path) -> None:
    first = engine.start(_LANGUAGE, tmp_path)
    assert engine.alive() == {first.pid}
    assert not engine.socket.exists()


def test_the_socket_of_a_server_that_was_killed_goes_with_the_next(engine: Engine) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = engine.socket.with_name(f"fork-{gone.pid}.sock")
    left.touch()
    engine.start(_LANGUAGE)
    assert not left.exists()


@pytest.mark.parametrize("name", [_LANGUAGE, _PLUGIN])
def test_what_an_engine_started_that_is_gone_already_ends_and_leaves_nothing(name: str) -> None:
    mark = uuid.uuid4().hex
    reader, writer = os.pipe()
    os.close(writer)
    with subprocess.Popen(
        [paths.PROJECT_DIR / "toolchain" / "bin" / name, "127.0.0.1:1"],
        cwd=paths.PROJECT_DIR,
        env={**os.environ, _MARK: mark, "MLFLOW_STACK_PYTHON": sys.executable},
        stdin=reader,
        stdout=subprocess.DEVNULL,
    ) as process:
        os.close(reader)
        try:
            assert process.wait(20) == 0
            assert not _marked(mark)
            assert not Path(paths.PROJECT_DIR, ".local", f"fork-{os.getpid()}.sock").exists()
        finally:
            for pid in _marked(mark):
                os.kill(pid, signal.SIGKILL)
