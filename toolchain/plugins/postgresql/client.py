"""Connections to one PostgreSQL server, after terraform-provider-postgresql's config.go and helpers.go.

Every change is one transaction on a connection of its own; no connection is kept, so that a database can be dropped.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, LiteralString, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg import Connection

    from toolchain.plugins.wire import Properties, Value


class Client:
    """What a provider's settings lead to. psycopg is imported at the first connection."""

    def __init__(self) -> None:
        """Know nothing yet; `configure` tells."""
        self.database = "postgres"
        self.username = "postgres"
        self.database_username = "postgres"
        self.superuser = True
        self._parameters: Properties = {}
        self._password = ""
        self._version = 0
        # PostgreSQL refuses concurrent changes of one catalogue row ("tuple concurrently updated").
        self.changing = threading.RLock()

    def configure(self, settings: Properties) -> None:
        """Take the provider's settings; environment variables stand in for what is not set."""
        environment = os.environ
        self.database = settings.get("database") or environment.get("PGDATABASE") or "postgres"
        self.username = settings.get("username") or environment.get("PGUSER") or "postgres"
        self.database_username = settings.get("databaseUsername") or self.username
        given = settings.get("superuser")
        self.superuser = environment.get("PGSUPERUSER", "true") not in ("false", "0") if given is None else bool(given)
        self._password = settings.get("password") or environment.get("PGPASSWORD") or ""
        timeout = settings.get("connectTimeout")
        self._parameters = {
            "host": settings.get("host") or environment.get("PGHOST") or "",
            "port": int(settings.get("port") or environment.get("PGPORT") or 5432),
            "user": self.username,
            "password": self._password,
            # The vendor's driver takes an absent mode for "require".
            "sslmode": settings.get("sslmode") or environment.get("PGSSLMODE") or "require",
            "connect_timeout": int(timeout if timeout is not None else environment.get("PGCONNECT_TIMEOUT") or 180),
            "fallback_application_name": "Terraform provider",
        }
        if settings.get("sslrootcert"):
            self._parameters["sslrootcert"] = settings["sslrootcert"]

    def connect(self, database: str = "") -> Connection:
        """Open a connection, in autocommit mode.

        Raises:
            RuntimeError: the server cannot be reached or refuses; the text has no password in it.
        """
        import psycopg  # noqa: PLC0415 (slow to import, needed only for a change)

        try:
            connection = psycopg.connect(dbname=database or self.database, autocommit=True, **self._parameters)
        except psycopg.Error as error:
            text = self.hide(str(error))
            host = self._parameters["host"]
            msg = f"error connecting to PostgreSQL server {host} (scheme: postgres): {text}"
            raise RuntimeError(msg) from None
        self._version = connection.info.server_version
        return connection

    def hide(self, text: str) -> str:
        """Take the password out of a text."""
        return text.replace(self._password, "XXXX") if self._password else text

    def version(self, connection: Connection) -> int:
        """Return the server's version: 150004 is 15.4."""
        return connection.info.server_version

    @contextmanager
    def change(self, database: str = "") -> Generator[Session]:
        """Run one transaction; no other change runs meanwhile.

        Raises:
            RuntimeError: what the server said.
        """
        with self.changing, self.connect(database) as connection, reported(self), connection.transaction():
            yield Session(connection, self)

    @contextmanager
    def session(self, database: str = "") -> Generator[Session]:
        """Run statements one by one (CREATE DATABASE stands in no transaction)."""
        with self.connect(database) as connection, reported(self):
            yield Session(connection, self)


@contextmanager
def reported(client: Client) -> Generator[None]:
    """Turn the server's errors into plain ones.

    Raises:
        RuntimeError: what the server said.
    """
    import psycopg  # noqa: PLC0415

    try:
        yield
    except psycopg.Error as error:
        # The primary message only: details and context may quote a statement, and with it a password.
        primary = error.diag.message_primary
        text = f"pq: {primary}" if primary else client.hide(str(error))
        raise RuntimeError(text) from None


