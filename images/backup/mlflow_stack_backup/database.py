"""The backend store: one moment of it dumped, and put back whole or not at all.

PostgreSQL's own programs do the work; their password is in a file in the container's memory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from mlflow_stack_backup import rclone
from mlflow_stack_backup.errors import Problem, Refusal
from mlflow_stack_backup.request import Database

_SERVICE_FILE: Final = Path("/tmp/pg-service.conf")  # noqa: S108 - in the container's own memory
_CHUNK: Final = 1 << 20
_MARK: Final = "-- end of answer --"

#: Key of the advisory lock (see `mlflow_stack_server.maintenance`), and how its holders' names begin.
LOCK: Final = 0x6D6C666C6F78
_JOBS: Final = "mlflow-stack-"

#: Seconds that another job gets to end.
_WAIT: Final = 60.0

_HOLDER: Final = f"""
SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = {LOCK};
"""  # noqa: S608 - a number of ours

#: Tables that hold which schema the others have: MLflow's own, and that of its users.
_REVISIONS: Final = ("alembic_version", "alembic_version_auth")

#: Everything that a role owns in the schema of MLflow; what an extension or another role owns is left alone.
_EMPTY: Final = """
DO $empty$
DECLARE line text;
BEGIN
    FOR line IN
        SELECT format('DROP %s IF EXISTS %I.%I CASCADE',
            CASE relkind
                WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE'
            END,
            nspname, relname)
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v', 'm', 'S') AND pg_get_userbyid(relowner) = current_user
        UNION ALL
        SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', pg_proc.oid::regprocedure)
        FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname = 'public' AND pg_get_userbyid(proowner) = current_user
        UNION ALL
        SELECT format('DROP TYPE IF EXISTS %I.%I CASCADE', nspname, typname)
        FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
        WHERE nspname = 'public' AND typtype IN ('d', 'e') AND pg_get_userbyid(typowner) = current_user
    LOOP
        EXECUTE line;
    END LOOP;
END
$empty$;
"""


def configure(database: Database) -> None:
    """Let PostgreSQL's programs find the database; any character may be in the password."""
    lines = (
        "[store]",
        f"host={database.host}",
        f"port={database.port}",
        f"user={database.user}",
        f"dbname={database.name}",
        f"password={database.password}",
    )
    with os.fdopen(os.open(_SERVICE_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    os.environ |= {"PGSERVICEFILE": str(_SERVICE_FILE), "PGSERVICE": "store", "PGCONNECT_TIMEOUT": "15"}
    os.environ.pop("PGHOST", None)  # the image's own socket


class Session:
    """A connection that can be asked, for as long as its block lasts."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process, self._errors = process, errors

    def ask(self, text: str) -> list[str]:
        """The lines that answer; columns are parted by a tab.

        Raises:
            Problem: PostgreSQL refuses.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{text}\n\\echo '{_MARK}'\n")
            self._process.stdin.flush()
        found: list[str] = []
        for line in self._process.stdout:
            if line.rstrip("\n") == _MARK:
                return found
            found.append(line.rstrip("\n"))
        self._errors.seek(0)
        raise Problem("database", "psql", _reason(self._errors.read()), "make doctor")


class Moment:
    """The database as it is at one moment, for as long as the block lasts.

    Attributes:
        snapshot: By which pg_dump sees the same.
    """

    def __init__(self, session: Session) -> None:
        self.ask = session.ask
        self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")
        (self.snapshot,) = self.ask("SELECT pg_export_snapshot();")

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        query = "SELECT format('SELECT %L, count(*) FROM %I.%I', tablename, schemaname, tablename) FROM pg_tables"
        lines = self.ask(f"{query} WHERE schemaname = 'public' ORDER BY tablename \\gexec")
        return {name: int(count) for name, count in (line.split("\t") for line in lines)}

    def revisions(self) -> dict[str, str]:
        """Which schema the tables have: version table → revision."""
        there = self.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public';")
        return {
            table: ",".join(self.ask(f"SELECT version_num FROM {table} ORDER BY 1;"))  # noqa: S608 - names of ours
            for table in _REVISIONS
            if table in there
        }

    def size(self) -> int:
        """Bytes that the database takes."""
        return int(self.ask("SELECT pg_database_size(current_database());")[0])

    def version(self) -> str:
        """The server's version."""
        return self.ask("SHOW server_version;")[0].split()[0]

    def dump(self) -> Iterator[bytes]:
        """The dump of this moment, in PostgreSQL's custom format.

        Raises:
            Problem: It failed; what came before is no dump.
        """
        command = [
            "pg_dump",
            "--format=custom",
            f"--snapshot={self.snapshot}",
            "--lock-wait-timeout=60s",
            "--no-password",
        ]
        with tempfile.TemporaryFile("w+") as errors:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
                assert process.stdout is not None
                while piece := process.stdout.read(_CHUNK):
                    yield piece
            if process.returncode:
                errors.seek(0)
                raise Problem("database", "pg_dump", _reason(errors.read()), "make doctor")


@contextlib.contextmanager
def moment() -> Generator[Moment]:
    """Hold on to the database as it is now.

    Raises:
        Problem: It does not answer.
    """
    with _session() as session:
        yield Moment(session)


@contextlib.contextmanager
def alone(name: str) -> Generator[None]:
    """Hold the lock of all jobs that remove, copy or bring in data whole, while the block runs.

    A garbage collection beside a backup would leave rows in it whose objects are gone. The lock goes with its
    connection, however this ends.

    Args:
        name: Of this job, for the others to say whom they wait for.

    Raises:
        Refusal: Another job is at work for longer than a minute.
        Problem: The database does not answer.
    """
    with _session() as session:
        session.ask(f"SET application_name = '{_JOBS}{name}';")
        deadline = time.monotonic() + _WAIT
        while session.ask(f"SELECT pg_try_advisory_lock({LOCK});") != ["t"]:
            if time.monotonic() > deadline:
                (holder, *_) = (*session.ask(_HOLDER), "another job")
                wrong = "is at work on this stack, and only one job may be"
                raise Refusal("database", holder.removeprefix(_JOBS), wrong, "wait for it to end, then the same again")
            time.sleep(0.5)
        yield


@contextlib.contextmanager
def _session() -> Generator[Session]:
    command = ["psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--field-separator=\t", "--no-password"]
    command += ["--set=ON_ERROR_STOP=1"]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1
        ) as process,
    ):
        try:
            yield Session(process, errors)
        finally:
            process.kill()


