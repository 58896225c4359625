"""Another MLflow and another PostgreSQL on the data of an old client: it is all there afterwards, or the old one is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import mlflow
import pytest
import requests

from components.settings import DEFAULT_MLFLOW_VERSION
from tests import older_postgres
from tests.stack import old_client
from tests.stack.harness import Checkout, Stack, deployed, execute
from tests.stack.ledger import Ledger
from toolchain import paths
from toolchain.images import machine, packages

OLD = "3.10.1"
#: Of MLflow 2. Its first versions can't serve a stack: 2.0.1 and 2.3.2 lack what the image's own server builds upon.
OLDEST = ("2.22.5",)
_CLIENT = Path(old_client.__file__)

#: A table that a migration between the two versions makes; where it is there already, that migration fails, after
#: others have gone well.
_MADE_LATER = "mcp_servers"

#: Seconds that an upgrade takes.
_UPGRADE = 25.0


@pytest.fixture(scope="module")
def postgres_16(client: docker.DockerClient) -> str:
    """An image of the major before."""
    cache = paths.cache_root() / "images"
    base = packages.obtain(client, machine.look(), cache, print)["debianImage"]
    return older_postgres.obtain(client, base, cache)


@pytest.fixture(scope="module")
def old(checkout: Checkout, tag: str, postgres_16: str) -> Iterator[Stack]:
    """A stack on the old MLflow and the old PostgreSQL, with data that a client of that MLflow has logged."""
    with deployed(checkout, f"{tag}up", mlflowVersion=OLD, postgresImage=postgres_16) as stack:
        _client_in_server(stack, "write", "of the old client")
        yield stack


@pytest.fixture(scope="module")
def written(old: Stack) -> dict[str, Any]:
    """All there is, as the old client reads it from the old server."""
    return _read(_client_in_server(old, "read"))


@pytest.fixture(scope="module")
def takes_minutes(request: pytest.FixtureRequest) -> None:
    """For `make soak` alone."""
    if not request.config.getoption("--upgrades"):
        pytest.skip("takes minutes: with --upgrades")


def test_a_preview_says_what_will_happen_and_two_upgrades_at_once_are_refused(old: Stack, written: Any) -> None:
    old.configure(mlflowVersion=DEFAULT_MLFLOW_VERSION)
    shown = old.pulumi("preview", "--non-interactive").ok()
    assert f"mlflowVersion: {OLD} -> {DEFAULT_MLFLOW_VERSION}: schema revision " in shown.stdout
    assert "The tracking server pauses" in shown.stdout

    image = old.settings["postgresImage"]
    old.forget("postgresImage")
    refused = old.checkout.toolchain("preview", stack=old.name)
    assert refused.code == 2, refused.text
    assert "one upgrade at a time" in refused.stderr
    old.configure(postgresImage=image, mlflowVersion=OLD)
    old.assert_no_changes()


@pytest.mark.sampled
def test_where_a_migration_fails_half_way_the_old_server_serves_all_the_data(old: Stack, written: Any) -> None:
    _sql(old, f"SET ROLE mlflowowner; CREATE TABLE {_MADE_LATER} (x int)")
    server = str(old.container("server").id)
    failed = old.checkout.toolchain("upgrade", stack=old.name)
    assert failed.code == 1, failed.text
    assert f"{_MADE_LATER}" in failed.stdout + failed.stderr, "the reason is not said"
    assert f"MLflow {OLD} serves again, on the data as it was" in failed.stderr
    assert f"pulumi config set mlflowVersion {DEFAULT_MLFLOW_VERSION} && make upgrade" in failed.stderr
    assert old.container("server").id == server, "the very server of before"
    _assert_served(old, OLD, written)
    _sql(old, f"DROP TABLE {_MADE_LATER}")


def test_where_plain_pulumi_upgrades_alone_a_failed_migration_leaves_the_old_server_too(
    takes_minutes: None, old: Stack, written: Any
) -> None:
    _sql(old, f"SET ROLE mlflowowner; CREATE TABLE {_MADE_LATER} (x int)")
    old.configure(mlflowVersion=DEFAULT_MLFLOW_VERSION)
    failed = old.pulumi("up", "--yes", "--skip-preview", "--non-interactive")
    assert failed.code != 0
    assert f"MLflow {OLD} serves again, on the data as it was" in failed.stdout + failed.stderr, failed.text
    old.configure(mlflowVersion=OLD)
    old.pulumi("up", "--yes", "--skip-preview", "--non-interactive").ok()
    _assert_served(old, OLD, written)
    _sql(old, f"DROP TABLE {_MADE_LATER}")


@pytest.mark.sampled
def test_where_the_new_version_does_not_pass_its_check_the_old_one_serves_its_data(old: Stack, written: Any) -> None:
    # With the migration, in the copy, a table gets a rule that no row keeps: the server comes up and can't write.
    _sql(
        old,
        "SET ROLE mlflowowner; CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "ALTER TABLE registered_models DROP CONSTRAINT IF EXISTS spoiled, "
        "ADD CONSTRAINT spoiled CHECK (name = '') NOT VALID; RETURN new; END $$; "
        "CREATE TRIGGER spoil BEFORE UPDATE ON alembic_version FOR EACH ROW EXECUTE FUNCTION spoil()",
    )
    failed = old.checkout.toolchain("upgrade", stack=old.name)
    assert failed.code == 1, failed.text
    assert f"MLflow {OLD} is in its place again" in failed.stderr
    assert f"mlflowVersion {OLD} serves again" in failed.stderr
    _sql(old, "DROP TRIGGER spoil ON alembic_version; DROP FUNCTION spoil")
    _assert_served(old, OLD, written)


def test_an_upgrade_brings_all_that_the_old_client_has_logged(old: Stack, written: Any) -> None:
    done = old.checkout.toolchain("upgrade", stack=old.name).ok()
    assert f"MLflow {DEFAULT_MLFLOW_VERSION} serves; the tracking server did not answer for " in done.stdout
    print(done.stdout.strip())
    _assert_served(old, DEFAULT_MLFLOW_VERSION, written)
    Ledger(old.tracking_uri).log()


def test_a_version_that_the_schema_is_too_new_for_is_refused_before_anything_is_touched(old: Stack) -> None:
    server = str(old.container("server").id)
    old.configure(mlflowVersion=OLD)
    for refused in (
        old.checkout.toolchain("preview", stack=old.name),
        old.up(),
        old.pulumi("up", "--yes", "--skip-preview", "--non-interactive"),
    ):
        assert refused.code != 0, refused.text
        assert f"mlflowVersion: {OLD}: knows schema revisions up to " in refused.stdout + refused.stderr, refused.text
        assert f"mend: pulumi config set mlflowVersion {DEFAULT_MLFLOW_VERSION}" in refused.stdout + refused.stderr
    assert old.container("server").id == server
    old.forget("mlflowVersion")
    old.assert_no_changes()


@pytest.mark.sampled
def test_where_postgresql_cannot_load_its_data_the_old_one_serves_it(old: Stack) -> None:
    before = _read_here(old)
    _sql(old, "CREATE VIEW spoil AS SELECT buffers_backend FROM pg_stat_bgwriter")  # 17 and later have no such column
    image = old.settings["postgresImage"]
    old.forget("postgresImage")
    failed = old.up()
    assert failed.code == 1, failed.text
    assert "buffers_backend" in failed.stdout + failed.stderr, "the reason is not said"
    assert f"postgresImage {image} serves again" in failed.stderr, failed.text
    _sql(old, "DROP VIEW spoil")
    assert _sql(old, "SHOW server_version") == packages.POSTGRES_VERSIONS[16]
    old.assert_healthy()
    old.assert_no_changes()
    assert _read_here(old) == before


def test_all_databases_go_to_another_major_of_postgresql(old: Stack) -> None:
    before, rows = _read_here(old), _sql(old, "SELECT count(*) FROM metrics")
    old.forget("postgresImage")
    old.up().ok()
    assert _sql(old, "SHOW server_version") == packages.POSTGRES_VERSIONS[18]
    assert _sql(old, "SELECT count(*) FROM metrics") == rows
    held = execute(old.container("postgres"), ["sh", "-c", "cd /var/lib/postgresql && echo *"], user="postgres")
    assert held.split() == ["18"], "the old cluster is removed once the new one was checked"
    old.assert_healthy()
    old.assert_no_changes()
    old.assert_no_changes(refresh=True)
    assert _read_here(old) == before
    Ledger(old.tracking_uri).log()


def test_an_earlier_major_of_postgresql_is_refused_before_anything_is_touched(old: Stack, postgres_16: str) -> None:
    postgres = str(old.container("postgres").id)
    old.configure(postgresImage=postgres_16)
    refused = old.up()
    assert refused.code == 2, refused.text
    assert f"postgresImage: {postgres_16}: is PostgreSQL 16, and the data is of PostgreSQL 18" in refused.stderr
    assert old.container("postgres").id == postgres
    old.forget("postgresImage")
    old.assert_no_changes()


@pytest.fixture
def fresh(takes_minutes: None, checkout: Checkout, tag: str, random_drill: str) -> Iterator[Stack]:
    """A stack on the old MLflow, for one drill."""
    with deployed(checkout, f"{tag}k{random_drill}", mlflowVersion=OLD) as stack:
        yield stack


def test_an_upgrade_killed_at_any_moment_is_finished_by_the_next(fresh: Stack, random_drill: str) -> None:
    chance = random.Random(random_drill)  # noqa: S311 - to be repeated, not to be secret
    kept, seconds = Ledger(fresh.tracking_uri), chance.uniform(0, _UPGRADE)
    kept.log(5)
    print(f"killed after {seconds:.2f} s")
    with fresh.checkout.started("upgrade", stack=fresh.name) as working:
        try:
            working.wait(seconds)
        except TimeoutError:
            working.kill()
    fresh.checkout.toolchain(chance.choice(["upgrade", "up"]), stack=fresh.name).ok()
    fresh.assert_healthy()
    fresh.assert_no_changes()
    assert _version(fresh) in {OLD, DEFAULT_MLFLOW_VERSION}
    assert _databases(fresh) == {"mlflow", "postgres"}
    assert kept.missing() == []
    kept.log()
    assert kept.missing() == []


@pytest.mark.parametrize("version", OLDEST)
def test_the_data_of_the_oldest_clients_is_all_there_after_an_upgrade(
    takes_minutes: None, checkout: Checkout, tag: str, version: str
) -> None:
    with deployed(checkout, f"{tag}up2", mlflowVersion=version) as stack:
        _client_in_server(stack, "write", f"of a client {version}")
        written = _read(_client_in_server(stack, "read"))
        stack.checkout.toolchain("upgrade", stack=stack.name).ok()
        _assert_served(stack, DEFAULT_MLFLOW_VERSION, written)


def _assert_served(stack: Stack, version: str, written: dict[str, Any]) -> None:
    """A version serves, on all the data and on nothing else."""
    stack.assert_healthy()
    stack.assert_no_changes()
    assert _version(stack) == version
    assert _databases(stack) == {"mlflow", "postgres"}, "a copy is left"
    assert _read_here(stack) == written


def _version(stack: Stack) -> str:
    return requests.get(f"{stack.tracking_uri}/version", timeout=10).text


def _databases(stack: Stack) -> set[str]:
    return set(_sql(stack, "SELECT datname FROM pg_database WHERE NOT datistemplate").split())


def _sql(stack: Stack, statement: str) -> str:
    command = ["psql", "-U", "postgres", "-d", "mlflow", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement]
    return execute(stack.container("postgres"), command, user="postgres").strip()


def _client_in_server(stack: Stack, *arguments: str) -> str:
    """Run the client in a container of the stack's MLflow image: a client of the server's own version."""
    container = stack.client.containers.create(
        str(stack.container("server").attrs["Config"]["Image"]),
        entrypoint=["python3.11", "/client.py", *arguments],
        environment={"MLFLOW_TRACKING_URI": "http://mlflow-server:5000", "HOME": "/tmp"},
        network=f"mlflow-{stack.name}-front",
        volumes={str(_CLIENT): {"bind": "/client.py", "mode": "ro"}},
    )
    try:
        container.start()
        code = container.wait(timeout=300)["StatusCode"]
        printed = bytes(container.logs(stderr=code != 0)).decode(errors="replace")
    finally:
        container.remove(force=True, v=True)
    assert code == 0, printed
    return printed


def _read_here(stack: Stack) -> dict[str, Any]:
    """All there is, as this process reads it: a client of the newest version."""
    mlflow.set_tracking_uri(stack.tracking_uri)
    return json.loads(json.dumps(old_client.read()))


def _read(printed: str) -> dict[str, Any]:
    return json.loads(printed.strip().splitlines()[-1])
