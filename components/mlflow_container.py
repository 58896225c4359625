"""What the tracking server and the migration job, two containers of one image, have in common."""

from __future__ import annotations

import pulumi

from components.naming import BACKEND_STORE_ALIAS, FILES_PATH
from components.postgres_server import PORT
from components.service import File

MLFLOW_UID = 10002


def database_environment(user: str, database_name: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """The variables by which libpq finds the backend store; the password is in the file that one of them names."""
    return {
        "PGHOST": BACKEND_STORE_ALIAS,
        "PGPORT": str(PORT),
        "PGUSER": user,
        "PGDATABASE": database_name,
        "PGPASSFILE": f"{FILES_PATH}/pgpass",
    }


def password_file(password: pulumi.Output[str]) -> File:
    r"""A libpq password file with one line for every server.

    libpq reads `\` and `:` in it as special and refuses a file that others may read (PostgreSQL manual, "The
    Password File").
    """
    return File(password.apply(lambda value: "*:*:*:*:" + value.replace("\\", "\\\\").replace(":", "\\:") + "\n"))
