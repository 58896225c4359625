"""The mode `gc`: say what goes, and remove it, in the order in which nothing is lost.

Rows of runs, models and traces; then the objects of what is not there any more; then the experiments, which say where
their objects are; then what MLflow leaves behind. Interrupted anywhere, the next collection goes on.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import psycopg2

from mlflow_stack_server import credentials, database, maintenance, schema, serve
from mlflow_stack_server.errors import LauncherError, WrongSchemaError
from mlflow_stack_server.garbage import age, plan, references, rows
from mlflow_stack_server.garbage.locations import key_of
from mlflow_stack_server.garbage.removal import Removal
from mlflow_stack_server.garbage.sweep import Sweep, Swept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import connection as Connection  # noqa: N812  (a class, in spite of its name)

    from mlflow_stack_server.garbage.plan import Plan
    from mlflow_stack_server.settings import Settings

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_KIB = 1024


def run(settings: Settings, older_than: str, *, dry: bool, wait: float) -> None:
    """Collect.

    Args:
        settings: Of the server.
        older_than: How long ago something must have been deleted, such as `30d`.
        dry: Only say what would go.
        wait: Seconds to wait for another job that is at work.

    Raises:
        RefusedError: The time has another form, or another job is at work; nothing was touched.
        WrongSchemaError: The database is that of another MLflow.
        LauncherError: Something could not be removed; what could is removed.
    """
    cutoff = int((time.time() - age.parse(older_than).total_seconds()) * 1000)
    credentials.load_stores()
    for name, value in serve.OUR_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    holding, connection = database.connect(settings.database_wait), database.connect(settings.database_wait)
    try:
        connection.autocommit = True
        _check_schema(connection)
        with maintenance.lock(holding, "gc", wait):
            _collect(settings, connection, older_than, cutoff, dry=dry)
    except psycopg2.Error as error:
        message = f"gc: {database.where()}: {database.first_line(error)}. mend: make gc, which goes on from here"
        raise LauncherError(message) from error
    finally:
        connection.close()
        holding.close()


def _collect(settings: Settings, connection: Connection, older_than: str, cutoff: int, *, dry: bool) -> None:
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(cutoff / 1000))
    _say(f"what was deleted before {day} UTC (OLDER_THAN={older_than})")
    s3 = s3_client()
    with connection.cursor() as cursor:
        planned = plan.make(cursor, settings.bucket, cutoff)
        for line in planned.kept:
            _say(f"  kept: {line}")
        conditions = rows.counted(cursor)
        before = rows.count(cursor, conditions, planned.sets)
        swept = Sweep(s3, cursor, planned, planned.references, remove=False).run()
        _report("will go" if not dry else "would go", before, swept)
        if dry:
            return
        if not before and not swept.objects:
            return
        left_behind = rows.left_behind(cursor)
        removal = Removal(cursor, planned, serve.artifact_root(settings))
        removal.contents()
        swept = _sweep(s3, cursor, planned)
        removal.experiments()
        removal.left_behind(left_behind)
        after = rows.count(cursor, conditions, planned.sets)
    gone = {table: number - after.get(table, 0) for table, number in before.items()}
    _report("gone", {table: number for table, number in gone.items() if number}, swept)
    _say(f"the bucket holds {_size(swept.total_bytes - swept.bytes)} now")
    problems = removal.problems + [f"object {key}: could not be removed" for key in swept.failed]
    if problems:
        for line in problems:
            _say(f"  {line}")
        message = f"gc: {len(problems)} things could not be removed. mend: make doctor, then make gc"
        raise LauncherError(message)


def _sweep(s3: Any, cursor: Any, planned: Plan) -> Swept:  # noqa: ANN401 - neither has static types
    """Remove objects; what refers to them is asked anew."""
    now = references.load(cursor, planned.bucket, planned.runs)
    cursor.execute("SELECT experiment_id, artifact_location FROM experiments")
    for identity, location in cursor.fetchall():
        if identity not in planned.experiments:
            now.add_home(key_of(location, planned.bucket), f"the experiment {identity}")
    return Sweep(s3, cursor, planned, now, remove=True).run()


def _check_schema(connection: Connection) -> None:
    """Raise WrongSchemaError where the tables are not those that this MLflow was written for."""
    target, found = schema.revisions().head, database.revision(connection)
    if found != target:
        message = (
            f"database: {database.where()}: schema revision is {found or 'none'}, MLflow {schema.version()} needs "
            f"{target}. mend: make up (it migrates)"
        )
        raise WrongSchemaError(message)


def _report(word: str, counted: Mapping[str, int], swept: Swept) -> None:
    """Say how much: exact numbers, for people and for tests."""
    things = ", ".join(
        f"{counted.get(table, 0)} {name}"
        for table, name in (
            ("runs", "runs"),
            ("experiments", "experiments"),
            ("logged_models", "models"),
            ("trace_info", "traces"),
        )
    )
    _say(f"{word}: {things}")
    _say(f"{word}: {sum(counted.values())} rows of the database")
    of_whom = ", ".join(f"{number} {kind}s" for kind, number in sorted(swept.owners.items()) if number)
    _say(
        f"{word}: {swept.objects} objects of the bucket, {swept.bytes} bytes ({_size(swept.bytes)})"
        + (f", of {of_whom}" if of_whom else "")
    )


def _size(count: int) -> str:
    value = float(count)
    for unit in _UNITS:
        if value < _KIB or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    raise AssertionError


def s3_client() -> Any:  # noqa: ANN401  (boto3 clients have no static type)
    """Give a client of the artifact store, with retries and time limits made for work in bulk."""
    import boto3  # noqa: PLC0415  (not needed to refuse)
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(
        "s3",
        endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"),
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def _say(text: str) -> None:
    sys.stdout.write(f"gc: {text}\n")
    sys.stdout.flush()
