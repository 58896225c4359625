"""The mode `migrate`: bring the database to the schema of the installed MLflow, once, as the owner role."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import TYPE_CHECKING

from mlflow_stack_server import credentials, database, schema, snapshot
from mlflow_stack_server.errors import LauncherError, RefusedError
from mlflow_stack_server.settings import DATABASE_URI

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  (a class, in spite of its name)

    from mlflow_stack_server.settings import Settings


def run(settings: Settings) -> None:
    """Migrate, or do nothing in a fraction of a second where nothing is to do.

    Raises:
        RefusedError: the database was written by an MLflow that this one does not know. Nothing was touched.
        LauncherError: the migration failed; the text ends with PostgreSQL's own reason.
    """
    credentials.load(serving=False)
    target = schema.revisions()
    # A table that someone else has locked must end as an error, not as a job that never ends.
    given = os.environ.get("PGOPTIONS", "")
    os.environ["PGOPTIONS"] = f"{given} -c lock_timeout={settings.lock_timeout}s".strip()
    connection = database.connect(settings.database_wait)
    try:
        with database.migration_lock(connection, settings.database_wait):
            _runs(connection, target)
            if settings.auth:
                _users()
    finally:
        connection.close()


def _runs(connection: Connection, target: schema.Revisions) -> None:
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
        raise RefusedError(message)
    _say(f"schema revision {found or 'none'} -> {target.head} (MLflow {schema.version()})")
    started = time.monotonic()
    empty = database.is_empty(connection)
    if not (empty and found is None and snapshot.apply(connection)):
        _upgrade(empty=empty)
    reached = database.revision(connection)
    if reached != target.head:
        message = (
            f"database: {database.where()}: schema revision is {reached} after the migration, "
            f"expected {target.head}. mend: restore a backup, then make doctor"
        )
        raise LauncherError(message)
    _say(f"schema revision {reached} reached in {time.monotonic() - started:.1f} s")


def _users() -> None:
    """Bring the tables of users and permissions to this MLflow's schema; they have a version table of their own."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow.server.auth.db import utils as auth_tables  # noqa: PLC0415
        from mlflow.store.db import utils  # noqa: PLC0415

        engine = utils.create_sqlalchemy_engine_with_retry(DATABASE_URI)
        auth_tables.migrate_if_needed(engine, "head")
        engine.dispose()
    except Exception as error:
        message = (
            f"database: {database.where()}: the migration of the users failed: {database.first_line(error)}. "
            "mend: remove the cause, then make up"
        )
        raise LauncherError(message) from error
    _say("the tables of users and permissions are those of this MLflow")


def _upgrade(*, empty: bool) -> None:
    """Do what `mlflow db upgrade` does.

    Before 3.13 that command fails on an empty database, which only `mlflow server` could set up; what both call is the
    same.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # The process lives for seconds: collecting garbage while thousands of classes are made is time lost.
    gc.disable()
    try:
        from mlflow.store.db import utils  # noqa: PLC0415  (seconds of imports, only when there is something to do)

        engine = utils.create_sqlalchemy_engine_with_retry(DATABASE_URI)
        if empty:
            utils._initialize_tables(engine)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no public way, held by a test
        else:
            utils._upgrade_db(engine)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        engine.dispose()
    except Exception as error:
        message = (
            f"database: {database.where()}: the migration failed: {database.first_line(error)}. "
            "mend: remove the cause, then make up"
        )
        raise LauncherError(message) from error


def _say(text: str) -> None:
    sys.stdout.write(f"migrate: {text}\n")
    sys.stdout.flush()
