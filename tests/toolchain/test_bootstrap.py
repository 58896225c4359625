"""The virtual environment that the first command makes: whole or made anew."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolchain import paths

BOOTSTRAP = paths.PROJECT_DIR / "toolchain" / "bootstrap.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that needs no package, so that no index is asked."""
    (tmp_path / "toolchain").mkdir()
    shutil.copy2(BOOTSTRAP, tmp_path / "toolchain" / "bootstrap.py")
    (tmp_path / "requirements.txt").write_text("# nothing\n", encoding="utf-8")
    return tmp_path


def bootstrap(project: Path, *, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run it, on a Python that lacks a module if one is named."""
    script = project / "toolchain" / "bootstrap.py"
    lacking = f"import runpy, sys; sys.modules[{without!r}] = None; sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", lacking + "runpy.run_path(sys.argv[0], run_name='__main__')"] if without else []
    return subprocess.run(
        [*(command or [sys.executable]), script, ".venv", "requirements.txt"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_an_environment_is_made_once(project: Path) -> None:
    first = bootstrap(project)
    assert first.returncode == 0, first.stderr
    python = project / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-c", "import pip"], check=False).returncode == 0, "a whole environment"
    made = python.parent.stat().st_mtime_ns
    second = bootstrap(project)
    assert (second.returncode, second.stderr) == (0, ""), "the second run has nothing to do and says nothing"
    assert python.parent.stat().st_mtime_ns == made, "the second run touched the environment"


def test_other_requirements_make_it_anew(project: Path) -> None:
    bootstrap(project)
    (project / ".venv" / "left-over").touch()
    (project / "requirements.txt").write_text("# nothing else\n", encoding="utf-8")
    assert bootstrap(project).returncode == 0
    assert not (project / ".venv" / "left-over").exists(), "a changed lock file makes a fresh environment"


def test_one_that_was_killed_half_way_is_made_anew(project: Path) -> None:
    script = project / "toolchain" / "bootstrap.py"
    process = subprocess.Popen(
        [sys.executable, script, ".venv", "requirements.txt"], stderr=subprocess.PIPE, start_new_session=True
    )
    while not (project / ".venv" / "bin").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (project / ".venv" / ".complete").exists(), "half an environment must not count as one"
    assert bootstrap(project).returncode == 0
    assert (project / ".venv" / ".complete").exists()


def test_a_package_with_another_hash_is_not_installed(project: Path) -> None:
    wrong = f"PyYAML==6.0.3 --hash=sha256:{'0' * 64}\n"
    (project / "requirements.txt").write_text(wrong, encoding="utf-8")
    result = bootstrap(project)
    assert result.returncode == 1, result.stderr
    assert ". mend: " in result.stderr, result.stderr
    assert not (project / ".venv" / ".complete").exists()


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_a_part_is_told_how_to_get_it(project: Path, module: str) -> None:
    result = bootstrap(project, without=module)
    assert result.returncode == 2, result.stderr
    assert f"module {module}" in result.stderr
    assert f"mend: apt-get install python3.{sys.version_info[1]}-venv" in result.stderr
    assert not (project / ".venv").exists(), "refused before anything was touched"
