"""The database of the source, as one of this MLflow's schema.

Whatever it is, it is only read. An older one is copied row by row into a SQLite file that has been made by the same
revision of MLflow's migration scripts, and that copy is upgraded by MLflow itself.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from mlflow_stack_server import schema
from mlflow_stack_server.errors import LauncherError, RefusedError
from mlflow_stack_server.takeover import order as orders
from mlflow_stack_server.takeover import rows

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.engine import Engine

    from mlflow_stack_server.takeover.order import Order

_BATCH: Final = 1000
_COPY: Final = orders.FOLDER / "copy.db"
_VERSIONS: Final = "alembic_version"
_SERVICE: Final = "source"


@contextmanager
def opened(order: Order) -> Generator[Engine]:
    """Give the source's database at this MLflow's revision.

    Raises:
        RefusedError: It can't be read, holds no MLflow, or a newer one.
    """
    if order.kind == "sqlite":
        engine = _sqlite(order)
    elif order.kind == "files":
        engine = _files()
    else:
        engine = _server(order)
    try:
        yield engine
    finally:
        engine.dispose()


def _sqlite(order: Order) -> Engine:
    """Copy the file, with what SQLite has not merged into it yet, and upgrade the copy."""
    original = orders.DATABASE / order.name
    try:
        before = original.stat()
        for ending in ("", "-wal", "-shm"):
            part = original.with_name(original.name + ending)
            if part.exists():
                shutil.copyfile(part, _COPY.with_name(_COPY.name + ending))
        after = original.stat()
    except OSError as error:
        message = f"FROM: {order.name}: {error.strerror}. mend: make import FROM=sqlite:////path/to/mlflow.db"
        raise RefusedError(message) from None
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        message = f"FROM: {order.name}: somebody writes to it. mend: stop the server that does, then make import"
        raise RefusedError(message)
    engine = sqlalchemy.create_engine(f"sqlite:///{_COPY}")
    _upgrade(engine, _revision(engine, order.name), order.name)
    return engine


def _files() -> Engine:
    """Have MLflow's own tool make a database of a folder with runs in files."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # to read them
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        from mlflow.store.fs2db import migrate  # noqa: PLC0415  (MLflow 3.10 and newer)
    except ModuleNotFoundError:
        message = (
            f"FROM: a folder: MLflow {schema.version()} has no tool that reads it. "
            "mend: pulumi config set mlflowVersion 3.17.2 && make up"
        )
        raise RefusedError(message) from None
    _COPY.unlink(missing_ok=True)
    try:
        migrate(orders.FILES, f"sqlite:///{_COPY}", progress=False)
    except MlflowException as error:
        message = f"FROM: a folder: {error.message}. mend: make import FROM=./mlruns"
        raise RefusedError(message) from None
    return sqlalchemy.create_engine(f"sqlite:///{_COPY}")


def _server(order: Order) -> Engine:
    connect: dict[str, Any] = {}
    if order.url.startswith("postgresql"):
        # Its password is in the same file as that of our own database, under another name.
        connect = {"service": _SERVICE, "options": "-c default_transaction_read_only=on", "connect_timeout": 10}
    engine = sqlalchemy.create_engine(order.url, connect_args=connect)
    where = engine.url.render_as_string(hide_password=True)
    try:
        found = _revision(engine, where)
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        message = f"FROM: {where}: {reason}. mend: make import FROM=postgresql://user@host:5432/db NETWORK=…"
        raise RefusedError(message) from None
    if found == schema.revisions().head:
        return engine
    copy = _at_revision(found)
    _copy_as_it_is(engine, copy)
    engine.dispose()
    _upgrade(copy, found, where)
    return copy


def _revision(engine: Engine, where: str) -> str:
    """Give the source's revision.

    Raises:
        RefusedError: There is none, or it is newer than this MLflow.
    """
    if not sqlalchemy.inspect(engine).has_table(_VERSIONS):
        message = f"FROM: {where}: holds no MLflow. mend: make import FROM=…, with the database of your MLflow"
        raise RefusedError(message)
    with engine.connect() as connection:
        found = str(connection.execute(sqlalchemy.text(f"SELECT version_num FROM {_VERSIONS}")).scalar())  # noqa: S608
    if found not in schema.revisions().known:
        message = (
            f"FROM: {where}: its revision {found} is unknown to MLflow {schema.version()}: a newer one wrote it. "
            "mend: pulumi config set mlflowVersion VERSION (at least the source's), then make up"
        )
        raise RefusedError(message)
    return found


def _upgrade(engine: Engine, found: str, where: str) -> None:
    if found == schema.revisions().head:
        return
    from mlflow.store.db import utils  # noqa: PLC0415

    try:
        utils._upgrade_db(engine)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - what `mlflow db upgrade` does
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        message = f"FROM: {where}: its copy could not be upgraded: {reason}. mend: mlflow db upgrade on a copy of yours"
        raise LauncherError(message) from error


def _at_revision(revision: str) -> Engine:
    """Make an empty SQLite database of an older revision."""
    from alembic import command  # noqa: PLC0415
    from mlflow.store.db import utils  # noqa: PLC0415
    from mlflow.store.tracking.dbmodels.initial_models import Base  # noqa: PLC0415

    for path in orders.FOLDER.glob(f"{_COPY.name}*"):
        path.unlink()
    engine = sqlalchemy.create_engine(f"sqlite:///{_COPY}")
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(f"sqlite:///{_COPY}")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    command.upgrade(config, revision)
    return engine


def _copy_as_it_is(source: Engine, copy: Engine) -> None:
    """Copy every table that the copy has."""
    there, here = sqlalchemy.MetaData(), sqlalchemy.MetaData()
    here.reflect(copy)
    names = [name for name in here.tables if name != _VERSIONS]
    present = set(sqlalchemy.inspect(source).get_table_names())
    there.reflect(source, only=[name for name in names if name in present])
    with source.connect() as reading, copy.begin() as writing:
        for table in reversed(here.sorted_tables):
            if table.name != _VERSIONS:
                writing.execute(table.delete())  # what a migration puts into a new database
        for table in here.sorted_tables:
            if table.name not in there.tables:
                continue
            old = there.tables[table.name]
            columns = [name for name in rows.written_columns(table) if name in old.columns]
            found = reading.execution_options(stream_results=True).execute(
                sqlalchemy.select(*(old.columns[name] for name in columns))
            )
            for some in found.mappings().partitions(_BATCH):
                writing.execute(table.insert(), [dict(row) for row in some])
