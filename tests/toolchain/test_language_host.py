"""The small Python language host, under the real engine: it does what the vendor's does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.toolchain.projects import Project, cli, project
from toolchain import paths
from toolchain.language import debugging

__all__ = ["cli", "project"]  # fixtures


def venv(folder: Path, packages_of: Path | None = None) -> Path:
    """A virtual environment that sees the packages of another one, and installs nothing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    if packages_of is not None:
        site = next((packages_of / "lib").glob("python3*/site-packages"))
        next((folder / "lib").glob("python3*/site-packages")).joinpath("shared.pth").write_text(f"{site}\n")
    return folder


def test_a_program_runs_and_its_outputs_and_config_arrive(project: Project) -> None:
    project.ok("config", "set", "plain", "a value", "--stack", "try")
    project.ok("config", "set", "--secret", "hidden", "--stack", "try", stdin="a secret")
    project.write("helper.py", "answer = 42\n")
    project.write(
        "__main__.py",
        """
        import os, sys
        import pulumi
        import helper
        config = pulumi.Config()
        pulumi.export("plain", config.require("plain"))
        pulumi.export("hidden", config.require_secret("hidden"))
        pulumi.export("answer", helper.answer)
        pulumi.export("where", os.getcwd())
        pulumi.export("who", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])
        pulumi.export("toolchain", "toolchain" in str(sys.path[0]))
        print("said by the program")
        """,
    )
    done = project.up()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "said by the program" in done.stdout
    outputs = project.outputs()
    assert outputs == {
        "plain": "a value",
        "hidden": "a secret",
        "answer": 42,
        "where": str(project.folder),
        "who": ["try", "try", "organization"],
        "toolchain": False,
    }
    assert "a secret" not in done.stdout
    assert project.run("preview", "--expect-no-changes", "--stack", "try").returncode == 0


def test_an_error_of_the_program_is_told_without_a_traceback(project: Project) -> None:
    project.write("__main__.py", "import pulumi\nraise pulumi.RunError('workers: 0: too few. mend: more')\n")
    failed = project.up()
    assert failed.returncode != 0
    assert "error: workers: 0: too few. mend: more" in failed.stdout
    assert "Traceback" not in failed.stdout
    assert "exit code" not in failed.stdout, "nothing but the program's own words"


def test_an_unhandled_exception_shows_the_programs_own_frames_alone(project: Project) -> None:
    project.write("helper.py", "def fail():\n    raise KeyError('lost')\n")
    project.write("__main__.py", "import helper\nhelper.fail()\n")
    failed = project.up()
    assert failed.returncode != 0
    assert "Program failed with an unhandled exception" in failed.stdout
    assert "KeyError: 'lost'" in failed.stdout
    assert 'helper.py", line 2, in fail' in failed.stdout
    assert "runpy" not in failed.stdout, "what runs the program is of no interest"
    assert "toolchain/language" not in failed.stdout


def test_a_failure_inside_an_apply_fails_the_run(project: Project) -> None:
    project.write("__main__.py", "import pulumi\npulumi.Output.from_input(1).apply(lambda one: one / 0)\n")
    failed = project.up()
    assert failed.returncode != 0
    assert "ZeroDivisionError" in failed.stdout


def test_a_failure_is_told_before_what_takes_longer_is_over(project: Project) -> None:
    project.write(
        "__main__.py",
        """
        import asyncio
        import pulumi
        pulumi.Output.from_input(asyncio.sleep(300))
        pulumi.Output.from_input(asyncio.sleep(0.1)).apply(lambda _: 1 / 0)
        """,
    )
    before = time.monotonic()
    failed = project.up()
    assert "ZeroDivisionError" in failed.stdout
    assert time.monotonic() - before < 60


def test_outputs_that_come_from_other_outputs_are_waited_for(project: Project) -> None:
    project.write(
        "__main__.py",
        """
        import asyncio
        import pulumi
        async def later(depth):
            await asyncio.sleep(0.05)
            pulumi.Output.from_input(later(depth - 1)) if depth else print("the last one")
        pulumi.Output.from_input(later(5))
        """,
    )
    done = project.up()
    assert "the last one" in done.stdout, done.stdout + done.stderr


