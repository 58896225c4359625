"""One at a time: whatever removes, copies or brings data in whole holds one lock in the database.

A garbage collection beside a backup would make a set whose rows name objects that are gone; two collections would
count each other's work. The lock belongs to a session of PostgreSQL: it goes away with the connection, however the
process ends, so there is none to clear.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow_stack_server import database
from mlflow_stack_server.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg2.extensions import connection as Connection  # noqa: N812  (a class, in spite of its name)

LOCK = 0x6D6C666C6F78
"""Key of the advisory lock, 120312342278008: one above the migration's. `pg_try_advisory_lock` takes it."""

NAMES = "mlflow-stack-"
"""How the name of a session that holds the lock begins: who waits for it can say whom it waits for."""

_HOLDER = """
SELECT coalesce(nullif(activity.application_name, ''), 'process ' || locks.pid)
FROM pg_locks AS locks LEFT JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
  AND locks.classid::bigint = %s AND locks.objid::bigint = %s
  AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextmanager
def lock(connection: Connection, name: str, wait: float) -> Generator[None]:
    """Hold the lock while the block runs.

    Args:
        connection: Used for nothing else meanwhile.
        name: Of the job, for others to read: `gc`, `backup`, `import`.
        wait: Seconds to wait for a job that is at work.

    Raises:
        RefusedError: Another job holds it for longer; it is named, and nothing was touched.
    """
    connection.autocommit = True
    deadline = time.monotonic() + wait
    said = False
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", (NAMES + name,))
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
            if cursor.fetchone() == (True,):
                break
            cursor.execute(_HOLDER, (LOCK >> 32, LOCK & 0xFFFFFFFF))
            holder = str((cursor.fetchone() or ("another job",))[0]).removeprefix(NAMES)
            if time.monotonic() >= deadline:
                message = (
                    f"{name}: {database.where()}: {holder} is at work on this stack, and only one job may be. "
                    "mend: run this again when it has ended"
                )
                raise RefusedError(message)
            if not said:
                sys.stdout.write(f"{name}: waiting for {holder} to end, {wait:.0f} s at most\n")
                sys.stdout.flush()
                said = True
            time.sleep(0.5)
        try:
            yield
        finally:
            if not connection.closed:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
