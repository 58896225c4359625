"""SQL as the superuser, inside of the PostgreSQL container: over its socket, where no password is needed.

No other role may copy and rename databases, and none gets to by this.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from components import command
from components.naming import POSTGRES_ADMIN

if TYPE_CHECKING:
    from docker.models.containers import Container


class SqlError(Exception):
    """PostgreSQL refuses, or does not answer; the text is the first line of what it says."""


_STATEMENTS = 'set -e; db=$1; shift; for each; do psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d "$db" -c "$each"; done'


def shell(postgres: Container, script: str, *arguments: str) -> str:
    """Run a bash script in the container as the superuser's user, and give what it prints.

    It may be run more than once, so it must do no harm then.

    Raises:
        SqlError: It failed.
    """
    try:
        said = command.ask(postgres, _bash(script, *arguments), user=POSTGRES_ADMIN)
    except command.CutOffError as error:
        raise SqlError(str(error)) from None
    return _well(said).out


def ask(postgres: Container, query: str, *, database: str = "postgres") -> str:
    """Give the rows of a query, each in a line, columns divided by `|`.

    Raises:
        SqlError: It failed.
    """
    return shell(postgres, _STATEMENTS, database, query)


def run(postgres: Container, *statements: str, database: str = "postgres") -> None:
    """Run statements, each in a transaction of its own; several in one text are one transaction.

    Raises:
        SqlError: One of them failed; those before it stand.
    """
    with suppress(command.CutOffError):  # they went well, and print nothing that anybody reads
        _well(command.run(postgres, _bash(_STATEMENTS, database, *statements), user=POSTGRES_ADMIN))


def _bash(script: str, *arguments: str) -> list[str]:
    return ["bash", "-c", script, "mlflow-stack", *arguments]


def _well(said: command.Said) -> command.Said:
    if said.code:
        lines = (said.error or said.out).splitlines() or [f"exit code {said.code}"]
        raise SqlError(lines[0].removeprefix("psql: ").removeprefix("error: ").removeprefix("ERROR:").strip())
    return said


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
