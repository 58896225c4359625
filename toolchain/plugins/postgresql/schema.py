"""Schemas, after terraform-provider-postgresql's resource_postgresql_schema.go (without its deprecated policies)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.postgresql.client import ident
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, string, unsupported
from toolchain.plugins.wire import Properties, known

if TYPE_CHECKING:
    from toolchain.plugins.postgresql.client import Client, Session


class Schema(Resource):
    """A schema of a database."""

    fields: ClassVar[Fields] = {
        "name": string(required=True, autoname=True),
        "database": string(computed=True, force_new=True),
        "owner": string(computed=True),
        "ifNotExists": boolean(default=True),
        "dropCascade": boolean(default=False),
        "policies": unsupported("set", block=True),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Create the schema, or take the one that is there."""
        name: str = planned["name"]
        database: str = known(planned["database"]) or self._client.database
        owner: str = known(planned["owner"]) or ""
        with self._client.change(database) as session:
            database_owner = session.database_owner(database)
            roles = [database_owner, *([owner] if owner and owner != database_owner else [])]

            def work() -> None:
                if not session.exists("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", name):
                    exists = "IF NOT EXISTS " if planned["ifNotExists"] else ""
                    authorization = f" AUTHORIZATION {ident(owner)}" if owner else ""
                    session.run(f"CREATE SCHEMA {exists}{ident(name)}{authorization}", f"error creating schema {name}")
                elif owner:
                    self._set_owner(session, name, owner)

            session.with_roles(roles, work)
        return self._must_read(f"{database}.{name}", {**planned, "database": database})

    @staticmethod
    def _set_owner(session: Session, name: str, owner: str) -> None:
        session.run(f"ALTER SCHEMA {ident(name)} OWNER TO {ident(owner)}", "error updating schema OWNER")

    def _must_read(self, resource_id: str, state: Properties) -> tuple[str, Properties]:
        result = self.read(resource_id, state)
        if result is None:
            msg = f"the schema {resource_id} was gone right after it was made"
            raise RuntimeError(msg)
        return result

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Read the schema."""
        database: str = known(state.get("database")) or self._client.database
        name: str = state["name"]
        with self._client.session() as session:
            if not session.exists("SELECT 1 FROM pg_database WHERE datname = %s", database):
                return None
        with self._client.session(database) as session:
            row = session.row(
                "SELECT pg_catalog.pg_get_userbyid(n.nspowner) FROM pg_catalog.pg_namespace n WHERE n.nspname = %s",
                name,
            )
        if row is None:
            return None
        del resource_id
        return f"{database}.{name}", {"name": name, "owner": row[0], "database": database}

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Rename the schema, give it another owner."""
        database: str = planned["database"] or self._client.database
        name: str = planned["name"]
        with self._client.change(database) as session:
            if name != old["name"]:
                session.run(f"ALTER SCHEMA {ident(old['name'])} RENAME TO {ident(name)}", "error updating schema NAME")
            if planned["owner"] and planned["owner"] != old.get("owner"):
                self._set_owner(session, name, planned["owner"])
        del resource_id
        return self._must_read(f"{database}.{name}", planned)

    def delete(self, resource_id: str, state: Properties) -> None:  # noqa: ARG002
        """Drop the schema; what is in it goes only with dropCascade."""
        name: str = state["name"]
        with self._client.change(state.get("database") or self._client.database) as session:
            if not session.exists("SELECT 1 FROM pg_namespace WHERE nspname = %s", name):
                return
            mode = "CASCADE" if state.get("dropCascade") else "RESTRICT"
            session.with_roles(
                [state["owner"]] if state.get("owner") else [],
                lambda: session.run(f"DROP SCHEMA {ident(name)} {mode}", "error deleting schema"),
            )

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Import by DATABASE.SCHEMA.

        Raises:
            RuntimeError: the id is not of that form.
        """
        parts = resource_id.split(".")
        if len(parts) != 2:  # noqa: PLR2004
            msg = f"schema ID {resource_id} has not the expected format 'database.schema': {parts}"
            raise RuntimeError(msg)
        return resource_id, {"database": parts[0], "name": parts[1]}
