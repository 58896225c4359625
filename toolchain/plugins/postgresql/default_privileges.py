"""Default privileges, after terraform-provider-postgresql's resource_postgresql_default_privileges.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from toolchain.plugins.postgresql.client import ident, words
from toolchain.plugins.postgresql.grant import there
from toolchain.plugins.postgresql.privileges import equal, object_types, validate
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, forced, string, strings

if TYPE_CHECKING:
    from toolchain.plugins.postgresql.client import Client, Session
    from toolchain.plugins.wire import Properties

_KINDS: Final = {"table": "r", "sequence": "S", "function": "f", "type": "T", "schema": "n"}


class DefaultPrivileges(Resource):
    """What a role may do with objects that an owner makes from now on."""

    fields: ClassVar[Fields] = {
        **forced(
            role=string(required=True),
            database=string(required=True),
            owner=string(required=True),
            schema=string(),
            objectType=string(required=True, check=object_types(tuple(_KINDS))),
            withGrantOption=boolean(default=False),
        ),
        "privileges": strings(required=True),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Revoke what there was, grant what is wanted, in one transaction."""
        if planned["schema"] and planned["objectType"] == "schema":
            msg = "cannot specify `schema` when `object_type` is `schema`"
            raise RuntimeError(msg)
        if planned["withGrantOption"] and planned["role"].lower() == "public":
            msg = "with_grant_option cannot be true for role 'public'"
            raise RuntimeError(msg)
        with self._client.change(planned["database"]) as session:
            validate(planned["objectType"], planned["privileges"], session.version)
            session.lock_role(planned["owner"])

            def work() -> None:
                session.run(_revoke(planned), "could not revoke default privileges")
                if planned["privileges"]:
                    session.run(_grant(planned), "could not alter default privileges")

            session.with_roles([planned["owner"]], work)
        with self._client.change(planned["database"]) as session:
            found = _read(session, planned)
        if found is None:
            msg = "the default privileges were gone right after they were granted"
            raise RuntimeError(msg)
        return _identifier(planned), found

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Grant again."""
        del resource_id, old
        return self.create(planned)

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Read the privileges; gone when database, role, schema or the privileges are."""
        del resource_id
        if not there(self._client, state):
            return None
        with self._client.change(state["database"]) as session:
            found = _read(session, state)
        return None if found is None else (_identifier(state), found)

    def delete(self, resource_id: str, state: Properties) -> None:
        """Revoke the privileges."""
        del resource_id
        with self._client.change(state["database"]) as session:
            session.lock_role(state["owner"])
            session.with_roles(
                [state["owner"]], lambda: session.run(_revoke(state), "could not revoke default privileges")
            )

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Refuse, as the vendor's does.

        Raises:
            RuntimeError: always.
        """
        msg = f"default privileges cannot be imported ({resource_id})"
        raise RuntimeError(msg)


def _identifier(state: Properties) -> str:
    return "_".join(
        [state["role"], state["database"], state["schema"] or "noschema", state["owner"], state["objectType"]]
    )


def _scope(state: Properties) -> str:
    schema = f" IN SCHEMA {ident(state['schema'])}" if state["schema"] else ""
    return f"ALTER DEFAULT PRIVILEGES FOR ROLE {ident(state['owner'])}{schema}"


def _grant(state: Properties) -> str:
    option = " WITH GRANT OPTION" if state["withGrantOption"] else ""
    kind = state["objectType"].upper()
    return f"{_scope(state)} GRANT {words(state['privileges'])} ON {kind}S TO {ident(state['role'])}{option}"


def _revoke(state: Properties) -> str:
    return f"{_scope(state)} REVOKE ALL ON {state['objectType'].upper()}S FROM {ident(state['role'])}"


def _read(session: Session, state: Properties) -> Properties | None:
    session.lock_role(state["owner"])
    oid = session.role_oid(state["role"])
    kind = _KINDS[state["objectType"]]
    if state["schema"]:
        row = session.row(
            "SELECT array_agg(prtype) FROM (SELECT defaclnamespace, (aclexplode(defaclacl)).* FROM pg_default_acl "
            "WHERE defaclobjtype = %s) AS t (namespace, grantor_oid, grantee_oid, prtype, grantable) "
            "JOIN pg_namespace ON pg_namespace.oid = namespace "
            "WHERE grantee_oid = %s AND nspname = %s AND pg_get_userbyid(grantor_oid) = %s",
            kind,
            oid,
            state["schema"],
            state["owner"],
        )
    else:
        row = session.row(
            "SELECT array_agg(prtype) FROM (SELECT defaclnamespace, (aclexplode(defaclacl)).* FROM pg_default_acl "
            "WHERE defaclobjtype = %s) AS t (namespace, grantor_oid, grantee_oid, prtype, grantable) "
            "WHERE grantee_oid = %s AND namespace = 0 AND pg_get_userbyid(grantor_oid) = %s",
            kind,
            oid,
            state["owner"],
        )
    granted = list((row[0] if row else None) or [])
    wanted = state["privileges"] or []
    if not granted and wanted:
        return None
    if equal(granted, wanted, state["objectType"], session.version):
        return {}
    return {"privileges": granted}
