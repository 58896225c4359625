"""Grants, after terraform-provider-postgresql's resource_postgresql_grant.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, LiteralString

from toolchain.plugins.postgresql.client import ident, words
from toolchain.plugins.postgresql.privileges import equal, object_types, validate
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, forced, string, strings, unsupported

if TYPE_CHECKING:
    from toolchain.plugins.postgresql.client import Client, Session
    from toolchain.plugins.wire import Properties

_RELATION_KINDS: Final = {"table": "r", "sequence": "S"}
#: The vendor's also has procedure, routine, foreign_data_wrapper, foreign_server and column.
_OBJECT_TYPES: Final = ("database", "schema", "sequence", "table", "function")


class Grant(Resource):
    """Privileges of a role on objects of one kind."""

    fields: ClassVar[Fields] = {
        **forced(
            role=string(required=True),
            database=string(required=True),
            schema=string(),
            objectType=string(required=True, check=object_types(_OBJECT_TYPES)),
            objects=strings(),
            withGrantOption=boolean(default=False),
        ),
        "privileges": strings(required=True),
        "columns": unsupported("set", force_new=True),
    }
    delete_before_replace: ClassVar[bool] = True

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Revoke what the role has on the objects, grant what is wanted, in one transaction."""
        return self._apply(planned, planned)

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Grant again; revoked is what was granted before."""
        del resource_id
        return self._apply(planned, old)

    def _apply(self, planned: Properties, before: Properties) -> tuple[str, Properties]:
        _validate(planned)
        with self._client.change(planned["database"]) as session:
            validate(planned["objectType"], planned["privileges"], session.version)
            self._lock(session, planned)

            def work() -> None:
                session.run(_revoke(before), "could not execute revoke query")
                if planned["privileges"]:
                    session.run(_grant(planned))

            session.with_roles(_owners(session, planned), work)
        with self._client.session(planned["database"]) as session:
            return _identifier(planned), _read(session, planned)

    @staticmethod
    def _lock(session: Session, state: Properties) -> None:
        session.lock_role(state["role"])
        if state["objectType"] == "database":
            session.lock_database(state["database"])

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Read the privileges; gone when database, role or schema are."""
        del resource_id
        if not there(self._client, state):
            return None
        with self._client.session(state["database"]) as session:
            return _identifier(state), _read(session, state)

    def delete(self, resource_id: str, state: Properties) -> None:
        """Revoke the privileges."""
        del resource_id
        with self._client.change(state["database"]) as session:
            self._lock(session, state)
            session.with_roles(
                _owners(session, state), lambda: session.run(_revoke(state), "could not execute revoke query")
            )

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Refuse, as the vendor's does.

        Raises:
            RuntimeError: always.
        """
        msg = f"a grant cannot be imported ({resource_id})"
        raise RuntimeError(msg)


def there(client: Client, state: Properties) -> bool:
    """Say whether the database, role and schema that a grant is about exist."""
    with client.session() as session:
        if not session.exists("SELECT 1 FROM pg_database WHERE datname = %s", state["database"]):
            return False
    with client.session(state["database"]) as session:
        role = state["role"]
        if role != "public" and not session.exists("SELECT 1 FROM pg_roles WHERE rolname = %s", role):
            return False
        schema = state.get("schema")
        if not schema or state["objectType"] == "database":
            return True
        return session.exists("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema)


def _validate(state: Properties) -> None:
    kind = state["objectType"]
    if not state["schema"] and kind != "database":
        msg = "parameter 'schema' is mandatory for postgresql_grant resource"
        raise RuntimeError(msg)
    if state["objects"] and kind in ("database", "schema"):
        msg = "cannot specify `objects` when `object_type` is `database` or `schema`"
        raise RuntimeError(msg)


def _identifier(state: Properties) -> str:
    kind = state["objectType"]
    schema = [] if kind == "database" else [state["schema"] or ""]
    return "_".join([state["role"], state["database"], *schema, kind, *(state["objects"] or [])])


def _owners(session: Session, state: Properties) -> list[str]:
    """Return whose objects they are; only their owners, or a superuser, may grant."""
    kind = state["objectType"]
    if kind == "database":
        return []
    owners: list[str] = []
    if kind != "schema":
        owners = [
            str(row[0])
            for row in session.rows("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = %s", state["schema"])
        ]
    owner = session.schema_owner(state["schema"])
    if owner not in owners:
        owners.append(owner)
    return [session.database_owner() if each == "pg_database_owner" else each for each in owners]


def _target(state: Properties) -> str:
    kind = state["objectType"]
    if kind == "database":
        return f"DATABASE {ident(state['database'])}"
    if kind == "schema":
        return f"SCHEMA {ident(state['schema'])}"
    if not state["objects"]:
        return f"ALL {kind.upper()}S IN SCHEMA {ident(state['schema'])}"
    names: list[str] = []
    for each in state["objects"]:
        # A function may bear its argument types: name(integer, text).
        name, parenthesis, arguments = each.partition("(")
        names.append(f"{ident(state['schema'])}.{ident(name)}{parenthesis}{arguments}")
    return f"{kind.upper()} {','.join(names)}"


def _grant(state: Properties) -> str:
    option = " WITH GRANT OPTION" if state["withGrantOption"] else ""
    return f"GRANT {words(state['privileges'])} ON {_target(state)} TO {ident(state['role'])}{option}"


def _revoke(state: Properties) -> str:
    # For named objects only the named privileges, so that grants on columns stay.
    what = words(state["privileges"]) if state["objects"] and state["privileges"] else "ALL PRIVILEGES"
    return f"REVOKE {what} ON {_target(state)} FROM {ident(state['role'])}"


def _read(session: Session, state: Properties) -> Properties:
    """Return the privileges where they differ from the state's, nothing where they do not.

    Of several objects the first that differs counts; one without any privileges shows as none.
    """
    objects = state["objects"] or []
    for name, granted in _granted(session, state):
        if objects and name not in objects:
            continue
        if not equal(granted or [], state["privileges"] or [], state["objectType"], session.version):
            return {"privileges": granted or []}
    return {}


def _granted(session: Session, state: Properties) -> list[tuple[str, list[str] | None]]:
    """Return each object with the role's privileges on it."""
    kind = state["objectType"]
    oid = session.role_oid(state["role"])
    if kind == "database":
        query: LiteralString = (
            "SELECT '', array_agg(privilege_type) FROM (SELECT (aclexplode(datacl)).* FROM pg_database "
            "WHERE datname = %s) AS privileges WHERE grantee = %s"
        )
        return session.rows(query, state["database"], oid)
    if kind == "schema":
        query = (
            "SELECT '', array_agg(privilege_type) FROM (SELECT (aclexplode(nspacl)).* FROM pg_namespace "
            "WHERE nspname = %s) AS privileges WHERE grantee = %s"
        )
        return session.rows(query, state["schema"], oid)
    if kind == "function":
        query = (
            "SELECT pg_proc.proname, array_remove(array_agg(privilege_type), NULL) FROM pg_proc "
            "JOIN pg_namespace ON pg_namespace.oid = pg_proc.pronamespace LEFT JOIN (SELECT acls.* FROM ("
            "SELECT proname, pronamespace, (aclexplode(proacl)).* FROM pg_proc) acls WHERE grantee = %s) privs "
            "USING (proname, pronamespace) WHERE nspname = %s GROUP BY pg_proc.proname"
        )
        return session.rows(query, oid, state["schema"])
    query = (
        "SELECT pg_class.relname, array_remove(array_agg(privilege_type), NULL) FROM pg_class "
        "JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace LEFT JOIN (SELECT acls.* FROM ("
        "SELECT relname, relnamespace, relkind, (aclexplode(relacl)).* FROM pg_class c) AS acls "
        "WHERE grantee = %s) privs USING (relname, relnamespace, relkind) "
        "WHERE nspname = %s AND relkind = %s GROUP BY pg_class.relname"
    )
    return session.rows(query, oid, state["schema"], _RELATION_KINDS[kind])
