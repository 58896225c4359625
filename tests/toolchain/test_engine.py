"""The Docker engine: found, started so that it lasts, stopped only if it was started here.

The daemon of these tests is a private one.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toolchain.private_daemon import Daemon
from toolchain import engine, paths
from toolchain.errors import REFUSED, FailedError, RefusedError


def test_a_started_daemon_outlives_the_process_that_started_it(daemon: Daemon) -> None:
    start = "import sys; from pathlib import Path; from toolchain import engine\n"
    start += "address, pid_file, log, exec_root, *options = sys.argv[1:]\n"
    start += "engine.start_daemon(address, Path(pid_file), Path(log), options, Path(exec_root))"
    where = [daemon.address, str(daemon.pid_file), str(daemon.log), str(daemon.exec_root), *daemon.options]
    reader, writer = os.pipe()
    starter = subprocess.Popen(
        [sys.executable, "-c", start, *where], cwd=paths.PROJECT_DIR, pass_fds=[writer], start_new_session=True
    )
    assert starter.wait() == 0, daemon.log.read_text(encoding="utf-8")
    os.close(writer)
    assert os.read(reader, 1) == b"", "the daemon holds a descriptor of the process that started it: make would hang"
    os.close(reader)
    assert engine.ask(daemon.address).api >= "1.41"
    pid = engine.own_daemon(daemon.pid_file)
    assert pid is not None
    assert os.getsid(pid) == pid, "a session of its own: Ctrl-C on the terminal does not reach it"
    assert engine.stop(daemon.pid_file), "it was started here"
    with pytest.raises(OSError, match=r".*"):
        engine.ask(daemon.address)
    assert not engine.stop(daemon.pid_file), "there is none any more"


def test_one_that_was_killed_is_started_again(daemon: Daemon) -> None:
    daemon.start()
    pid = engine.own_daemon(daemon.pid_file)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert daemon.socket.exists(), "the socket of a killed daemon stays behind"
    daemon.start()
    assert engine.ask(daemon.address).root == f"{daemon.folder}/data"
    assert engine.own_daemon(daemon.pid_file) != pid


def test_one_that_does_not_start_says_why(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FailedError, match="does not start"):
        engine.start_daemon(
            daemon.address, daemon.pid_file, daemon.log, [*daemon.options, "--no-such-option"], daemon.exec_root
        )
    assert "no-such-option" in capsys.readouterr().err, "the end of its log is told"


def test_a_process_with_the_same_id_is_not_taken_for_the_daemon(tmp_path: Path) -> None:
    pid_file = tmp_path / "engine.pid"
    pid_file.write_text(f"{os.getpid()} 1\n", encoding="utf-8")
    assert engine.own_daemon(pid_file) is None, "process ids are used again"
    assert not engine.stop(pid_file)


def test_a_daemon_elsewhere_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RefusedError, match="no Docker daemon answers there") as refused:
        engine.ensure()
    assert refused.value.exit_code == REFUSED
    assert "mend: start it, or unset DOCKER_HOST" in str(refused.value)


def test_no_rights_on_the_socket_are_told_with_the_mend(daemon: Daemon) -> None:
    daemon.start()
    for folder in (daemon.folder, *daemon.folder.parents[:2]):
        folder.chmod(0o755)  # pytest keeps its folders to this user: not what is tried here
    daemon.socket.chmod(0o600)
    ask = "import os, sys; from toolchain import engine\n"
    ask += "os.environ['DOCKER_HOST'] = sys.argv[1]\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    ask += "try:\n    engine.ensure()\nexcept engine.RefusedError as error:\n    print(error.exit_code, error)"
    asked = subprocess.run(
        [sys.executable, "-c", ask, daemon.address], cwd=paths.PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert asked.stdout.startswith(f"2 docker: no rights on {daemon.address}: "), asked
    assert "mend: sudo usermod -aG docker $USER" in asked.stdout


def test_the_context_of_the_docker_cli_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert engine.endpoint() == "unix:///var/run/docker.sock"
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"colima").hexdigest()
    meta.mkdir(parents=True)
    described = {"Name": "colima", "Endpoints": {"docker": {"Host": "unix:///somewhere/docker.sock"}}}
    (meta / "meta.json").write_text(json.dumps(described), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"currentContext": "colima"}', encoding="utf-8")
    assert engine.endpoint() == "unix:///somewhere/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    assert engine.endpoint() == "unix:///elsewhere.sock", "DOCKER_HOST wins, as it does for the CLI"
