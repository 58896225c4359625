"""SQL as the superuser, inside of the PostgreSQL container: over its socket, where no password is needed.

No other role may copy and rename databases, and none gets to by this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.naming import POSTGRES_ADMIN

if TYPE_CHECKING:
    from docker.models.containers import Container


class SqlError(Exception):
    """PostgreSQL refuses, or does not answer; the text is the first line of what it says."""


def shell(postgres: Container, script: str, *arguments: str) -> str:
    """Run a bash script in the container as the superuser's user, and give what it prints.

    Raises:
        SqlError: It failed.
    """
    answer: Any = postgres.exec_run(["bash", "-c", script, "mlflow-stack", *arguments], user=POSTGRES_ADMIN, demux=True)
    out, error = ((part or b"").decode(errors="replace").strip() for part in answer.output or (b"", b""))
    if answer.exit_code:
        lines = (error or out).splitlines() or [f"exit code {answer.exit_code}"]
        raise SqlError(lines[0].removeprefix("psql: ").removeprefix("error: ").removeprefix("ERROR:").strip())
    return out


def run(postgres: Container, *statements: str, database: str = "postgres") -> str:
    """Run statements, each in a transaction of its own; several in one text are one transaction.

    Returns:
        What they print, a row a line, columns divided by `|`.

    Raises:
        SqlError: One of them failed; those before it stand.
    """
    script = 'db=$1; shift; for each; do psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d "$db" -c "$each"; done'
    return shell(postgres, f"set -e; {script}", database, *statements)


#: Counts every table's rows: `name|count`, sorted.
_COUNT = """set -e
psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d "$1" <<'SQL'
SELECT format('SELECT %L, count(*) FROM %I.%I', relnamespace::regnamespace || '.' || relname, nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 \\gexec
SQL
"""


def rows(postgres: Container, database: str) -> dict[str, int]:
    """How many rows each table has.

    Raises:
        SqlError: PostgreSQL refuses.
    """
    lines = shell(postgres, _COUNT, database).splitlines()
    return {name: int(count) for name, _, count in (line.rpartition("|") for line in lines)}