class Session:
    """Statements on one connection."""

    def __init__(self, connection: Connection, client: Client) -> None:
        """Wrap a connection."""
        self.connection = connection
        self.client = client

    @property
    def version(self) -> int:
        """The server's version: 150004 is 15.4."""
        return self.connection.info.server_version

    def run(self, statement: str, what: str = "") -> None:
        """Run a statement made of quoted parts.

        Raises:
            RuntimeError: what the server said, after `what` failed.
        """
        import psycopg  # noqa: PLC0415

        try:
            self.connection.execute(cast("LiteralString", statement))
        except psycopg.Error as error:
            if not what:
                raise
            msg = f"{what}: pq: {error.diag.message_primary or self.client.hide(str(error))}"
            raise RuntimeError(msg) from None

    def row(self, query: LiteralString, *arguments: Value) -> tuple[Value, ...] | None:
        """Return the first row."""
        return self.connection.execute(query, arguments).fetchone()

    def rows(self, query: LiteralString, *arguments: Value) -> list[tuple[Value, ...]]:
        """Return all rows."""
        return self.connection.execute(query, arguments).fetchall()

    def exists(self, query: LiteralString, *arguments: Value) -> bool:
        """Say whether there is a row."""
        return self.row(query, *arguments) is not None

    def lock_role(self, role: str) -> None:
        """Keep other clients' changes to this role and its members away until the transaction ends."""
        self.connection.execute("SET statement_timeout = 0")
        self.connection.execute("SELECT pg_advisory_xact_lock(oid::bigint) FROM pg_roles WHERE rolname = %s", (role,))
        self.connection.execute(
            "SELECT pg_advisory_xact_lock(member::bigint) FROM pg_auth_members "
            "JOIN pg_roles ON roleid = pg_roles.oid WHERE rolname = %s",
            (role,),
        )

    def lock_database(self, database: str) -> None:
        """Keep other clients' changes to this database away until the transaction ends."""
        self.connection.execute("SET statement_timeout = 0")
        self.connection.execute(
            "SELECT pg_advisory_xact_lock(oid::bigint) FROM pg_database WHERE datname = %s", (database,)
        )

    def is_superuser(self, role: str) -> bool:
        """Say whether a role is one."""
        found = self.row("SELECT rolsuper FROM pg_roles WHERE rolname = %s", role)
        return bool(found and found[0])

    def _is_member(self, role: str, member: str) -> bool:
        if self.exists(
            "SELECT 1 FROM information_schema.columns WHERE table_name='pg_auth_members' AND column_name='set_option'"
        ):
            return self.exists(
                "SELECT 1 FROM pg_auth_members WHERE pg_get_userbyid(roleid) = %s "
                "AND pg_get_userbyid(member) = %s AND set_option",
                role,
                member,
            )
        return self.exists(
            "SELECT 1 FROM pg_auth_members WHERE pg_get_userbyid(roleid) = %s AND pg_get_userbyid(member) = %s",
            role,
            member,
        )

    def grant_membership(self, role: str, member: str) -> bool:
        """Grant a role to a member; False when it has it already."""
        if role == member or self._is_member(role, member):
            return False
        self.run(f"GRANT {ident(role)} TO {ident(member)}", f"error granting role {role} to {member}")
        return True

    def revoke_membership(self, role: str, member: str) -> bool:
        """Revoke a role from a member; False when it has it not."""
        if role == member or not self._is_member(role, member):
            return False
        self.run(f"REVOKE {ident(role)} FROM {ident(member)}", f"error revoking role {role} from {member}")
        return True

    def with_roles(self, roles: list[str], work: Callable[[], None]) -> None:
        """Do work as a member of these roles, where the connected user is no superuser."""
        found = self.row("SELECT CURRENT_USER")
        current = str(found[0]) if found else ""
        if not roles or self.is_superuser(current):
            work()
            return
        granted: list[str] = []
        revoked: list[str] = []
        for role in roles:
            if self.is_superuser(role):
                continue
            if self.revoke_membership(current, role):
                revoked.append(role)
            if self.grant_membership(role, current):
                granted.append(role)
        work()
        for role in granted:
            self.revoke_membership(role, current)
        for role in revoked:
            if self.exists("SELECT 1 FROM pg_roles WHERE rolname = %s", role):
                self.grant_membership(current, role)

    def database_owner(self, database: str = "") -> str:
        """Return who owns a database, the connected one by default.

        Raises:
            RuntimeError: there is no such database.
        """
        found = self.row(
            "SELECT rolname FROM pg_database JOIN pg_roles ON datdba = pg_roles.oid "
            "WHERE datname = coalesce(nullif(%s, ''), current_database())",
            database,
        )
        if found is None:
            msg = f"could not find database '{database}' while looking for owner"
            raise RuntimeError(msg)
        return str(found[0])

    def schema_owner(self, schema: str) -> str:
        """Return who owns a schema.

        Raises:
            RuntimeError: there is no such schema.
        """
        found = self.row(
            "SELECT rolname FROM pg_namespace JOIN pg_roles ON nspowner = pg_roles.oid WHERE nspname = %s", schema
        )
        if found is None:
            msg = f"could not find schema '{schema}' while looking for owner"
            raise RuntimeError(msg)
        return str(found[0])

    def role_oid(self, role: str) -> int:
        """Return a role's number, 0 for `public`.

        Raises:
            RuntimeError: there is no such role.
        """
        if role == "public":
            return 0
        found = self.row("SELECT oid FROM pg_roles WHERE rolname = %s", role)
        if found is None:
            msg = f"could not find oid for role {role}"
            raise RuntimeError(msg)
        return int(found[0])


def ident(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.split("\0", 1)[0].replace('"', '""') + '"'


def literal(value: str) -> str:
    r"""Quote a string; one with a backslash becomes an E'' string, whatever standard_conforming_strings says."""
    quoted = value.replace("'", "''")
    if "\\" in quoted:
        escaped = quoted.replace("\\", "\\\\")
        return f" E'{escaped}'"
    return f"'{quoted}'"


_WORDS = re.compile(r"^[A-Z ]+$")


def words(names: list[str]) -> str:
    """Join key words (privileges) for a statement.

    Raises:
        RuntimeError: one is no key word.
    """
    for name in names:
        if not _WORDS.match(name):
            msg = f"{name} is not a privilege"
            raise RuntimeError(msg)
    return ",".join(names)
