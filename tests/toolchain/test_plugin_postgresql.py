"""The PostgreSQL plugin made from packages, on a real server of the stack's own kind."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.toolchain.plugin_process import Made, Plugin, PluginError, started
from tests.toolchain.servers import Server, connect

DATABASE = "postgresql:index/database:Database"
DEFAULT_PRIVILEGES = "postgresql:index/defaultPrivileges:DefaultPrivileges"
GRANT = "postgresql:index/grant:Grant"
GRANT_ROLE = "postgresql:index/grantRole:GrantRole"
ROLE = "postgresql:index/role:Role"
SCHEMA = "postgresql:index/schema:Schema"

_ROWS = ["SELECT", "INSERT", "UPDATE", "DELETE"]
_PASSWORD = 'run\'time \\ "päss" $$%s'


def _configured(plugin: Plugin, server: Server, **settings: str) -> None:
    plugin.configure(
        **{
            "host": server.host,
            "port": str(server.port),
            "username": server.user,
            "password": server.password,
            "sslmode": "disable",
            "connectTimeout": "10",
            **settings,
        }
    )


@pytest.fixture(scope="module")
def plugin(postgres_server: Server) -> Iterator[Plugin]:
    """The plugin, configured."""
    with started("postgresql") as running:
        _configured(running, postgres_server)
        yield running


@pytest.fixture
def name() -> str:
    """A name that nothing else has, with a character that must be quoted."""
    return f"plugin test-{secrets.token_hex(4)}"


@contextmanager
def made(plugin: Plugin, token: str, **inputs: Any) -> Generator[Made]:
    """A resource for a block; gone after it."""
    resource = plugin.create(token, inputs)
    try:
        yield resource
    finally:
        plugin.delete(resource)


def _unchanged(plugin: Plugin, resource: Made, inputs: dict[str, Any]) -> None:
    assert plugin.diff(resource, inputs) == {}
    again = plugin.read(resource)
    assert again is not None
    assert again.id == resource.id
    assert plugin.diff(again, inputs) == {}


def _one(connection: psycopg.Connection[tuple[object, ...]], query: str, *arguments: object) -> object:
    row = connection.execute(query.encode(), arguments).fetchone()
    return row[0] if row else None


def test_an_owner_and_a_run_time_role_get_what_the_stack_gives_them_and_no_more(
    plugin: Plugin, postgres_server: Server, name: str
) -> None:
    owner, runtime = f"{name} owner", f"{name} run"
    table = {"database": name, "schema": "public", "objectType": "table", "role": runtime, "privileges": _ROWS}
    with (
        made(plugin, ROLE, name=owner, login=True, password="owner-pw") as role,
        made(plugin, ROLE, name=runtime, login=True, password=_PASSWORD, connectionLimit=5) as other,
        ExitStack() as stack,
    ):
        database = stack.enter_context(made(plugin, DATABASE, name=name, owner=owner, encoding="UTF8"))
        grants = [
            (GRANT, {"database": name, "role": runtime, "objectType": "database", "privileges": ["CONNECT"]}),
            (
                GRANT,
                {
                    "database": name,
                    "role": runtime,
                    "schema": "public",
                    "objectType": "schema",
                    "privileges": ["USAGE"],
                },
            ),
            (GRANT, table),
            (DEFAULT_PRIVILEGES, {**table, "owner": owner}),
            (DEFAULT_PRIVILEGES, {**table, "owner": owner, "objectType": "sequence", "privileges": ["USAGE"]}),
        ]
        granted = [stack.enter_context(made(plugin, token, **inputs)) for token, inputs in grants]

        with connect(postgres_server, name, owner, "owner-pw") as connection:
            connection.execute("CREATE TABLE t (id serial, v text)")
        with connect(postgres_server, name, runtime, _PASSWORD) as connection:
            connection.execute("INSERT INTO t (v) VALUES ('x')")
            assert _one(connection, "SELECT v FROM t") == "x"
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE u ()")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("TRUNCATE t")

        assert (database.id, granted[2].id) == (name, f"{runtime}_{name}_public_table")
        assert granted[3].id == f"{runtime}_{name}_public_{owner}_table"
        assert {"password"} <= role.secrets
        _unchanged(plugin, other, other.inputs)
        _unchanged(plugin, database, database.inputs)
        for (_, inputs), grant in zip(grants, granted, strict=True):
            _unchanged(plugin, grant, inputs)


def test_a_role_that_switches_to_another_at_login_works_as_that_one(
    plugin: Plugin, postgres_server: Server, name: str
) -> None:
    with made(plugin, ROLE, name=f"{name} a"):
        inputs = {
            "name": name,
            "login": True,
            "password": "pw",
            "roles": [f"{name} a"],
            "assumeRole": f"{name} a",
            "searchPaths": ["public", "other one"],
            "statementTimeout": 5000,
            "idleInTransactionSessionTimeout": 6000,
            "validUntil": "2099-01-01 00:00:00+00",
        }
        with made(plugin, ROLE, **inputs) as role:
            with connect(postgres_server, "postgres", name, "pw") as connection:
                assert _one(connection, "SELECT current_user") == f"{name} a"
                assert _one(connection, "SHOW statement_timeout") == "5s"
                assert _one(connection, "SHOW search_path") == 'public, "other one"'
            _unchanged(plugin, role, inputs)
            fewer = {key: inputs[key] for key in ("name", "login", "password", "roles")}
            updated = plugin.update(role, fewer)
            with connect(postgres_server, "postgres", name, "pw") as connection:
                assert _one(connection, "SELECT current_user") == name
                assert _one(connection, "SHOW statement_timeout") == "0"
            assert plugin.diff(updated, fewer) == {}


def test_a_new_password_counts_and_the_old_one_does_not(plugin: Plugin, postgres_server: Server, name: str) -> None:
    inputs = {"name": name, "login": True, "password": "old one"}
    with made(plugin, ROLE, **inputs) as role:
        changed = {**inputs, "password": _PASSWORD}
        assert plugin.diff(role, changed) == {"password": "UPDATE"}
        plugin.update(role, changed)
        connect(postgres_server, "postgres", name, _PASSWORD).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(postgres_server, "postgres", name, "old one")


def test_a_password_set_by_somebody_else_is_not_seen_but_a_removed_one_is(
    plugin: Plugin, postgres_server: Server, name: str
) -> None:
    """As by the vendor's: a SCRAM verifier is taken for the password in the state."""
    inputs = {"name": name, "login": True, "password": "pw"}
    with made(plugin, ROLE, **inputs) as role, connect(postgres_server) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD 'another'").format(sql.Identifier(name)))
        again = plugin.read(role)
        assert again is not None
        assert plugin.diff(again, inputs) == {}
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD NULL").format(sql.Identifier(name)))
        again = plugin.read(role)
        assert again is not None
        assert plugin.diff(again, inputs) == {"password": "UPDATE"}


