"""The rows of the source, copied and compared in one transaction: all of them are there afterwards, or none.

Compared are sums over all rows of a table, or of a run: each row, read back, must have the hash of the row that was
written. The order in which two databases give rows does not matter to a sum.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy
from sqlalchemy.exc import OperationalError

from mlflow_stack_server.errors import LauncherError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from mlflow_stack_server.takeover.locations import Locations

_BATCH: Final = 1000
_LOCK_NOT_AVAILABLE: Final = "55P03"
"""PostgreSQL's word for a lock that somebody else has."""

_MODULUS: Final = 2**64

_SEEDED: Final = frozenset({"experiments", "workspaces", "scheduler_leases"})
"""Tables in which an empty stack has rows: the default experiment and the like."""

_SECRETS: Final = {
    "secrets": None,
    "model_definitions": "secret_id",
    "webhooks": "secret",
}
"""What the source encrypted with a key that is not ours: a table that is left out, or a column that is emptied."""

Sums = dict[str, dict[str, tuple[int, int]]]
"""Table → run, or an empty text → number of rows, and the sum of their hashes."""


def tables() -> list[Table]:
    """Give the tables of MLflow, each after those that it refers to."""
    from mlflow.store.db.base_sql_model import Base  # noqa: PLC0415

    importlib.import_module("mlflow.store.db.utils")  # it knows all models
    return list(Base.metadata.sorted_tables)


def written_columns(table: Table) -> list[str]:
    """Give the names of the columns that are written; the database computes the others."""
    return [column.name for column in table.columns if column.computed is None]


def require_empty(connection: Connection) -> None:
    """Have an empty stack.

    Raises:
        RefusedError: It holds something.
    """
    for table in tables():
        if table.name == "experiments":
            count = connection.execute(
                sqlalchemy.select(sqlalchemy.func.count()).select_from(table).where(table.c.experiment_id != 0)
            ).scalar()
        elif table.name in _SEEDED:
            continue
        else:
            count = connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)).scalar()
        if count:
            message = (
                f"import: this stack: holds {count} rows of {table.name} already, only an empty one takes in others. "
                "mend: make import STACK=another-name, after make up STACK=another-name"
            )
            raise RefusedError(message)


def keep_writers_out(target: Connection, wait: float) -> None:
    """Have nobody else write to any table until the transaction ends; readers go on.

    All locks are taken at once or none is: whoever waits while holding some may wait for a server that waits for those.

    Args:
        target: In a transaction.
        wait: Seconds that whoever writes just now gets to end.

    Raises:
        LauncherError: Somebody wrote for longer.
    """
    quote = target.dialect.identifier_preparer.format_table
    lock = sqlalchemy.text(f"LOCK TABLE {', '.join(map(quote, tables()))} IN EXCLUSIVE MODE NOWAIT")
    deadline = time.monotonic() + wait
    while True:
        try:
            with target.begin_nested():  # one that fails lets go of what it has
                target.execute(lock)
            return
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != _LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() >= deadline:
                message = (
                    f"import: this stack: somebody has been writing to it for {wait:.0f} s: no row was brought in. "
                    "mend: make import, once more"
                )
                raise LauncherError(message) from error
            time.sleep(0.1)


def require_still_empty(target: Connection) -> None:
    """Have a stack that nobody wrote to while artifacts were copied, which may take hours.

    Raises:
        LauncherError: It holds something, which stays.
    """
    try:
        require_empty(target)
    except RefusedError as refusal:
        message = (
            "import: this stack: was written to while artifacts were copied: that stays, and no row was brought in. "
            "mend: make import STACK=another-name, after make up STACK=another-name"
        )
        raise LauncherError(message) from refusal


def copy(source: Connection, target: Connection, places: Locations) -> Sums:
    """Copy all rows; what of them names a place names the new one.

    Args:
        source: At this MLflow's revision.
        target: In a transaction of its own; the default experiment and the like make room.
        places: What goes where.
    """
    written: Sums = {}
    for table in reversed(tables()):
        target.execute(table.delete())
    for table in tables():
        sums = _Sums(table)
        for some in _rows(source, table, _changed(table, places)):
            target.execute(table.insert(), some)
            sums.add(some)
        written[table.name] = dict(sums.by_run)
    _advance_sequences(target)
    return written