def restore(path: str, mark: str) -> None:
    """Put a dump in place of what the role owns in the database, in one transaction.

    Owners and rights are those of the database: of the role that does it, and what its default privileges say.

    Args:
        path: The dump, as rclone knows it.
        mark: What the database says of itself from then on: who does not learn of the end finds it out by that.

    Raises:
        Problem: It failed; the database is as it was.
    """
    psql = ["psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    pg_restore = ["pg_restore", "--no-owner", "--no-privileges", "--file=-"]
    named = os.environ | {"PGAPPNAME": f"{_JOBS}restore"}
    with (
        tempfile.TemporaryFile("w+") as errors,
        tempfile.TemporaryFile("w+") as reading,
        subprocess.Popen(psql, stdin=subprocess.PIPE, stderr=errors, env=named) as writer,
        subprocess.Popen(pg_restore, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=reading) as reader,
    ):
        whole = _pumped(path, reader, writer)
        # Without this last word the connection ends in the middle of the transaction, and nothing has happened.
        with contextlib.suppress(BrokenPipeError):
            assert writer.stdin is not None
            if whole:
                writer.stdin.write(f"\n{_marked(mark)}\nCOMMIT;\nANALYZE;\n".encode())
            writer.stdin.close()
        code = writer.wait()
        errors.seek(0)
        reading.seek(0)
        if code or not whole:
            said = errors.read() or reading.read()
            raise Problem("database", "restore", f"nothing of it was changed: {_reason(said)}", "make restore, again")


def _marked(mark: str) -> str:
    """The statement that gives the database its comment, whatever its name is."""
    literal = mark.replace("'", "''")
    return f"DO $mark$BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), '{literal}'); END$mark$;"


def _pumped(path: str, reader: subprocess.Popen[bytes], writer: subprocess.Popen[bytes]) -> bool:
    """Lead the dump through pg_restore into psql; return whether all of it arrived."""
    import threading  # noqa: PLC0415 - used here only

    assert reader.stdin is not None
    assert reader.stdout is not None
    assert writer.stdin is not None
    source, arrived = reader.stdin, threading.Event()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError, Problem):
            for piece in rclone.pieces(path):
                source.write(piece)
            arrived.set()
        with contextlib.suppress(BrokenPipeError):
            source.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        writer.stdin.write(f"BEGIN;\nSET client_min_messages = warning;\n{_EMPTY}\n".encode())
        while piece := reader.stdout.read(_CHUNK):
            writer.stdin.write(piece)
    except BrokenPipeError:
        reader.kill()
    feeder.join()
    return reader.wait() == 0 and arrived.is_set()


def differences(wanted: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """Tables whose number of rows is another one."""
    return [
        f"{table}: {found.get(table, 'no table')} instead of {count}"
        for table, count in wanted.items()
        if found.get(table) != count
    ]


def _reason(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if "ERROR" in line or "FATAL" in line or "error:" in line]
    return (lines or said.strip().splitlines() or ["no reason given"])[0]
