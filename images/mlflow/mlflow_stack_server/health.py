"""The deep health check: well means that the database and the bucket answer, now.

MLflow's own /health says OK while PostgreSQL is down. This one asks both stores, with short time limits, and shares
the answer between all workers: however often it is asked, each store sees at most one question a second.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import extensions

from mlflow_stack_server.database import first_line

if TYPE_CHECKING:
    from collections.abc import Callable

FRESH = 1.0
"""Seconds for which an answer is given again without asking the stores."""

STORE_TIMEOUT = 2.0
"""Seconds that one store gets to answer."""

PATIENCE = 6.0
"""Seconds that a probe waits for a check in progress, more than both stores' limits together."""

_RECORD = struct.Struct("<d?H")
_SIZE = mmap.PAGESIZE


@dataclass(frozen=True)
class Health:
    """The outcome of one check."""

    at: float
    """Monotonic clock of the machine when the check ended, in seconds; 0 before the first."""
    well: bool
    reason: str
    """One line; `OK` where all is well, as MLflow says it."""


class SharedHealth:
    """The last outcome, in memory that all workers share; made before they are forked.

    A POSIX record lock elects the worker that asks the stores. It belongs to a process, so a worker that is
    killed while it asks does not leave it locked.
    """

    def __init__(self, check: Callable[[], str | None]) -> None:
        """Args: check asks the stores and returns the reason of the failure, or None."""
        self._check = check
        self._descriptor = os.memfd_create("mlflow-stack-health")
        os.ftruncate(self._descriptor, _SIZE)
        self._memory = mmap.mmap(self._descriptor, _SIZE)
        self._in_process = threading.Lock()

    def current(self) -> Health:
        """Return an outcome that is at most `FRESH` seconds old, asking the stores where needed."""
        deadline = time.monotonic() + PATIENCE
        # One thread of each worker competes for the machine-wide lock; POSIX locks do not tell threads apart.
        if not self._in_process.acquire(timeout=PATIENCE):
            return Health(time.monotonic(), well=False, reason="health: the check does not end")
        try:
            while True:
                last = self._read()
                if time.monotonic() - last.at < FRESH:
                    return last
                if self._elected():
                    try:
                        return self._refresh()
                    finally:
                        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
                if time.monotonic() >= deadline:
                    return Health(time.monotonic(), well=False, reason="health: the check does not end")
                time.sleep(0.02)
        finally:
            self._in_process.release()

    def _elected(self) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _refresh(self) -> Health:
        last = self._read()
        if time.monotonic() - last.at < FRESH:
            return last
        reason = self._check()
        outcome = Health(time.monotonic(), well=reason is None, reason=reason or "OK")
        text = outcome.reason.encode()[: _SIZE - _RECORD.size]
        # The record is only ever written under the lock; a reader that races with it sees the time stamp change last.
        self._memory[_RECORD.size : _RECORD.size + len(text)] = text
        self._memory[: _RECORD.size] = _RECORD.pack(outcome.at, outcome.well, len(text))
        return outcome

    def _read(self) -> Health:
        at, well, length = _RECORD.unpack(self._memory[: _RECORD.size])
        text = self._memory[_RECORD.size : _RECORD.size + length]
        return Health(float(at), well=bool(well), reason=text.decode(errors="replace"))


class Stores:
    """The two questions: is the database there, is the bucket there."""

    def __init__(self, bucket: str) -> None:
        """Prepare without asking anything."""
        self._bucket = bucket
        self._s3 = _s3_client()

    def check(self) -> str | None:
        """Ask both stores; return a one-line reason, or None where all is well."""
        return database_reason() or self.bucket_reason()

    def bucket_reason(self) -> str | None:
        """Ask for the bucket's head."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (loaded with the client)

        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return f"bucket {self._bucket}: the artifact store answers {status}"
        except BotoCoreError as error:
            return f"bucket {self._bucket}: {type(error).__name__}"
        return None


def _s3_client() -> Any:  # noqa: ANN401  (boto3 clients have no static type)
    import boto3  # noqa: PLC0415  (not needed for a migration)
    from botocore.config import Config  # noqa: PLC0415

    # A client of its own: MLflow's has retries and time limits made for transfers.
    return boto3.client(
        "s3",
        endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"),
        config=Config(
            signature_version="s3v4",
            connect_timeout=STORE_TIMEOUT / 2,
            read_timeout=STORE_TIMEOUT / 2,
            retries={"total_max_attempts": 1},
            max_pool_connections=1,
            s3={"addressing_style": "path"},
        ),
    )


def database_reason(limit: float = STORE_TIMEOUT) -> str | None:
    """Connect and select; return a one-line reason, or None where all is well.

    A connection of its own each time: it also proves that connections are to be had, and a check every ten seconds
    holds none meanwhile. Asynchronous, since libpq's blocking calls wait for ever on a server that is frozen.
    """
    deadline = time.monotonic() + limit
    connection: extensions.connection | None = None
    try:
        connection = psycopg2.connect("", async_=1, application_name="mlflow-stack-health")
        if not _wait(connection, deadline):
            return f"database: no answer within {limit:.0f} s"
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM alembic_version")
        if not _wait(connection, deadline):
            return f"database: no answer within {limit:.0f} s"
        if cursor.fetchone() is None:
            return "database: holds no MLflow schema"
    except psycopg2.Error as error:
        return f"database: {first_line(error)}"
    finally:
        if connection is not None:
            connection.close()
    return None


def _wait(connection: extensions.connection, deadline: float) -> bool:
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return True
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        descriptor = connection.fileno()
        if state == extensions.POLL_READ:
            select.select([descriptor], [], [], left)
        else:
            select.select([], [descriptor], [], left)
