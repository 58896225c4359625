"""Databases, after terraform-provider-postgresql's resource_postgresql_database.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.postgresql.client import ident, literal
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, integer, string
from toolchain.plugins.wire import Properties, Value, known

if TYPE_CHECKING:
    from toolchain.plugins.postgresql.client import Client, Session


class Database(Resource):
    """A database."""

    fields: ClassVar[Fields] = {
        "name": string(required=True, autoname=True),
        "owner": string(computed=True),
        "template": string(computed=True, force_new=True),
        "encoding": string(computed=True, force_new=True),
        "lcCollate": string(computed=True, force_new=True),
        "lcCtype": string(computed=True, force_new=True),
        "tablespaceName": string(computed=True),
        "connectionLimit": integer(default=-1),
        "allowConnections": boolean(default=True),
        "isTemplate": boolean(computed=True),
        "alterObjectOwnership": boolean(default=False),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Create the database."""
        want = {key: known(value) for key, value in planned.items()}
        name: str = want["name"]
        owner = want["owner"] or ""
        words = [f"CREATE DATABASE {ident(name)} OWNER {ident(owner or self._client.database_username)}"]
        for key, word, absent in (
            ("template", "TEMPLATE", "template0"),
            ("encoding", "ENCODING", "'UTF8'"),
            ("lcCollate", "LC_COLLATE", ""),
            ("lcCtype", "LC_CTYPE", ""),
            ("tablespaceName", "TABLESPACE", ""),
        ):
            value = want[key]
            if value and value.upper() == "DEFAULT":
                words.append(f"{word} DEFAULT")
            elif value:
                quoted = ident(value) if key in ("template", "tablespaceName") else literal(value)
                words.append(f"{word} {quoted}")
            elif absent:
                words.append(f"{word} {absent}")
        words.append(f"ALLOW_CONNECTIONS {_boolean(want['allowConnections'])}")
        words.append(f"CONNECTION LIMIT {want['connectionLimit']}")
        words.append(f"IS_TEMPLATE {_boolean(want['isTemplate'])}")
        with self._client.changing, self._client.session() as session:
            granted = bool(owner) and session.grant_membership(owner, self._client.database_username)
            try:
                session.run(" ".join(words), f'error creating database "{name}"')
            finally:
                if granted:
                    session.revoke_membership(owner, self._client.database_username)
        return self._must_read(name, planned)

    def _must_read(self, name: str, state: Properties) -> tuple[str, Properties]:
        result = self.read(name, state)
        if result is None:
            msg = f"the database {name} was gone right after it was made"
            raise RuntimeError(msg)
        return result

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Read the database."""
        with self._client.session() as session:
            row = session.row(
                "SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding), "
                "d.datcollate, d.datctype, ts.spcname, d.datconnlimit, d.datallowconn, d.datistemplate "
                "FROM pg_catalog.pg_database AS d, pg_catalog.pg_tablespace AS ts "
                "WHERE d.datname = %s AND d.dattablespace = ts.oid",
                resource_id,
            )
        if row is None:
            return None
        keys = (
            "name",
            "owner",
            "encoding",
            "lcCollate",
            "lcCtype",
            "tablespaceName",
            "connectionLimit",
            "allowConnections",
            "isTemplate",
        )
        return resource_id, {
            **dict(zip(keys, row, strict=True)),
            "template": known(state.get("template")) or "template0",
        }

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Change the database."""
        name: str = planned["name"]
        with self._client.changing, self._client.session() as session:
            if name != old["name"]:
                session.run(
                    f"ALTER DATABASE {ident(old['name'])} RENAME TO {ident(name)}", "error updating database name"
                )
            owner = planned["owner"]
            if owner and owner != old.get("owner"):
                if planned["alterObjectOwnership"]:
                    self._reassign(name, owner)
                self._set_owner(session, name, owner)
            space = planned["tablespaceName"]
            if space != old.get("tablespaceName"):
                default = not space or space.upper() == "DEFAULT"
                action = "RESET TABLESPACE" if default else f"SET TABLESPACE {ident(space)}"
                session.run(f"ALTER DATABASE {ident(name)} {action}", "error updating database TABLESPACE")
            for key, word in (
                ("connectionLimit", "CONNECTION LIMIT ="),
                ("allowConnections", "ALLOW_CONNECTIONS"),
                ("isTemplate", "IS_TEMPLATE"),
            ):
                if old.get(key) != planned[key]:
                    value = planned[key] if key == "connectionLimit" else _boolean(planned[key])
                    session.run(f"ALTER DATABASE {ident(name)} {word} {value}", f"error updating database {word}")
        del resource_id
        return self._must_read(name, planned)

    def _set_owner(self, session: Session, name: str, owner: str) -> None:
        user = self._client.database_username
        granted = session.grant_membership(owner, user)
        try:
            session.run(f"ALTER DATABASE {ident(name)} OWNER TO {ident(owner)}", "error updating database OWNER")
        finally:
            if granted:
                session.revoke_membership(owner, user)

    def _reassign(self, name: str, owner: str) -> None:
        with self._client.change(name) as session:
            current = session.database_owner(name)
            if current == owner:
                return
            user = self._client.database_username
            granted = session.grant_membership(current, user)
            session.run(
                f"REASSIGN OWNED BY {ident(current)} TO {ident(owner)}",
                f"error reassigning objects owned by '{current}'",
            )
            if granted:
                session.revoke_membership(current, user)

    def delete(self, resource_id: str, state: Properties) -> None:
        """Turn everyone away, then drop the database."""
        name: str = state["name"] or resource_id
        owner: str = state.get("owner") or ""
        user = self._client.database_username
        with self._client.changing, self._client.session() as session:
            granted = bool(owner) and session.grant_membership(owner, user)
            if state.get("isTemplate"):
                session.run(f"ALTER DATABASE {ident(name)} IS_TEMPLATE false")
            session.run(
                f"ALTER DATABASE {ident(name)} ALLOW_CONNECTIONS false", "error blocking connections to database"
            )
            session.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                name,
            )
            session.run(f"DROP DATABASE {ident(name)} WITH ( FORCE )", "error dropping database")
            if granted:
                session.revoke_membership(owner, user)


def _boolean(value: Value) -> str:
    return "true" if value else "false"