def compare(target: Connection, written: Sums) -> None:
    """Read all rows back.

    Raises:
        LauncherError: A row is not as it was written; the run is named.
    """
    for table in tables():
        sums = _Sums(table)
        for some in _rows(target, table, None):
            sums.add(some)
        if dict(sums.by_run) != written[table.name]:
            runs = {*sums.by_run, *written[table.name]}
            wrong = next(run for run in sorted(runs) if sums.by_run.get(run) != written[table.name].get(run))
            of_run = f" of run {wrong}" if wrong else ""
            message = (
                f"import: {table.name}: the rows{of_run} are not what was written: nothing was brought in. "
                "mend: make import, once more"
            )
            raise LauncherError(message)


class _Sums:
    def __init__(self, table: Table) -> None:
        self._run = next((name for name in ("run_uuid", "run_id") if name in table.columns), None)
        self._names = written_columns(table)
        self.by_run: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    def add(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            text = repr([_plain(row[name]) for name in self._names])
            digest = int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest())
            run = str(row[self._run]) if self._run else ""
            count, total = self.by_run[run]
            self.by_run[run] = count + 1, (total + digest) % _MODULUS


def _plain(value: object) -> object:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value


def _rows(
    connection: Connection, table: Table, change: Callable[[dict[str, Any]], dict[str, Any] | None] | None
) -> Iterator[list[dict[str, Any]]]:
    columns = [table.columns[name] for name in written_columns(table)]
    rows = connection.execution_options(stream_results=True, yield_per=_BATCH).execute(sqlalchemy.select(*columns))
    for some in rows.mappings().partitions(_BATCH):
        found = [dict(row) for row in some]
        if change is not None:
            found = [changed for row in found if (changed := change(row)) is not None]
        if found:
            yield found


def _changed(table: Table, places: Locations) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """Give what a row of a table becomes; None leaves it out."""
    numbers = {int: places.experiments, str: {str(old): str(new) for old, new in places.experiments.items()}}
    columns = [column for column in _PLACES.get(table.name, ()) if column in table.columns]
    secret = _SECRETS.get(table.name, "")

    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        if secret is None:
            return None
        if secret:
            row[secret] = None
        for column in columns:
            row[column] = places.moved(row[column])
        if table.name == "trace_tags" and row["key"] in _PLACE_TAGS:
            row["value"] = places.moved(row["value"])
        experiment = row.get("experiment_id")
        if table.name == "experiments":
            row["artifact_location"] = places.home(int(row["experiment_id"]))
        if experiment is not None:
            row["experiment_id"] = numbers[type(experiment)].get(experiment, experiment)
        if table.name == "entity_associations" and row["destination_type"] == "experiment":
            row["destination_id"] = numbers[str].get(row["destination_id"], row["destination_id"])
        return row

    return change


_PLACES: Final = {
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
_PLACE_TAGS: Final = ("mlflow.artifactLocation", "mlflow.trace.archiveLocation")


def _advance_sequences(target: Connection) -> None:
    """Have the next number of each table come after those that are there, by the one right that the server has."""
    for table in tables():
        for column in table.primary_key.columns:
            name = target.execute(
                sqlalchemy.text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": table.name, "column": column.name},
            ).scalar()
            if name is None:
                continue
            most = target.execute(sqlalchemy.select(sqlalchemy.func.max(column))).scalar() or 0
            last = target.execute(
                sqlalchemy.text("SELECT coalesce(pg_sequence_last_value(CAST(:name AS regclass)), 0)"), {"name": name}
            ).scalar()
            target.execute(
                sqlalchemy.text("SELECT max(nextval(CAST(:name AS regclass))) FROM generate_series(1, :count)"),
                {"name": name, "count": max(0, int(most) - int(last or 0))},
            )
