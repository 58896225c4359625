"""A new database in one step: the schema that the migration scripts end with, as SQL.

On an empty database MLflow replays its whole history, some sixty scripts and 750 statements, and imports itself for
that: four seconds of every first start. The image can carry the outcome instead, dumped from a database that `mlflow
db upgrade` has made. It is used where three things hold: the database is empty, the dump was made from exactly the
scripts that are installed, and all of it succeeds in one transaction. Otherwise MLflow's own way is taken. A test
holds the two to the same dump.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from mlflow_stack_server import database, schema

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (a class, in spite of its name)

FILE = Path(__file__).with_name("schema.sql")
SWITCH = "MLFLOW_STACK_SCHEMA_SNAPSHOT"
"""`false` takes MLflow's own way on every database."""

_HEADER = re.compile(r"^-- scripts: ([0-9a-f]{64})$", re.MULTILINE)


def apply(connection: Connection, file: Path = FILE) -> bool:
    """Load the dump into an empty database; return whether that was done.

    Args:
        connection: To the empty database, in autocommit mode.
        file: The dump.
    """
    if os.environ.get(SWITCH, "").strip().lower() == "false" or not file.exists():
        return False
    text = file.read_text(encoding="utf-8")
    header = _HEADER.search(text)
    if header is None or header.group(1) != schema.fingerprint():
        sys.stdout.write("migrate: the schema dump was made from other migration scripts: running them instead\n")
        return False
    try:
        with connection.cursor() as cursor:
            # Sent as one message in autocommit mode, several statements are one transaction; BEGIN makes that explicit.
            cursor.execute(f"BEGIN; {text}\nCOMMIT;")
    except psycopg2.Error as error:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
        reason = database.first_line(error)
        sys.stdout.write(f"migrate: the schema dump does not load ({reason}): running the migration scripts instead\n")
        return False
    return True
