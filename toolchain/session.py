"""A stack, and the `pulumi` that works on it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from toolchain import attached, environment, paths, providers, pulumi_cli, state_files
from toolchain.errors import FailedError, RefusedError
from toolchain.say import say

PROJECT: Final = "mlflow-stack"

#: The longest stack name with which every container name (`mlflow-<stack>-migration`) is still a host name.
_LONGEST: Final = 46
_QUALIFIED: Final = re.compile(r"(?:[A-Za-z0-9_.-]+/){0,2}([A-Za-z0-9][A-Za-z0-9_.-]*)")


@dataclass(frozen=True)
class Session:
    """Everything that a command needs to talk to Pulumi about one stack.

    Attributes:
        stack: The stack as the user named it, perhaps with its organization.
        cli: The CLI.
        plugins: The provider plugins.
    """

    stack: str
    cli: pulumi_cli.Cli
    plugins: providers.Providers

    @property
    def name(self) -> str:
        """The stack's own name, which stands in the names of its Docker objects."""
        return self.stack.rpartition("/")[2]

    @property
    def stack_file(self) -> Path:
        """The stack's config."""
        return paths.PROJECT_DIR / f"Pulumi.{self.name}.yaml"

    @cached_property
    def environment(self) -> environment.Environment:
        """What `pulumi` needs to find its parts."""
        return environment.make(self.cli, self.plugins, self.stack)

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """A command line of `pulumi`; no secret may be among the arguments."""
        return [self.environment.program, *arguments]

    def run(self, *arguments: str | Path, quiet: bool = False) -> int:
        """Run `pulumi` on the user's terminal and give its exit code."""
        env = self.environment.whole()
        return attached.run(self.command(*arguments), env, paths.PROJECT_DIR, quiet=quiet).code

    def try_(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `pulumi` and give all it said."""
        return subprocess.run(
            self.command(*arguments, "--non-interactive"),
            env=self.environment.whole(),
            cwd=paths.PROJECT_DIR,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run `pulumi` and give what it printed.

        Raises:
            FailedError: It failed; its own words are in the error.
        """
        result = self.try_(*arguments, stdin=stdin)
        if result.returncode:
            said = " ".join((result.stderr.strip() or result.stdout.strip()).split()).removeprefix("error: ")
            what = f"pulumi {' '.join(map(str, arguments[:2]))}"
            raise FailedError(what, f"exit code {result.returncode}", said, f"make doctor STACK={self.stack}")
        return result.stdout

    def config(self, *, secrets: bool) -> dict[str, dict[str, Any]]:
        """The stack's config: each key of this project, without its namespace, with `value` and `secret`.

        Args:
            secrets: Give secret values in plain text; they have none otherwise.
        """
        shown: dict[str, dict[str, Any]] = json.loads(
            self.ask("config", "--json", *(["--show-secrets"] if secrets else []), "--stack", self.stack)
        )
        prefix = f"{PROJECT}:"
        return {key.removeprefix(prefix): entry for key, entry in shown.items() if key.startswith(prefix)}


def check_name(stack: str) -> None:
    """Refuse a name that can't be a stack's.

    Raises:
        RefusedError: It can't.
    """
    found = _QUALIFIED.fullmatch(stack)
    if found is None or len(found[1]) > _LONGEST:
        raise RefusedError(
            "STACK",
            stack,
            f"must be letters, digits, '-', '_' and '.', beginning with a letter or digit, {_LONGEST} at most",
            "make up STACK=dev",
        )


def open_session(stack: str, cli: pulumi_cli.Cli | None = None) -> Session:
    """Have the CLI and the plugins, and give a session on a stack, of whose state all files can be read.

    Raises:
        RefusedError: The name can't be a stack's, or a forced way is closed.
        FailedError: The CLI can't be had.
    """
    check_name(stack)
    cli = cli or pulumi_cli.ensure()
    session = Session(stack, cli, providers.choose(cli))
    mend_state(session)
    return session


def half_written(session: Session) -> list[Path]:
    """Files of the state that a killed run left half written; none of a backend that is not in a folder."""
    folder = environment.state_folder()
    return state_files.half_written(folder, PROJECT, session.name) if folder else []


def mend_state(session: Session) -> None:
    """Remove what a killed run left half written of the state, without which Pulumi can read the rest."""
    for path in half_written(session):
        path.unlink(missing_ok=True)
        say(f"  state: {path.name}, which a killed run left half written, was removed")