def test_what_is_done_by_hand_shows_and_the_update_mends_it(plugin: Plugin, postgres_server: Server, name: str) -> None:
    grant_inputs = {"database": name, "role": f"{name} r", "objectType": "database", "privileges": ["CONNECT"]}
    with (
        made(plugin, ROLE, name=f"{name} r", login=True) as role,
        made(plugin, DATABASE, name=name),
        made(plugin, GRANT, **grant_inputs) as grant,
    ):
        with connect(postgres_server) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN CREATEDB").format(sql.Identifier(f"{name} r")))
            statement = sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(f"{name} r")))
        changed = plugin.read(role)
        assert changed is not None
        assert set(plugin.diff(changed, role.inputs)) == {"login", "createDatabase"}
        mended = plugin.update(changed, role.inputs)
        assert plugin.diff(mended, role.inputs) == {}
        more = plugin.read(grant)
        assert more is not None
        assert sorted(more.outputs["privileges"]) == ["CONNECT", "TEMPORARY"]
        mended = plugin.update(more, grant_inputs)
        assert mended.outputs["privileges"] == ["CONNECT"]


def test_a_role_is_renamed_in_place_and_a_database_too(plugin: Plugin, postgres_server: Server, name: str) -> None:
    with made(plugin, ROLE, name=name, login=True, password="pw") as role, made(plugin, DATABASE, name=name) as one:
        renamed = plugin.update(role, {**role.inputs, "name": f"{name} 2"})
        assert renamed.outputs["id"] == f"{name} 2"
        connect(postgres_server, "postgres", f"{name} 2", "pw").close()
        plugin.delete(Made(ROLE, f"{name} 2", {}, renamed.outputs, frozenset()))
        plugin.create(ROLE, {"name": name})
        moved = plugin.update(one, {**one.inputs, "name": f"{name} 3"})
        connect(postgres_server, f"{name} 3").close()
        plugin.update(Made(DATABASE, f"{name} 3", moved.inputs, moved.outputs, frozenset()), one.inputs)


