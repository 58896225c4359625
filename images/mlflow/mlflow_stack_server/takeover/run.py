"""The mode `import`: artifacts first, then all rows in one transaction, so that an interrupted one can be run again."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from mlflow_stack_server import credentials, database, maintenance, schema, serve
from mlflow_stack_server.errors import LauncherError, RefusedError, WrongSchemaError
from mlflow_stack_server.settings import DATABASE_URI
from mlflow_stack_server.takeover import artifacts, locations, order, rows, source

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from mlflow_stack_server.settings import Settings

_WAIT = 60
"""Seconds to wait for a collection or another short job, and for whoever writes a row."""

_COUNTED = (
    ("experiments", "experiments"),
    ("runs", "runs"),
    ("logged_models", "models"),
    ("registered_models", "registered models"),
    ("model_versions", "versions of them"),
    ("trace_info", "traces"),
)


def run(settings: Settings) -> None:
    """Bring in what the order in the job's folder names.

    Raises:
        RefusedError: The stack is not empty, or the source can't be read; nothing was touched.
        LauncherError: Something could not be copied, or is not what was written; no row was brought in.
    """
    credentials.load_stores()
    for name, value in serve.OUR_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    wanted = order.read()
    connection = database.connect(settings.database_wait)
    target = sqlalchemy.create_engine(DATABASE_URI)
    try:
        connection.autocommit = True
        found, needed = database.revision(connection), schema.revisions().head
        if found != needed:
            message = f"database: {database.where()}: schema revision is {found}, not {needed}. mend: make up"
            raise WrongSchemaError(message)
        with maintenance.lock(connection, "import", _WAIT), source.opened(wanted) as there:
            _bring(settings, wanted, there, target)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        message = f"import: {type(error).__name__}: {reason}: no row was brought in. mend: make import, once more"
        raise LauncherError(message) from error
    finally:
        target.dispose()
        connection.close()


def _bring(settings: Settings, wanted: order.Order, there: Engine, target: Engine) -> None:
    from mlflow_stack_server.garbage.collect import s3_client  # noqa: PLC0415  (boto3 takes its time)

    with there.connect() as reading, target.connect() as writing:
        if there.dialect.name == "postgresql":
            reading.execute(sqlalchemy.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        rows.require_empty(writing)
        writing.rollback()
        places = locations.load(reading, serve.artifact_root(settings))
        bucket = s3_client()
        reader = artifacts.Reader(wanted)
        files = artifacts.copy(reader, places.things, bucket, settings.bucket, _say)
        _require_artifacts(places, files)
        with writing.begin():
            rows.keep_writers_out(writing, _WAIT)
            rows.require_still_empty(writing)
            written = rows.copy(reading, writing, places)
            rows.compare(writing, written)
            _compare_files(files, artifacts.sizes(bucket, settings.bucket))
    _report(places, written, files)


def _require_artifacts(places: locations.Locations, files: dict[str, int]) -> None:
    """Refuse a folder in which nothing is where the database says: it is another one.

    Raises:
        RefusedError: It is.
    """
    if places.things and not files:
        message = (
            f"ARTIFACTS: {places.things[0].old}: is not there, nor is anything of {len(places.things)} runs, models, "
            "traces. mend: make import FROM=… ARTIFACTS=the folder or bucket in which it is"
        )
        raise RefusedError(message)


def _compare_files(files: dict[str, int], present: dict[str, int]) -> None:
    wrong = [key for key, size in files.items() if present.get(key) != size]
    if wrong:
        message = f"import: {wrong[0]}: is not in the bucket as it was copied. mend: make import, once more"
        raise LauncherError(message)


def _report(places: locations.Locations, written: rows.Sums, files: dict[str, int]) -> None:
    def count(table: str) -> int:
        return sum(number for number, _ in written.get(table, {}).values())

    _say("brought in: " + ", ".join(f"{count(table)} {name}" for table, name in _COUNTED))
    _say(f"compared: {sum(count(table) for table in written)} rows, run by run, and {len(files)} files")
    anew = {old: new for old, new in places.experiments.items() if old != new}
    for old, new in sorted(anew.items()):
        _say(f"  experiment {old} is number {new} here: its number was too large for PostgreSQL")
    if places.elsewhere:
        _say(
            f"  {places.elsewhere} sources of model versions or traces name places that nothing was found at: they stay"
        )


def _say(text: str) -> None:
    sys.stdout.write(f"import: {text}\n")
    sys.stdout.flush()
