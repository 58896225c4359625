"""`destroy` leaves nothing behind, whatever has become of the servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stack.harness import Checkout, Stack, exclusive_images, execute, wait_until


def _stop(*roles: str) -> Callable[[Stack], None]:
    def stop(stack: Stack) -> None:
        for role in roles:
            stack.container(role).stop(timeout=5)

    return stop


def _remove(*roles: str) -> Callable[[Stack], None]:
    def remove(stack: Stack) -> None:
        for role in roles:
            stack.container(role).remove(force=True)

    return remove


def _break_postgres(stack: Stack) -> None:
    """Take away the file without which PostgreSQL does not start, and let it try."""
    postgres = stack.container("postgres")
    execute(postgres, ["sh", "-c", "rm $(find /var/lib/postgresql -name pg_control)"])
    postgres.kill()
    postgres.start()
    wait_until(
        lambda: (
            stack.container("postgres").attrs["State"]["Status"] != "running"
            or stack.container("postgres").attrs["State"]["Health"]["Status"] != "healthy"
        ),
        "PostgreSQL without its control file",
    )


def _break_minio(stack: Stack) -> None:
    """Spoil MinIO's own configuration, and let it try."""
    minio = stack.container("minio")
    execute(minio, ["sh", "-c", "echo broken > /data/.minio.sys/format.json"])
    minio.kill()
    minio.start()
    wait_until(
        lambda: (
            stack.container("minio").attrs["State"]["Status"] != "running"
            or stack.container("minio").attrs["State"]["Health"]["Status"] != "healthy"
        ),
        "MinIO without its configuration",
    )


def _drift_passwords(stack: Stack) -> None:
    """Change PostgreSQL's from inside, and MinIO's in the stack's config alone."""
    execute(
        stack.container("postgres"),
        ["psql", "-U", "postgres", "-c", "ALTER ROLE postgres PASSWORD 'something-else-altogether'"],
    )
    stack.pulumi("config", "set", "--secret", "minioRootPassword", stdin="another-password-nobody-knows").ok()


@pytest.fixture(scope="module")
def drill(stack: Stack, checkout: Checkout, tag: str) -> Stack:
    """A stack beside the shared one, whose images it uses: no image is built, and none may be taken."""
    return Stack.prepare(checkout, f"{tag}d")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_stop("postgres"), id="PostgreSQL stopped"),
        pytest.param(_stop("minio"), id="MinIO stopped"),
        pytest.param(_remove("server", "gateway"), id="server and gateway removed by hand"),
        pytest.param(lambda stack: (_break_postgres(stack), _break_minio(stack)), id="both stores broken"),
        pytest.param(_drift_passwords, id="passwords drifted"),
    ],
)
def test_destroy_leaves_nothing_with(stack: Stack, drill: Stack, spoil: Callable[[Stack], object]) -> None:
    drill.up().ok()
    drill.assert_no_changes()
    images = exclusive_images(drill)
    spoil(drill)
    drill.destroy().ok()
    drill.assert_nothing_left(images=images)
    stack.assert_healthy()


def test_a_protected_stack_is_kept_whole_until_it_is_let_go_on_purpose(checkout: Checkout, tag: str) -> None:
    kept = Stack.prepare(checkout, f"{tag}kept", dataProtection="true")
    try:
        kept.up().ok()
        before = kept.inventory()
        refused = kept.destroy()
        assert refused.code == 2, refused.text
        assert "dataProtection: true: keeps the data of stack" in refused.stderr
        plain = kept.pulumi("destroy", "--yes", "--skip-preview", "--non-interactive")
        assert plain.code != 0, plain.text
        assert "kept-until-dataProtection-is-false" in plain.stdout + plain.stderr, "no way to do it on purpose"
        for key, value in (("bucketName", "another"), ("databaseName", "another")):
            kept.configure(**{key: value})
            renamed = kept.up()
            assert renamed.code == 2, renamed.text
            assert f"{key}: {value}: is fixed once the stack is up" in renamed.stderr
            assert f"mend: pulumi config set {key} mlflow" in renamed.stderr
            kept.forget(key)
        urns = kept.pulumi("stack", "--show-urns").ok().stdout.split()
        (volume,) = {urn for urn in urns if urn.endswith("Volume::postgres-data")}
        replaced = kept.pulumi("up", "--yes", "--skip-preview", "--non-interactive", "--replace", volume)
        assert replaced.code != 0, replaced.text
        assert kept.inventory() == before, "a refused destroy deleted something"
        kept.assert_healthy()
        kept.assert_no_changes()
        # What the first line says: on purpose it goes.
    finally:
        kept.configure(dataProtection="false")
        kept.up().ok()
        kept.destroy().ok()
    kept.assert_nothing_left()