def test_a_role_that_owns_things_is_dropped_and_they_are_kept(
    plugin: Plugin, postgres_server: Server, name: str
) -> None:
    role = plugin.create(ROLE, {"name": name})
    with connect(postgres_server) as connection:
        identifier = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(identifier, identifier))
        plugin.delete(role)
        assert _one(connection, "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", name)
        connection.execute(sql.SQL("DROP SCHEMA {}").format(identifier))
    assert plugin.read(role) is None


def test_a_database_in_use_is_dropped_all_the_same(plugin: Plugin, postgres_server: Server, name: str) -> None:
    database = plugin.create(DATABASE, {"name": name})
    with connect(postgres_server, name) as connection:
        plugin.delete(database)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert plugin.read(database) is None


def test_a_schema_is_made_in_its_database_and_found_by_both_names(
    plugin: Plugin, postgres_server: Server, name: str
) -> None:
    plain = f"db{secrets.token_hex(4)}"
    with (
        made(plugin, ROLE, name=name),
        made(plugin, DATABASE, name=plain),
        made(plugin, SCHEMA, name="s", database=plain, owner=name) as schema,
    ):
        assert schema.id == f"{plain}.s"
        _unchanged(plugin, schema, schema.inputs)
        found = plugin.find(SCHEMA, f"{plain}.s")
        assert found is not None
        assert found.inputs["owner"] == name
        with connect(postgres_server, plain) as connection:
            connection.execute("CREATE TABLE s.t ()")
            with pytest.raises(PluginError, match="other objects depend on it"):
                plugin.delete(schema)
            connection.execute("DROP TABLE s.t")


def test_a_membership_is_granted_and_revoked(plugin: Plugin, postgres_server: Server, name: str) -> None:
    with (
        made(plugin, ROLE, name=f"{name} a"),
        made(plugin, ROLE, name=f"{name} b"),
        connect(postgres_server) as connection,
    ):
        query = "SELECT admin_option FROM pg_auth_members WHERE pg_get_userbyid(member) = %s"
        with made(plugin, GRANT_ROLE, role=f"{name} a", grantRole=f"{name} b", withAdminOption=True) as grant:
            assert _one(connection, query, f"{name} a") is True
            assert grant.id == f"{name} a_{name} b_true"
            _unchanged(plugin, grant, grant.inputs)
        assert _one(connection, query, f"{name} a") is None
        assert plugin.read(grant) is None


def test_everything_that_stands_in_a_database_is_gone_with_it(plugin: Plugin, name: str) -> None:
    role = plugin.create(ROLE, {"name": f"{name} r"})
    database = plugin.create(DATABASE, {"name": name})
    about = {"database": name, "role": f"{name} r", "schema": "public", "privileges": ["SELECT"]}
    grant = plugin.create(GRANT, {**about, "objectType": "table"})
    default = plugin.create(DEFAULT_PRIVILEGES, {**about, "objectType": "table", "owner": "postgres"})
    schema = plugin.create(SCHEMA, {"name": "s", "database": name})
    plugin.delete(database)
    assert [plugin.read(each) for each in (grant, default, schema)] == [None, None, None]
    plugin.delete(role)


