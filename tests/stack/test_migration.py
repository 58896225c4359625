"""A migration that fails: `up` says why, the next one tries again, and nothing serves on a wrong schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.stack.harness import Checkout, Stack, deployed, execute, wait_until

UNKNOWN = "0123456789ab"


@pytest.fixture(scope="module")
def migrated(stack: Stack, checkout: Checkout, tag: str) -> Iterator[Stack]:
    """A stack of its own, since its schema is spoilt."""
    with deployed(checkout, f"{tag}m") as own:
        yield own


def _sql(stack: Stack, statement: str) -> str:
    command = ["psql", "-U", "postgres", "-d", "mlflow", "-At", "-c", statement]
    return execute(stack.container("postgres"), command).strip()


def _set_revision(stack: Stack, revision: str) -> None:
    _sql(stack, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 - our own text


def _serves(stack: Stack) -> bool:
    try:
        answer = requests.post(
            f"{stack.tracking_uri}/api/2.0/mlflow/experiments/search", json={"max_results": 1}, timeout=5
        )
    except requests.RequestException:
        return False
    return answer.status_code == 200


def test_a_failed_migration_is_said_tried_again_and_never_served(migrated: Stack) -> None:
    good = _sql(migrated, "SELECT version_num FROM alembic_version")
    assert _serves(migrated)

    # The server alone, started on a schema that is not its own.
    _set_revision(migrated, UNKNOWN)
    server = migrated.container("server")
    server.restart(timeout=5)
    wait_until(
        lambda: UNKNOWN in bytes(migrated.container("server").logs(tail=20)).decode(),
        "a line of the server that names the wrong revision",
    )
    assert not _serves(migrated), "the server serves on a revision that is not its own"

    # A revision of a later MLflow is seen before anything is touched.
    for command in ("preview", "up"):
        refused = migrated.checkout.toolchain(command, stack=migrated.name)
        assert refused.code == 2, refused.text
        assert UNKNOWN in refused.stderr

    # A new owner's password makes the job run again, and it may not read what it looks at first.
    _set_revision(migrated, good)
    _sql(migrated, "REVOKE SELECT ON alembic_version FROM mlflowowner")
    fresh = "another-owner-password-1"
    migrated.pulumi("config", "set", "--secret", "postgresOwnerPassword", stdin=fresh).ok()
    attempts: list[str] = []
    for _ in range(2):
        failed = migrated.up()
        assert failed.code == 1, f"a failed migration must fail the up\n{failed.text}"
        assert "permission denied" in failed.stdout + failed.stderr, f"the reason is not said\n{failed.text}"
        assert "migration" in failed.stderr, failed.text
        assert not _serves(migrated), "the server serves beside a failed migration"
        attempts.append(str(migrated.container("migration").id))
    assert len(set(attempts)) == 2, "the second up did not try the migration again"

    _sql(migrated, "GRANT SELECT ON alembic_version TO mlflowowner")
    migrated.up().ok()
    assert _sql(migrated, "SELECT version_num FROM alembic_version") == good
    migrated.assert_healthy()
    assert _serves(migrated), "the stack does not serve after the migration went well"
