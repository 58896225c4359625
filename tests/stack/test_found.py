"""What is found before a deployment: it is the same by either way to PostgreSQL, and one of them starts nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from components.naming import Naming
from components.upgrade import superuser
from components.upgrade.found import Found, look
from tests.stack.harness import Stack, execute

assert psycopg, "loaded, as by the language host from packages: the sooner way is taken where it is"

_OLD = "/var/lib/postgresql/13"


@contextmanager
def _old_cluster(stack: Stack) -> Generator[None]:
    """Data of an earlier PostgreSQL beside that which is served, as an upgrade keeps it."""
    postgres = stack.container("postgres")
    script = "mkdir -p {0}/docker && echo 13 > {0}/docker/PG_VERSION && echo local/postgres:13 > {0}/image"
    execute(postgres, ["sh", "-c", script.format(_OLD)], user="postgres")
    try:
        yield
    finally:
        execute(postgres, ["rm", "-rf", _OLD], user="postgres")


def _programs(stack: Stack, during: Callable[[], object]) -> int:
    """How many programs Docker is asked to start in the container meanwhile, health checks left out."""
    begun = time.time()
    during()
    events = stack.client.events(
        since=f"{begun:.6f}",  # pyright: ignore[reportArgumentType] - the daemon takes fractions of a second
        until=f"{time.time():.6f}",  # pyright: ignore[reportArgumentType]
        filters={"event": "exec_create", "container": stack.container("postgres").id},
        decode=True,
    )
    return sum("that is all" in event["Action"] for event in events)


@pytest.mark.parametrize("database", ["mlflow", "not_there"])
def test_it_is_the_same_with_the_password_without_and_with_a_wrong_one(stack: Stack, database: str) -> None:
    stack.up().ok()
    right = stack.outputs["credentials"]["postgresAdminPassword"]

    def told(password: str | None) -> tuple[object, ...]:
        found = look(Naming(stack.name), stack.client, database, password)
        assert found.free() > 0
        return (
            *(getattr(found, name) for name in Found.__slots__ if name not in ("free", "databases")),
            *found.databases,
        )

    with _old_cluster(stack):
        known = told(right)
        assert {18: "", 13: "local/postgres:13"} in known
        assert "mlflow" in known
        assert told(None) == told("a wrong one") == known


def test_who_knows_the_password_has_docker_start_nothing(stack: Stack) -> None:
    stack.up().ok()
    right = stack.outputs["credentials"]["postgresAdminPassword"]
    naming = Naming(stack.name)
    assert _programs(stack, lambda: look(naming, stack.client, "mlflow", right)) == 0
    assert _programs(stack, lambda: look(naming, stack.client, "mlflow", "a wrong one")) > 0
    # A language host from elsewhere has it loaded too late.
    folders = stack.checkout.pulumi_environment(stack.name)["PATH"]
    host = Path(shutil.which("pulumi-language-python", path=folders) or "").resolve()
    assert (_programs(stack, lambda: stack.up().ok()) == 0) is host.is_relative_to(stack.checkout.root)


def test_a_server_at_that_port_which_is_another_one_is_not_believed(stack: Stack) -> None:
    stack.up().ok()
    postgres, right = stack.container("postgres"), stack.outputs["credentials"]["postgresAdminPassword"]

    def ask() -> None:
        with superuser.session(postgres, "mlflow", right) as query:
            assert query("SELECT datname FROM pg_database WHERE datname = 'mlflow'") == [("mlflow",)]

    assert _programs(stack, ask) == 0
    postgres.attrs["Config"]["Hostname"] = "0123456789ab"  # as where a Docker host elsewhere has the container
    assert _programs(stack, ask) > 0
