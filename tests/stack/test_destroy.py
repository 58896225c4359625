"""`destroy` leaves nothing behind, whatever has become of the servers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.stack.harness import Checkout, Stack, exclusive_images, execute, on_a_terminal, wait_until
from tests.stack.ledger import Ledger


def _stop(*roles: str) -> Callable[[Stack], None]:
    def stop(stack: Stack) -> None:
        for role in roles:
            stack.container(role).stop(timeout=5)

    return stop


def _remove(*roles: str) -> Callable[[Stack], None]:
    def remove(stack: Stack) -> None:
        for role in roles:
            stack.container(role).remove(force=True, v=True)

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
def drill(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory, tag: str) -> Stack:
    """A stack with images of its own: those that the project builds, with a label more. The other steps are cached."""
    own = Checkout(tmp_path_factory.mktemp("destroy") / "checkout")
    for name in ("mlflow", "minio"):
        with (own.root / "images" / name / "Dockerfile").open("a", encoding="utf-8") as dockerfile:
            dockerfile.write(f"LABEL mlflow-stack-tests.run={tag}\n")
    return Stack.prepare(own, f"{tag}d")


def _break_both(stack: Stack) -> None:
    _break_postgres(stack)
    _break_minio(stack)


#: What may have become of the servers, the worst first: `make test` tries that alone, `make soak` all of it.
SPOILED: Mapping[str, Callable[[Stack], None]] = {
    "both stores broken": _break_both,
    "passwords drifted": _drift_passwords,
    "PostgreSQL stopped": _stop("postgres"),
    "MinIO stopped": _stop("minio"),
    "server and gateway removed by hand": _remove("server", "gateway"),
}


@pytest.mark.at_most(len(SPOILED))
def test_destroy_leaves_nothing_whatever_has_become_of_the_servers(
    checkout: Checkout, drill: Stack, random_drill: str
) -> None:
    case = list(SPOILED)[int(random_drill.partition("-")[2]) % len(SPOILED)]
    print(case)
    drill.up().ok()
    drill.assert_no_changes()
    images = exclusive_images(drill)
    assert len(images) == 2, f"MLflow's and MinIO's are this stack's alone: {images}"
    SPOILED[case](drill)
    drill.destroy().ok()
    drill.assert_nothing_left(images=images)


def test_a_protected_stack_is_kept_whole_until_it_is_let_go_on_purpose(spare: Stack) -> None:
    spare.configure(dataProtection="true")
    try:
        spare.up().ok()
        before = spare.inventory()
        refused = spare.destroy()
        assert refused.code == 2, refused.text
        assert "dataProtection: true: keeps the data of stack" in refused.stderr
        plain = spare.pulumi("destroy", "--yes", "--skip-preview", "--non-interactive")
        assert plain.code != 0, plain.text
        assert "kept-until-dataProtection-is-false" in plain.stdout + plain.stderr, "no way to do it on purpose"
        for key, value in (("bucketName", "another"), ("databaseName", "another")):
            spare.configure(**{key: value})
            renamed = spare.up()
            assert renamed.code == 2, renamed.text
            assert f"{key}: {value}: is fixed once the stack is up" in renamed.stderr
            assert f"mend: pulumi config set {key} mlflow" in renamed.stderr
            spare.forget(key)
        urns = spare.pulumi("stack", "--show-urns").ok().stdout.split()
        (volume,) = {urn for urn in urns if urn.endswith("Volume::postgres-data")}
        replaced = spare.pulumi("up", "--yes", "--skip-preview", "--non-interactive", "--replace", volume)
        assert replaced.code != 0, replaced.text
        assert spare.inventory() == before, "a refused destroy deleted something"
        spare.assert_healthy()
        spare.assert_no_changes()
    finally:
        # What the first line of the refusal says; the fixture's end is the destroy on purpose.
        spare.configure(dataProtection="false")
        spare.up().ok()


def test_a_client_on_the_network_that_is_there_for_it_keeps_the_stack_whole(spare: Stack) -> None:
    network, image = f"mlflow-{spare.name}-front", spare.outputs["images"]["server"]
    before = spare.inventory()
    client = spare.client.containers.run(image, ["900"], entrypoint=["sleep"], network=network, detach=True)
    try:
        refused = spare.destroy()
        assert refused.code == 2, refused.text
        assert f"destroy: {spare.name}: container {client.name} uses network {network}; " in refused.stderr, (
            refused.text
        )
        assert (
            f"nothing was touched. mend: docker rm -f {client.name} && make destroy STACK={spare.name}"
            in refused.stderr
        )
        assert spare.inventory() == before
        spare.assert_healthy()
    finally:
        client.remove(force=True)


def test_a_destroy_that_is_interrupted_keeps_the_data_and_up_brings_the_stack_back_with_it(spare: Stack) -> None:
    ledger = Ledger(spare.tracking_uri)
    ledger.log(2)
    with spare.checkout.started("destroy", "--yes", stack=spare.name) as working:
        wait_until(lambda: "Container server deleting" in working.output(), "the server's container is being stopped")
        working.interrupt()
        code, said = working.wait(120), working.output()
    print(said)
    assert code == 1, said
    assert f"destroy: {spare.name}: was interrupted, and stopped where it was; left: " in said, said
    assert f"; the data is whole. mend: make destroy STACK={spare.name}, which finishes it; make up" in said, said
    data = {f"mlflow-{spare.name}-{store}-data" for store in ("postgres", "minio")}
    assert data <= spare.inventory().volumes, said
    spare.up().ok()
    spare.assert_healthy()
    spare.assert_no_changes()
    assert ledger.missing() == []


@pytest.mark.sampled
def test_on_a_terminal_a_backup_is_offered_and_a_wrong_name_keeps_the_stack(spare: Stack, tmp_path: Path) -> None:
    answers = f"{tmp_path / 'sets'}\nnot its name\n"
    code, said = on_a_terminal(spare, "destroy", answers)
    assert code == 2, said
    assert re.search(r"this deletes \d+ runs and \d.* of artifacts, for good", said), said
    assert "A backup first? Type a folder for it, or nothing for none:" in said
    assert re.search(r"^backup +\S+ in ", said, re.MULTILINE), said
    assert list((tmp_path / "sets" / "sets").glob("*/manifest.json")), "the backup was made"
    assert f"destroy: {spare.name}: was not confirmed; nothing was touched" in said
    spare.assert_healthy()