def test_many_grants_at_once_all_succeed(plugin: Plugin, postgres_server: Server, name: str) -> None:
    """The server refuses concurrent changes of one catalogue row; the engine makes them nevertheless."""
    with ExitStack() as stack:
        roles = [f"{name} {number}" for number in range(8)]
        for role in roles:
            stack.enter_context(made(plugin, ROLE, name=role))
        stack.enter_context(made(plugin, DATABASE, name=name))

        def grant(role: str) -> Made:
            return plugin.create(
                GRANT, {"database": name, "role": role, "objectType": "database", "privileges": ["CONNECT"]}
            )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(grant, roles))
        with connect(postgres_server) as connection:
            acl = _one(connection, "SELECT datacl::text FROM pg_database WHERE datname = %s", name)
        assert all(role in str(acl) for role in roles)


def test_wrong_requests_are_refused_with_the_reason(plugin: Plugin, name: str) -> None:
    with made(plugin, ROLE, name=name):
        with pytest.raises(PluginError, match=f'error creating role {name}: pq: role "{name}" already exists'):
            plugin.create(ROLE, {"name": name})
        about = {"database": "postgres", "role": name}
        with pytest.raises(PluginError, match="TRUNCATE is not an allowed privilege for object type schema"):
            plugin.create(GRANT, {**about, "schema": "public", "objectType": "schema", "privileges": ["TRUNCATE"]})
        with pytest.raises(PluginError, match="parameter 'schema' is mandatory"):
            plugin.create(GRANT, {**about, "objectType": "table", "privileges": ["SELECT"]})
    _, refused = plugin.checked(GRANT, {**about, "objectType": "nothing", "privileges": ["SELECT"]})
    assert "to be one of" in refused[0]


def test_no_error_has_a_password_in_it(postgres_server: Server, name: str) -> None:
    wrong = "hunter2-'quoted'"
    with started("postgresql") as plugin:
        _configured(plugin, postgres_server, password=wrong)
        with pytest.raises(PluginError, match="error connecting to PostgreSQL server") as failed:
            plugin.create(ROLE, {"name": name, "password": "role-secret"})
        assert wrong not in failed.value.text
        assert "role-secret" not in failed.value.text
    with started("postgresql") as plugin:
        _configured(plugin, postgres_server)
        inputs = {"name": name, "password": "role-secret", "validUntil": "no date"}
        with pytest.raises(PluginError, match="error creating role") as failed:
            plugin.create(ROLE, inputs)
        assert "role-secret" not in failed.value.text


def test_a_user_who_is_no_superuser_can_make_a_stack_too(plugin: Plugin, postgres_server: Server, name: str) -> None:
    with (
        made(plugin, ROLE, name=f"{name} admin", login=True, password="pw", createRole=True, createDatabase=True),
        started("postgresql") as modest,
    ):
        _configured(modest, postgres_server, username=f"{name} admin", password="pw", superuser="false")
        with (
            made(modest, ROLE, name=f"{name} o", login=True, password="pw"),
            made(modest, ROLE, name=f"{name} r"),
            made(modest, DATABASE, name=name, owner=f"{name} o"),
            made(modest, SCHEMA, name="s", database=name, owner=f"{name} o"),
        ):
            about = {"database": name, "role": f"{name} r", "schema": "s", "objectType": "table"}
            with made(modest, GRANT, **about, privileges=["SELECT"]) as grant:
                _unchanged(modest, grant, grant.inputs)
            with made(modest, DEFAULT_PRIVILEGES, **about, owner=f"{name} o", privileges=["SELECT"]) as default:
                _unchanged(modest, default, default.inputs)
