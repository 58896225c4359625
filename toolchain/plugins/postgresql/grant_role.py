"""Memberships, after terraform-provider-postgresql's resource_postgresql_grant_role.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.postgresql.client import ident
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, forced, string

if TYPE_CHECKING:
    from toolchain.plugins.postgresql.client import Client
    from toolchain.plugins.wire import Properties


class GrantRole(Resource):
    """One role's membership in another."""

    fields: ClassVar[Fields] = forced(
        role=string(required=True), grantRole=string(required=True), withAdminOption=boolean(default=False)
    )

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Grant the role."""
        granted, role = ident(planned["grantRole"]), ident(planned["role"])
        option = " WITH ADMIN OPTION" if planned["withAdminOption"] else ""
        with self._client.change() as session:
            session.run(f"REVOKE {granted} FROM {role}", "could not execute revoke query")
            session.run(f"GRANT {granted} TO {role}{option}", "could not execute grant query")
        result = self.read("", planned)
        if result is None:
            msg = f"the membership of {planned['role']} was gone right after it was granted"
            raise RuntimeError(msg)
        return result

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Read the membership."""
        del resource_id
        with self._client.session() as session:
            row = session.row(
                "SELECT pg_get_userbyid(member), pg_get_userbyid(roleid), admin_option FROM pg_auth_members "
                "WHERE pg_get_userbyid(member) = %s AND pg_get_userbyid(roleid) = %s",
                state["role"],
                state["grantRole"],
            )
        if row is None:
            return None
        identifier = f"{row[0]}_{row[1]}_{'true' if row[2] else 'false'}"
        return identifier, {"role": row[0], "grantRole": row[1], "withAdminOption": row[2]}

    def delete(self, resource_id: str, state: Properties) -> None:
        """Revoke the role."""
        del resource_id
        with self._client.change() as session:
            session.run(
                f"REVOKE {ident(state['grantRole'])} FROM {ident(state['role'])}", "could not execute revoke query"
            )

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Refuse, as the vendor's does.

        Raises:
            RuntimeError: always.
        """
        msg = f"a membership cannot be imported ({resource_id})"
        raise RuntimeError(msg)
