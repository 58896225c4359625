"""Queries as PostgreSQL's superuser, by the sooner of two ways.

Who knows the password logs in at the published port, where what it takes is loaded already. To have Docker start a
program in the container takes far longer, but always works: with another password, without the database, and with a
Docker host that is another machine. Whose port that is only the server itself can tell: the socket of a Docker host may
come from another machine, and this one may have a stack with the same password at the same port.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from components.naming import POSTGRES_ADMIN
from components.upgrade import psql

if TYPE_CHECKING:
    import psycopg
    from docker.models.containers import Container

#: Gives the rows of a query, whose columns are texts without `|` and line ends; raises `psql.SqlError`.
Ask = Callable[[str], list[tuple[str, ...]]]

_PORT = "5432/tcp"

#: What the Docker library calls a host whose socket is a file of this machine.
_SOCKET = "http+docker://localhost"

#: The name that Docker gave the container: it begins with its id.
_ITSELF = r"SELECT trim(pg_read_file('/etc/hostname'), E' \n')"

#: Arguments: database and query.
_INSIDE = """set -e
ask() { psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d "$1" -c "$2"; }
names=$(ask postgres 'SELECT datname FROM pg_database')
if grep -qxF -e "$1" <<< "$names"; then ask "$1" "$2"; else ask postgres "$2"; fi
"""

#: Seconds that the server may take to let somebody in.
_PATIENCE = 5


@contextmanager
def session(postgres: Container, database: str, password: str | None) -> Generator[Ask]:
    """Queries to a database; where it is not there, to the server's own.

    Args:
        postgres: The running container.
        database: Name of the database.
        password: What the superuser's may be; None if it is not known.
    """
    connection = None if password is None else _connection(postgres, database, password)
    if connection is None:
        yield lambda query: _inside(postgres, database, query)
        return
    with connection:
        yield lambda query: _rows(connection, query)


def _connection(postgres: Container, database: str, password: str) -> psycopg.Connection[Any] | None:
    address = _address(postgres)
    if address is None or "psycopg" not in sys.modules:
        return None
    import psycopg  # noqa: PLC0415 - where it is not loaded yet, to load it takes longer than the other way

    host, port = address
    try:
        connection = psycopg.connect(
            host=host,
            port=port,
            user=POSTGRES_ADMIN,
            password=password,
            dbname=database,
            sslmode="disable",
            require_auth="scram-sha-256",  # which gives the password to nobody, and is a proof of both sides
            connect_timeout=_PATIENCE,
            autocommit=True,
        )
    except psycopg.OperationalError:
        return None
    with suppress(psycopg.Error):
        if connection.execute(_ITSELF).fetchone() == (postgres.attrs["Config"]["Hostname"],):
            return connection
    connection.close()
    return None


def _address(postgres: Container) -> tuple[str, str] | None:
    """Where the server is published; None where its host is another machine for sure."""
    if postgres.client is None or postgres.client.api.base_url != _SOCKET:
        return None
    published: Sequence[dict[str, str]] = postgres.ports.get(_PORT) or ()
    return next(((each["HostIp"], each["HostPort"]) for each in published if each["HostIp"]), None)


def _rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[str, ...]]:
    import psycopg  # noqa: PLC0415 - imported long ago

    try:
        return connection.execute(query.encode()).fetchall()
    except psycopg.Error as error:
        raise psql.SqlError(str(error).partition("\n")[0]) from None


def _inside(postgres: Container, database: str, query: str) -> list[tuple[str, ...]]:
    return [tuple(line.split("|")) for line in psql.shell(postgres, _INSIDE, database, query).splitlines()]