def test_what_a_program_tells_for_debugging_is_shown_to_who_asks_for_it(
    project: Project,
) -> None:
    project.write("__main__.py", "import pulumi\npulumi.log.debug('told to who asks')\n")
    project.environment["PULUMI_DEBUG_COMMANDS"] = "true"  # for --event-log
    preview = ["preview", "--stack", "try", "--event-log", str(project.folder / "events.json")]
    assert "told to who asks" not in project.ok(*preview)
    assert "told to who asks" not in (project.folder / "events.json").read_text(), "handed on to nobody"
    assert "told to who asks" in project.ok(*preview, "--debug")
    project.environment["PULUMI_OPTION_DEBUG"] = "true"
    assert "told to who asks" in project.ok(*preview)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["up", "--yes"], False),
        (["preview", "--diff", "-C", "/dev", "--stack", "dev"], False),
        (["up", "--debug"], True),
        (["up", "-yd"], True),
        (["-v=9", "up"], True),
        (["up", "--logtostderr"], True),
    ],
)
def test_an_engine_says_in_its_arguments_whether_it_shows_debugging(arguments: list[str], *, asked: bool) -> None:
    command = ["/bin/sh", "-c", "echo there; read line", "pulumi", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        try:
            assert engine.stdout is not None
            engine.stdout.readline()
            assert debugging.asked(engine.pid) is asked
        finally:
            engine.communicate(b"\n")


def test_a_program_that_is_not_there_is_an_error(project: Project) -> None:
    failed = project.up()
    assert failed.returncode != 0
    assert "__main__" in failed.stdout + failed.stderr


def test_the_virtual_environment_of_the_project_file_is_honoured(project: Project) -> None:
    other = venv(project.folder / "other", packages_of=Path(sys.prefix))
    project.describe(virtualenv="other")
    project.ok("config", "set", "--secret", "hidden", "--stack", "try", stdin="a secret of the other one")
    project.write(
        "__main__.py",
        """
        import sys
        from pathlib import Path
        import pulumi
        secret = pulumi.Config().require("hidden")
        own = Path("/proc/self")
        seen = (own / "cmdline").read_text() + (own / "environ").read_text()
        pulumi.export("prefix", sys.prefix)
        pulumi.export("given away", secret in seen)
        """,
    )
    done = project.up()
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.outputs() == {"prefix": str(other), "given away": False}
    project.write("__main__.py", "import pulumi\nraise pulumi.RunError('said by the other one')\n")
    failed = project.up()
    assert failed.returncode != 0
    assert "error: said by the other one" in failed.stdout
    assert "Traceback" not in failed.stdout


def test_a_virtual_environment_that_is_missing_is_told_with_the_mend(project: Project) -> None:
    project.describe(virtualenv="missing")
    project.write("__main__.py", "")
    failed = project.up()
    assert failed.returncode != 0
    told = failed.stdout + failed.stderr
    assert "virtualenv: missing: the virtual environment that the project file names is missing" in told
    assert "mend: make up (or: pulumi install)" in told


def test_pulumi_install_makes_it(project: Project) -> None:
    project.describe(virtualenv="made")
    project.write("requirements.txt", "# nothing\n")
    project.ok("install")
    assert (project.folder / "made" / "bin" / "python").exists()


def test_the_packages_plugins_are_named_unless_they_are_on_path(project: Project) -> None:
    # A package that names its plugin, as Pulumi's own do; the engine tries to download it, which no address allows.
    site = next((venv(project.folder / "v", packages_of=Path(sys.prefix)) / "lib").glob("python3*/site-packages"))
    (site / "pulumi_thing").mkdir()
    described = {"resource": True, "name": "thing", "version": "1.2.3", "server": "http://127.0.0.1:9"}
    (site / "pulumi_thing" / "pulumi-plugin.json").write_text(json.dumps(described), encoding="utf-8")
    project.describe(virtualenv="v")
    project.write("__main__.py", "")
    failed = project.run("plugin", "install")
    assert failed.returncode != 0
    assert "thing" in failed.stdout + failed.stderr
    assert "1.2.3" in failed.stdout + failed.stderr

    plugin = project.folder / "bin" / "pulumi-resource-thing"
    plugin.parent.mkdir()
    plugin.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    plugin.chmod(0o755)
    project.environment["PATH"] = f"{plugin.parent}:{project.environment['PATH']}"
    project.ok("plugin", "install")  # what is on PATH is not downloaded
    assert project.up().returncode == 0, "nor started, unless it is used"


def test_about_lists_what_is_installed(project: Project) -> None:
    project.write("__main__.py", "")
    told: dict[str, Any] = json.loads(project.ok("about", "--json", "--stack", "try"))
    assert "pulumi" in {found["name"].lower() for found in told["dependencies"]}
    assert Path(told["runtime"]["executable"]).name.startswith("python")


def hosts(project: Project) -> set[int]:
    """The processes that were started in a project's folder."""
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(encoding="utf-8")
            if "toolchain/language" in command and (process / "cwd").readlink() == project.folder:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_the_host_ends_with_its_engine(project: Project, how: signal.Signals) -> None:
    project.write("__main__.py", "import time\nprint('here I am')\ntime.sleep(600)\n")
    command = [project.cli, "up", "--yes", "--skip-preview", "--stack", "try", "--non-interactive"]
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, start_new_session=True
    ) as engine:
        assert engine.stdout is not None
        for line in engine.stdout:
            if b"here I am" in line:
                break
        assert hosts(project), "the host runs"
        engine.send_signal(how)
        until(lambda: not hosts(project), "the host outlived its engine")
        if how == signal.SIGINT:
            engine.send_signal(how)  # a second one: do not wait for the program, which sleeps
        engine.wait(timeout=30)


def test_a_second_run_finds_a_fresh_interpreter(project: Project) -> None:
    # `up` with its preview runs the program twice; modules of the first must not be there in the second.
    project.write("counter.py", "runs = 0\n")
    project.write(
        "__main__.py",
        "import pulumi\nimport counter\ncounter.runs += 1\npulumi.export('runs', counter.runs)\n",
    )
    project.ok("up", "--yes", "--stack", "try")
    assert project.outputs() == {"runs": 1}


def starts(environment: Mapping[str, str], folder: Path) -> float:
    """Seconds until the host has told its port."""
    begin = time.monotonic()
    with subprocess.Popen(
        [paths.LANGUAGE_BIN / "pulumi-language-python", "127.0.0.1:1"],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as host:
        assert host.stdout is not None
        assert int(host.stdout.readline()) > 0, "the port comes first"
        took = time.monotonic() - begin
        host.send_signal(signal.SIGINT)
        assert host.wait(timeout=10) == 0, "quiet on SIGINT"
        assert host.stdout.read() == b""
    return took


def test_the_host_starts_quickly_and_ends_quietly(project: Project) -> None:
    took = min(starts(project.environment, project.folder) for _ in range(3))
    assert took < 5, f"{took:.1f} s: the engine gives a host ten"
