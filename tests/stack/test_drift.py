"""Drift: something is removed or changed by hand, and one `make up` later all is as it was and nothing is missing.

`make test` runs a sample of the cases and all of them at once; `make soak` runs each case alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import docker.errors
import pytest
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from tests.stack.harness import Stack, execute, wait_until
from tests.stack.ledger import Ledger

Drift = Callable[[Stack], None]

#: Removed by hand, one by one; the containers that are never started, and jobs that have ended, as by a prune.
CONTAINERS = ("gateway", "server", "minio", "postgres", "migration")
NETWORKS = ("front", "app", "artifact", "backend")
DATA = ("postgres-data", "minio-data")

BUCKET_USER = "mlflow-bucket"


# -- on the Docker host --------------------------------------------------------------------------------------


def _without_container(role: str) -> Drift:
    return lambda stack: stack.container(role).remove(force=True, v=True)


def _without_network(part: str) -> Drift:
    def remove(stack: Stack) -> None:
        network = stack.client.networks.get(f"mlflow-{stack.name}-{part}")
        for container in network.containers:
            network.disconnect(container, force=True)
        network.remove()

    return remove


def _pruned(stack: Stack) -> None:
    """What `docker container prune` and `docker volume prune` take."""
    _remove_containers(stack, status="created")
    _remove_containers(stack, status="exited")
    _remove_volumes(stack)


def _without_image(stack: Stack) -> None:
    _without_container("minio")(stack)
    _without_container("minio-files")(stack)
    stack.client.images.remove(stack.outputs["images"]["minio"], force=True)


def _all_but_data(stack: Stack) -> None:
    image = stack.outputs["images"]["minio"]
    _remove_containers(stack)
    for network in stack.inventory().networks:
        stack.client.networks.get(network).remove()
    _remove_volumes(stack)
    stack.client.images.remove(image, force=True)
    left = stack.inventory()
    assert (left.containers, left.networks) == (frozenset(), frozenset())
    assert left.volumes == {f"mlflow-{stack.name}-{part}" for part in DATA}


def _remove_containers(stack: Stack, **filters: str) -> None:
    mine: dict[str, str | list[str] | bool] = {"label": f"mlflow-stack.stack={stack.name}", **filters}
    for container in stack.client.containers.list(all=True, filters=mine):
        container.remove(force=True, v=True)


def _remove_volumes(stack: Stack) -> None:
    for name in stack.inventory().volumes - {f"mlflow-{stack.name}-{part}" for part in DATA}:
        with suppress(docker.errors.APIError):  # in use
            stack.client.volumes.get(name).remove()


ON_THE_HOST: Mapping[str, Drift] = {
    **{f"container {role}": _without_container(role) for role in CONTAINERS},
    **{f"network {part}": _without_network(part) for part in NETWORKS},
    "what a prune takes": _pruned,
    "image": _without_image,
}


# -- inside the servers --------------------------------------------------------------------------------------


def _sql(*statements: str) -> Drift:
    def run(stack: Stack) -> None:
        for statement in statements:
            _psql(stack, statement)

    return run


def _psql(stack: Stack, statement: str) -> str:
    command = ["psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "mlflow", "-tAc", statement]
    return execute(stack.container("postgres"), command, user="postgres")


def _root(stack: Stack) -> tuple[str, StaticProvider]:
    password = stack.credentials()["minioRootPassword"]
    return f"127.0.0.1:{stack.settings['minioApiPort']}", StaticProvider("mlflow-root", password)


def _admin(change: Callable[[MinioAdmin], Any]) -> Drift:
    def run(stack: Stack) -> None:
        endpoint, root = _root(stack)
        change(MinioAdmin(endpoint=endpoint, credentials=root, secure=False))

    return run


def _open_to_everybody(stack: Stack) -> None:
    endpoint, root = _root(stack)
    policy = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::mlflow/*"]}]}"""
    Minio(endpoint, credentials=root, secure=False).set_bucket_policy("mlflow", policy)


_LESS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["*"]}]}

