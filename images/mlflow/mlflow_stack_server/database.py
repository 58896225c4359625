"""The database before MLflow is imported: is it there, which schema revision does it have, may we migrate.

Only psycopg2 is used, so that the answer takes a tenth of a second. Importing MLflow takes seconds.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2

from mlflow_stack_server.errors import LauncherError

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg2.extensions import connection as Connection  # noqa: N812  (a class, in spite of its name)

MIGRATION_LOCK = 0x6D6C666C6F77
"""Key of the advisory lock that a migration holds ("mlflow" in ASCII)."""

_FATAL = ("password authentication failed", "does not exist", "no password supplied", "permission denied")
"""Answers that waiting does not change. PostgreSQL gives no SQLSTATE for a refused connection through libpq."""


def connect(wait: float) -> Connection:
    """Connect to the database that libpq's variables name, waiting for it to come up.

    Args:
        wait: Seconds to keep trying while the server cannot be reached or is still starting.

    Raises:
        LauncherError: not reachable in time, or it refuses us.
    """
    deadline = time.monotonic() + wait
    said = False
    while True:
        try:
            return psycopg2.connect("", connect_timeout=5, application_name="mlflow-stack-launcher")
        except psycopg2.OperationalError as error:
            reason = first_line(error)
            if any(word in reason for word in _FATAL):
                message = (
                    f"database: {where()}: {reason}. "
                    "mend: make doctor (the password and the database disagree, or the database is not there yet)"
                )
                raise LauncherError(message) from error
            if time.monotonic() >= deadline:
                message = f"database: {where()}: not reachable within {wait:.0f} s: {reason}. mend: make doctor"
                raise LauncherError(message) from error
            if not said:
                sys.stderr.write(f"database: {where()}: not ready yet ({reason}), waiting up to {wait:.0f} s\n")
                sys.stderr.flush()
                said = True
            time.sleep(0.1)


def revision(connection: Connection) -> str | None:
    """Return the schema revision in the database; None where MLflow has not been set up yet.

    Raises:
        LauncherError: the database cannot be read, or has several revisions at once.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
            if cursor.fetchone() != (True,):
                return None
            cursor.execute("SELECT version_num FROM alembic_version")
            rows = [str(row[0]) for row in cursor.fetchall()]
    except psycopg2.Error as error:
        message = f"database: {where()}: the schema revision cannot be read: {first_line(error)}. mend: make doctor"
        raise LauncherError(message) from error
    if len(rows) > 1:
        found = ", ".join(sorted(rows))
        message = f"database: {where()}: several schema revisions at once ({found}). mend: restore a backup"
        raise LauncherError(message)
    return rows[0] if rows else None


def is_empty(connection: Connection) -> bool:
    """Say whether the schema that MLflow would use holds no tables; Alembic's own does not count, as for MLflow.

    Raises:
        LauncherError: the database cannot be read.
    """
    query = (
        "SELECT count(*) FROM pg_catalog.pg_tables"
        " WHERE schemaname = ANY (current_schemas(false)) AND tablename NOT LIKE 'alembic\\_%'"
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone() == (0,)
    except psycopg2.Error as error:
        message = f"database: {where()}: cannot be read: {first_line(error)}. mend: make doctor"
        raise LauncherError(message) from error


@contextmanager
def migration_lock(connection: Connection, wait: float) -> Generator[None]:
    """Hold the lock under which one migration at a time may run.

    The lock belongs to the session: it goes away with the connection, however the process ends.

    Raises:
        LauncherError: another migration holds it for longer than `wait` seconds.
    """
    connection.autocommit = True
    deadline = time.monotonic() + wait
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (MIGRATION_LOCK,))
            if cursor.fetchone() == (True,):
                break
            if time.monotonic() >= deadline:
                message = (
                    f"database: {where()}: another migration has been running for {wait:.0f} s. "
                    "mend: wait for it to end, then run this again"
                )
                raise LauncherError(message)
            time.sleep(0.2)
        try:
            yield
        finally:
            if not connection.closed:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))


def where() -> str:
    """Name the database without any secret: ``user@host/database``."""
    user, host, name = (os.environ.get(key, "") for key in ("PGUSER", "PGHOST", "PGDATABASE"))
    return f"{user}@{host}/{name}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text: the reason, without SQL and hints."""
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("ERROR:").strip().rstrip(".") if lines else type(error).__name__
