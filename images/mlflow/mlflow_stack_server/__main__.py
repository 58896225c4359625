"""The image's entry point: `mlflow-stack-server MODE`."""

from __future__ import annotations

import os
import sys

from mlflow_stack_server import settings
from mlflow_stack_server.errors import EXIT_REFUSED, LauncherError

USAGE = """\
usage: mlflow-stack-server MODE

  serve     serve MLflow; refuses to start on another schema revision than its own (exit code 3)
  migrate   bring the database to this MLflow's schema, as the owner role
  rekey     encrypt anew what is encrypted in the database, with the keys put into /home/mlflow
  user NAME [--reset]   make a user, or give one a new password, and print the password
"""


def main() -> int:
    """Run the mode that the first argument names; return the exit code."""
    mode, *arguments = sys.argv[1:] or [""]
    if mode in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    try:
        if mode == "user" and arguments and arguments[1:] in ([], ["--reset"]):
            from mlflow_stack_server import add_user  # noqa: PLC0415  (each mode loads what it needs)

            add_user.run(settings.read(os.environ), arguments[0], reset=len(arguments) > 1)
        elif arguments:
            sys.stderr.write(USAGE)
            return EXIT_REFUSED
        elif mode == "serve":
            from mlflow_stack_server import serve  # noqa: PLC0415

            serve.run(settings.read(os.environ))
        elif mode == "migrate":
            from mlflow_stack_server import migrate  # noqa: PLC0415

            migrate.run(settings.read(os.environ))
        elif mode == "rekey":
            from mlflow_stack_server import rekey  # noqa: PLC0415

            rekey.run(settings.read(os.environ))
        else:
            sys.stderr.write(USAGE)
            return EXIT_REFUSED
    except LauncherError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
