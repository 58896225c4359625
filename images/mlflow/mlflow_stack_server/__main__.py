"""The image's entry point: `mlflow-stack-server MODE`."""

from __future__ import annotations

import gc
import importlib
import os
import sys

from mlflow_stack_server import settings
from mlflow_stack_server.errors import EXIT_REFUSED, LauncherError

USAGE = """\
usage: mlflow-stack-server MODE

  serve     serve MLflow; refuses to start on another schema revision than its own (exit code 3)
  migrate   bring the database to this MLflow's schema, as the owner role
  rekey [--check]   encrypt anew what is encrypted in the database, with the keys put into /home/mlflow; or only say,
            as JSON, whether that can be done
  import    bring in what another MLflow keeps, as the order in /tmp/import says
  user NAME [--reset]   make a user, or give one a new password, and print the password
  gc OLDER_THAN [--dry] [--wait SECONDS]   remove for good what was deleted that long ago
  gc-schedule SCHEDULE OLDER_THAN         the same by five fields of cron, UTC
"""

_GARBAGE = 50_000
"""New objects between two collections, while a mode loads MLflow and ends soon: with Python's own 700 a third of that
time goes into looking for garbage. `serve` collects as it likes."""

_MODES = {"serve": "serve", "migrate": "migrate", "import": "takeover.run"}
"""Modes without arguments → the module that runs them."""


def main() -> int:
    """Run the mode that the first argument names; return the exit code."""
    mode, *arguments = sys.argv[1:] or [""]
    if mode in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    try:
        return _run(mode, arguments)
    except LauncherError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _run(mode: str, arguments: list[str]) -> int:
    """Run a mode; each loads what it needs."""
    given = settings.read(os.environ)
    if mode != "serve":
        gc.set_threshold(_GARBAGE)
    if mode == "user" and arguments and arguments[1:] in ([], ["--reset"]):
        from mlflow_stack_server import add_user  # noqa: PLC0415

        add_user.run(given, arguments[0], reset=len(arguments) > 1)
        return 0
    if mode == "rekey" and arguments in ([], ["--check"]):
        from mlflow_stack_server import rekey  # noqa: PLC0415

        rekey.run(given, check=bool(arguments))
        return 0
    if mode in ("gc", "gc-schedule"):
        from mlflow_stack_server.garbage import cli  # noqa: PLC0415

        return cli.main(given, mode, arguments)
    if arguments or mode not in _MODES:
        sys.stderr.write(USAGE)
        return EXIT_REFUSED
    importlib.import_module(f"mlflow_stack_server.{_MODES[mode]}").run(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
