"""The mode `migrate`: bring the database to the schema of the installed MLflow, once, as the owner role."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import TYPE_CHECKING

from mlflow_stack_server import credentials, database, schema
from mlflow_stack_server.errors import LauncherError, Refused
from mlflow_stack_server.settings import DATABASE_URI

if TYPE_CHECKING:
    from mlflow_stack_server.settings import Settings


def run(settings: Settings) -> None:
    """Migrate, or do nothing in a fraction of a second where nothing is to do.

    Raises:
        Refused: the database was written by an MLflow that this one does not know. Nothing was touched.
        LauncherError: the migration failed; the text ends with PostgreSQL's own reason.
    """
    credentials.load(serving=False)
    target = schema.revisions()
    connection = database.connect(settings.database_wait)
    try:
        with database.migration_lock(connection, settings.database_wait):
            found = database.revision(connection)
            if found == target.head:
                _say(f"schema revision {found} is that of MLflow {schema.version()}: nothing to do")
                return
            if found is not None and found not in target.known:
                message = (
                    f"database: {database.where()}: schema revision {found} is unknown to MLflow {schema.version()}, "
                    f"whose newest is {target.head}: a newer MLflow has migrated this database. "
                    "mend: pulumi config set mlflowVersion VERSION (the one that last served), or restore a backup"
                )
                raise Refused(message)
            _say(f"schema revision {found or 'none'} -> {target.head} (MLflow {schema.version()})")
            started = time.monotonic()
            _upgrade(settings)
            reached = database.revision(connection)
            if reached != target.head:
                message = (
                    f"database: {database.where()}: schema revision is {reached} after the migration, "
                    f"expected {target.head}. mend: restore a backup, then make doctor"
                )
                raise LauncherError(message)
            _say(f"schema revision {reached} reached in {time.monotonic() - started:.1f} s")
    finally:
        connection.close()


def _upgrade(settings: Settings) -> None:
    # A table that someone else has locked must end as an error, not as a job that never ends.
    options = f"{os.environ.get('PGOPTIONS', '')} -c lock_timeout={settings.lock_timeout}s".strip()
    os.environ["PGOPTIONS"] = options
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # The process lives for seconds: collecting garbage while thousands of classes are made is time lost.
    gc.disable()
    from mlflow.db import upgrade  # noqa: PLC0415  (seconds of imports, only when there is something to do)

    callback = upgrade.callback
    if callback is None:
        message = "mlflow: `mlflow db upgrade` has no callback: this MLflow is not supported"
        raise LauncherError(message)
    try:
        callback(DATABASE_URI)
    except Exception as error:
        message = (
            f"database: {database.where()}: the migration failed: {database.first_line(error)}. "
            "mend: remove the cause, then make up"
        )
        raise LauncherError(message) from error


def _say(text: str) -> None:
    sys.stdout.write(f"migrate: {text}\n")
    sys.stdout.flush()
