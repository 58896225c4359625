"""A small Pulumi project of a test, under the real CLI and this checkout's own language host."""

from __future__ import annotations

import json
import subprocess
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from toolchain import paths, pulumi_cli

PASSPHRASE = "of no importance"


@dataclass
class Project:
    """A Pulumi project of a test."""

    folder: Path
    cli: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def describe(self, **options: str) -> None:
        """Write the project file, with the runtime's options."""
        content = {"name": "try", "runtime": {"name": "python", "options": options}}
        self.write("Pulumi.yaml", json.dumps(content))

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.cli, *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def ok(self, *arguments: str, stdin: str = "") -> str:
        result = self.run(*arguments, stdin=stdin)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--yes", "--skip-preview", "--stack", "try")

    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("stack", "output", "--json", "--show-secrets", "--stack", "try"))
        return found


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLI alone, without a language host beside it: so that ours is used on any machine."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "pulumi").symlink_to(pulumi_cli.ensure().program)
    return folder / "pulumi"


@pytest.fixture
def project(cli: Path, tmp_path: Path) -> Project:
    """An empty project with a state of its own."""
    made = Project(tmp_path / "project", cli)
    (tmp_path / "state").mkdir()
    made.environment = {
        "PATH": f"{paths.LANGUAGE_BIN}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    made.describe()
    made.ok("stack", "init", "try")
    return made
