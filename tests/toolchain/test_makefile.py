"""The targets that people type."""

from __future__ import annotations

import re
import subprocess

import pytest

from toolchain import paths
from toolchain.__main__ import COMMANDS

TARGETS = {
    "help",
    "up",
    "preview",
    "destroy",
    "init",
    "status",
    "logs",
    "doctor",
    "update",
    "sbom",
    "scan",
    "env",
    "engine-stop",
    "test",
    "lint",
    "bench",
    "soak",
    "rotate",
    "upgrade",
    "user",
    "gc",
    "import",
    "ca",
    "backup",
    "restore",
    "verify-backup",
}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=paths.PROJECT_DIR, capture_output=True, text=True, check=False
    )


def test_help_is_the_default_and_names_every_target() -> None:
    plain, asked = make(), make("help")
    assert plain.stdout == asked.stdout
    assert set(re.findall(r"^  ([a-z-]+) +\S", asked.stdout, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS - {"help", "test", "lint", "bench", "soak"}))
def test_a_target_is_a_thin_line_over_the_command_of_its_name(target: str) -> None:
    assert make("-n", target).stdout.strip() == f"./mlflow-stack {target}"
    assert target in COMMANDS


def test_a_soak_takes_seed_count_and_single_drills() -> None:
    drills = make("-n", "soak", "SEED=7", "N=3", "ONLY=17 18").stdout.strip().splitlines()[-1]
    assert " -m drill tests/stack --drill-seed 7 --drills 3 --drill 17 --drill 18 " in drills


def test_the_number_of_processes_that_run_tests_and_of_the_longest_ones_can_be_chosen() -> None:
    told = make("-n", "test", "JOBS=2", "SAMPLE=31").stdout.strip()
    assert told.endswith(".venv-test/bin/python -m pytest --sample 31 --numprocesses 2")


def test_the_stack_and_the_ways_reach_the_commands() -> None:
    shown = make("-pn", "help", "STACK=prod", "PROVIDERS=vendor").stdout
    assert re.search(r"^STACK = prod$", shown, re.MULTILINE)
    exported = next(line for line in shown.splitlines() if line.startswith("export ") or "# makefile" in line)
    assert exported, "make exports them"


def test_a_command_describes_itself() -> None:
    for name in COMMANDS:
        told = subprocess.run(
            ["./mlflow-stack", name, "--help"], cwd=paths.PROJECT_DIR, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        assert "--stack" in told.stdout