INSIDE: Mapping[str, Drift] = {
    "bucket user deleted": _admin(lambda admin: admin.user_remove(BUCKET_USER)),
    "secret of the bucket user changed": _admin(lambda admin: admin.user_add(BUCKET_USER, "another-secret")),
    "bucket user disabled": _admin(lambda admin: admin.user_disable(BUCKET_USER)),
    "policy of the bucket user taken from it": _admin(lambda admin: admin.policy_unset(BUCKET_USER, user=BUCKET_USER)),
    "policy of the bucket user altered": _admin(lambda admin: admin.policy_add(BUCKET_USER, policy=_LESS)),
    "console user deleted": _admin(lambda admin: admin.user_remove("mlflow-console")),
    "bucket opened to everybody": _open_to_everybody,
    "run-time role dropped": _sql("DROP OWNED BY mlflowuser", "DROP ROLE mlflowuser"),
    "run-time role locked out": _sql("ALTER ROLE mlflowuser NOLOGIN"),
    "password of the run-time role changed": _sql("ALTER ROLE mlflowuser PASSWORD 'another'"),
    "password of the owner changed": _sql("ALTER ROLE mlflowowner PASSWORD 'another'"),
    "password of the superuser changed": _sql("ALTER ROLE postgres PASSWORD 'another'"),
    "right to connect taken away": _sql("REVOKE CONNECT ON DATABASE mlflow FROM mlflowuser"),
    "right to the schema taken away": _sql("REVOKE USAGE ON SCHEMA public FROM mlflowuser, PUBLIC"),
    "rights to a table taken away": _sql("REVOKE UPDATE ON runs FROM mlflowuser"),
    "default privileges taken away": _sql(
        "ALTER DEFAULT PRIVILEGES FOR ROLE mlflowowner IN SCHEMA public REVOKE ALL ON TABLES FROM mlflowuser"
    ),
    "everything given to another owner": _sql("REASSIGN OWNED BY mlflowowner TO postgres"),
}

#: So many of them at once as there can be.
TOGETHER = (
    "bucket user deleted",
    "policy of the bucket user altered",
    "console user deleted",
    "bucket opened to everybody",
    "run-time role dropped",
    "password of the owner changed",
    "password of the superuser changed",
)


def _mended(stack: Stack, ledger: Ledger) -> str:
    """One `make up`, and all is well."""
    said = stack.up().ok().stderr
    wait_until(lambda: _healthy(stack), "every container is healthy", 60)
    stack.assert_no_changes(refresh=True)
    assert _sessions_of_roles_that_are_gone(stack) == 0, "the server is left with connections that may do nothing"
    ledger.uri = stack.tracking_uri
    ledger.log()
    assert ledger.missing() == []
    return said


def _sessions_of_roles_that_are_gone(stack: Stack) -> int:
    return int(_psql(stack, "SELECT count(*) FROM pg_stat_activity WHERE usesysid NOT IN (SELECT oid FROM pg_roles)"))


def _healthy(stack: Stack) -> bool:
    stack.assert_healthy()
    return True


def _drawn(cases: Mapping[str, Drift], random_drill: str) -> str:
    """A case: one after the other in an order that the seed decides."""
    seed, _, number = random_drill.partition("-")
    order = random.Random(seed).sample(sorted(cases), len(cases))  # noqa: S311 - to be repeated, not to be secret
    return order[int(number) % len(order)]


def test_one_thing_removed_from_the_host_is_made_again(drilled: Stack, drill_ledger: Ledger, random_drill: str) -> None:
    case = _drawn(ON_THE_HOST, random_drill)
    print(case)
    ON_THE_HOST[case](drilled)
    told = drilled.checkout.toolchain("doctor", stack=drilled.name)
    assert f"is gone from the Docker host. mend: make up STACK={drilled.name}" in told.stdout, told.text
    assert "gone from the Docker host, to be made again: " in _mended(drilled, drill_ledger)


def test_one_thing_changed_inside_a_server_is_set_again(
    drilled: Stack, drill_ledger: Ledger, random_drill: str
) -> None:
    case = _drawn(INSIDE, random_drill)
    print(case)
    INSIDE[case](drilled)
    assert "changed from outside" in _mended(drilled, drill_ledger)


def test_all_but_the_data_removed_at_once_is_made_again(drilled: Stack, drill_ledger: Ledger) -> None:
    _all_but_data(drilled)
    _mended(drilled, drill_ledger)


def test_many_things_changed_inside_the_servers_are_set_again_at_once(drilled: Stack, drill_ledger: Ledger) -> None:
    for case in TOGETHER:
        INSIDE[case](drilled)
    plain = drilled.pulumi("up", "--yes", "--skip-preview", "--non-interactive")
    assert plain.code != 0, plain.text
    assert "mend: make doctor, then make up" in plain.stdout + plain.stderr, plain.text
    assert "changed from outside" in _mended(drilled, drill_ledger)


@pytest.mark.sampled
def test_a_state_that_lost_the_bucket_takes_it_over(drilled: Stack, drill_ledger: Ledger) -> None:
    """A refresh takes a MinIO that is away for one without a bucket."""
    _remove_containers(drilled)
    drilled.pulumi("refresh", "--yes", "--skip-preview", "--non-interactive")  # fails where it asks PostgreSQL
    plain = drilled.pulumi("up", "--yes", "--skip-preview", "--non-interactive")
    assert plain.code != 0, plain.text
    assert "make up" in plain.stdout + plain.stderr, plain.text
    _mended(drilled, drill_ledger)
