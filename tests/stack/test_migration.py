"""A migration that fails: `up` says why, the next one tries again, and nothing serves on a wrong schema."""

from __future__ import annotations

import requests

from tests.stack.harness import Stack, execute, wait_until

UNKNOWN = "0123456789ab"


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


def test_a_failed_migration_is_said_tried_again_and_never_served(spare: Stack) -> None:
    good = _sql(spare, "SELECT version_num FROM alembic_version")
    assert _serves(spare)

    # The server alone, started on a schema that is not its own.
    _set_revision(spare, UNKNOWN)
    server = spare.container("server")
    server.restart(timeout=5)
    wait_until(
        lambda: UNKNOWN in bytes(spare.container("server").logs(tail=20)).decode(),
        "a line of the server that names the wrong revision",
    )
    assert not _serves(spare), "the server serves on a revision that is not its own"

    # A revision of a later MLflow is seen before anything is touched.
    for command in ("preview", "up"):
        refused = spare.checkout.toolchain(command, stack=spare.name)
        assert refused.code == 2, refused.text
        assert UNKNOWN in refused.stderr

    # A new owner's password makes the job run again, and it may not read what it looks at first.
    _set_revision(spare, good)
    _sql(spare, "REVOKE SELECT ON alembic_version FROM mlflowowner")
    fresh = "another-owner-password-1"
    spare.pulumi("config", "set", "--secret", "postgresOwnerPassword", stdin=fresh).ok()
    attempts: list[str] = []
    for _ in range(2):
        failed = spare.up()
        assert failed.code == 1, f"a failed migration must fail the up\n{failed.text}"
        assert "permission denied" in failed.stdout + failed.stderr, f"the reason is not said\n{failed.text}"
        assert "migration" in failed.stderr, failed.text
        attempts.append(str(spare.container("migration").id))
    assert len(set(attempts)) == 2, "the second up did not try the migration again"

    _sql(spare, "GRANT SELECT ON alembic_version TO mlflowowner")
    spare.up().ok()
    assert _sql(spare, "SELECT version_num FROM alembic_version") == good
    spare.assert_healthy()
    assert _serves(spare), "the stack does not serve after the migration went well"
