"""Roles, after terraform-provider-postgresql's resource_postgresql_role.go."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar, Final

from toolchain.plugins.postgresql.client import ident, literal
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, integer, string, strings, unsupported

if TYPE_CHECKING:
    from toolchain.plugins.postgresql.client import Client, Session
    from toolchain.plugins.wire import Properties, Value

_SWITCHES: Final = {
    "superuser": "SUPERUSER",
    "createDatabase": "CREATEDB",
    "createRole": "CREATEROLE",
    "inherit": "INHERIT",
    "login": "LOGIN",
    "bypassRowLevelSecurity": "BYPASSRLS",
    "replication": "REPLICATION",
}


def _at_least(name: str, limit: int) -> Value:
    def check(value: Value) -> str | None:
        return None if value >= limit else f"expected {name} to be at least ({limit}), got {value}"

    return check


class Role(Resource):
    """A role."""

    fields: ClassVar[Fields] = {
        "name": string(required=True, autoname=True),
        "password": string(secret=True),
        "encryptedPassword": boolean(default=True),
        "roles": strings(),
        "searchPaths": strings("list"),
        "validUntil": string(default="infinity"),
        "connectionLimit": integer(default=-1, check=_at_least("connection_limit", -1)),
        "superuser": boolean(default=False),
        "createDatabase": boolean(default=False),
        "createRole": boolean(default=False),
        "inherit": boolean(default=True),
        "login": boolean(default=False),
        "replication": boolean(default=False),
        "bypassRowLevelSecurity": boolean(default=False),
        "skipDropRole": boolean(default=False),
        "skipReassignOwned": boolean(default=False),
        "statementTimeout": integer(check=_at_least("statement_timeout", 0)),
        "idleInTransactionSessionTimeout": integer(check=_at_least("idle_in_transaction_session_timeout", 0)),
        "assumeRole": string(),
        "encrypted": unsupported(),
        "passwordWo": unsupported(secret=True),
        "passwordWoVersion": unsupported(),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Create the role and everything about it in one transaction."""
        name: str = planned["name"]
        options: list[str] = []
        password = planned["password"]
        if password:
            if password.upper() == "NULL":
                options.append("PASSWORD NULL")
            else:
                kind = "ENCRYPTED" if planned["encryptedPassword"] else "UNENCRYPTED"
                options.append(f"{kind} PASSWORD {literal(password)}")
        until = planned["validUntil"]
        if until:
            options.append(f"VALID UNTIL {literal('infinity' if until.lower() == 'infinity' else until)}")
        options.append(f"CONNECTION LIMIT {planned['connectionLimit']}")
        options += [word if planned[key] else f"NO{word}" for key, word in _SWITCHES.items()]
        with self._client.change() as session:
            session.run(f"CREATE ROLE {ident(name)} WITH {' '.join(options)}", f"error creating role {name}")
            self._settings(session, {}, planned)
        return self._must_read(name, planned)

    def _settings(self, session: Session, old: Properties, planned: Properties) -> None:
        name: str = planned["name"]
        role = ident(name)
        for granted in planned["roles"] or []:
            session.run(f"GRANT {ident(granted)} TO {role}", f"could not grant role {granted} to {name}")
        paths: list[str] = planned["searchPaths"] or []
        for path in paths:
            if ", " in path:
                msg = f"search_path cannot contain `, `: {path}"
                raise RuntimeError(msg)
        path_list = ", ".join(ident(path) for path in paths) or "DEFAULT"
        session.run(f"ALTER ROLE {role} SET search_path TO {path_list}", f"could not set search_path for {name}")
        for key, setting in (
            ("statementTimeout", "statement_timeout"),
            ("idleInTransactionSessionTimeout", "idle_in_transaction_session_timeout"),
        ):
            if (old.get(key) or 0) != (planned[key] or 0):
                action = f"SET {setting} TO {int(planned[key])}" if planned[key] else f"RESET {setting}"
                session.run(f"ALTER ROLE {role} {action}", f"could not set {setting} for {name}")
        if (old.get("assumeRole") or "") != (planned["assumeRole"] or ""):
            assumed = planned["assumeRole"]
            action = f"SET ROLE TO {ident(assumed)}" if assumed else "RESET ROLE"
            session.run(f"ALTER ROLE {role} {action}", f"could not set role {assumed or ''} for {name}")

    def _must_read(self, name: str, state: Properties) -> tuple[str, Properties]:
        result = self.read(name, state)
        if result is None:
            msg = f"the role {name} was gone right after it was made"
            raise RuntimeError(msg)
        return result

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Read the role."""
        with self._client.session() as session:
            row = session.row(
                "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolconnlimit, "
                "COALESCE(rolvaliduntil::TEXT, 'infinity'), rolconfig, rolreplication, rolbypassrls, ARRAY("
                "SELECT pg_get_userbyid(roleid)::text FROM pg_catalog.pg_auth_members WHERE member = pg_roles.oid"
                ") FROM pg_catalog.pg_roles WHERE rolname = %s",
                resource_id,
            )
            if row is None:
                return None
            settings = dict(each.split("=", 1) for each in row[8] or [])
            search = settings.get("search_path")
            found: Properties = {
                "name": row[0],
                "superuser": row[1],
                "inherit": row[2],
                "createRole": row[3],
                "createDatabase": row[4],
                "login": row[5],
                "connectionLimit": row[6],
                "validUntil": row[7],
                "replication": row[9],
                "bypassRowLevelSecurity": row[10],
                "encryptedPassword": True,
                "roles": row[11],
                "searchPaths": [each.strip('"') for each in search.split(", ")] if search else [],
                "assumeRole": settings.get("role", ""),
                "statementTimeout": int(settings.get("statement_timeout", 0)),
                "idleInTransactionSessionTimeout": int(settings.get("idle_in_transaction_session_timeout", 0)),
                "skipDropRole": bool(state.get("skipDropRole")),
                "skipReassignOwned": bool(state.get("skipReassignOwned")),
            }
            if state.get("password"):
                found["password"] = self._password(session, resource_id, state["password"], can_login=row[5])
        return str(row[0]), found

    def _password(self, session: Session, role: str, known: str, *, can_login: bool) -> str:
        """Return the known password unless the server certainly has another."""
        if not can_login or not self._client.superuser:
            return known
        current = session.row("SELECT CURRENT_USER")
        if not session.is_superuser(str(current[0]) if current else ""):
            msg = (
                "could not read role password from Postgres as connected user "
                f"{self._client.database_username} is not a SUPERUSER. You can set `superuser = false` in the "
                "provider configuration so it will not try to read the password from Postgres"
            )
            raise RuntimeError(msg)
        row = session.row("SELECT COALESCE(passwd, '') FROM pg_catalog.pg_shadow AS s WHERE s.usename = %s", role)
        stored = str(row[0]) if row else ""
        if not known.startswith(("md5", "SCRAM-SHA-256")):
            if stored.startswith("md5"):
                hashed = hashlib.md5((known + role).encode(), usedforsecurity=False).hexdigest()
                if stored == f"md5{hashed}":
                    return known
            if stored.startswith("SCRAM-SHA-256"):
                return known
        return stored

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Change the role in one transaction."""
        name: str = planned["name"]
        with self._client.change() as session:
            session.lock_role(resource_id)
            if name != old["name"]:
                session.run(f"ALTER ROLE {ident(old['name'])} RENAME TO {ident(name)}", "error updating role NAME")
            role = ident(name)
            renamed = name != old["name"]
            if planned["password"] and (renamed or planned["password"] != old.get("password")):
                session.run(
                    f"ALTER ROLE {role} PASSWORD {literal(planned['password'])}", "error updating role password"
                )
            for key, word in _SWITCHES.items():
                if bool(old.get(key)) != bool(planned[key]):
                    switch = word if planned[key] else f"NO{word}"
                    session.run(f"ALTER ROLE {role} WITH {switch}", f"error updating role {word}")
            if old.get("connectionLimit") != planned["connectionLimit"]:
                session.run(
                    f"ALTER ROLE {role} CONNECTION LIMIT {planned['connectionLimit']}",
                    "error updating role CONNECTION LIMIT",
                )
            until = planned["validUntil"]
            if until and until != old.get("validUntil"):
                value = "infinity" if until.lower() == "infinity" else until
                session.run(f"ALTER ROLE {role} VALID UNTIL {literal(value)}", "error updating role VALID UNTIL")
            for (granted,) in session.rows(
                "SELECT pg_get_userbyid(roleid) FROM pg_catalog.pg_auth_members members "
                "JOIN pg_catalog.pg_roles ON members.member = pg_roles.oid WHERE rolname = %s",
                name,
            ):
                session.run(f"REVOKE {ident(granted)} FROM {role}", f"could not revoke role {granted} from {name}")
            self._settings(session, old, planned)
        return self._must_read(name, planned)

    def delete(self, resource_id: str, state: Properties) -> None:
        """Hand over what it owns, then drop it."""
        name: str = state["name"] or resource_id
        with self._client.change() as session:
            session.lock_role(name)
            if not state.get("skipReassignOwned"):
                new_owner = self._client.database_username

                def hand_over() -> None:
                    session.run(
                        f"REASSIGN OWNED BY {ident(name)} TO {ident(new_owner)}",
                        f"could not reassign owned by role {name} to {new_owner}",
                    )
                    session.run(f"DROP OWNED BY {ident(name)}", f"could not drop owned by role {name}")

                session.with_roles([name], hand_over)
            if not state.get("skipDropRole"):
                session.run(f"DROP ROLE {ident(name)}", f"could not delete role {name}")
