"""`up` after an interruption, `destroy`, and their exit codes: the real commands on a program of four objects."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from tests.stack.harness import Checkout, Result, inventory, wait_until
from toolchain.docker_objects import LOOK

STACK = "heal"
NAME = f"mlflow-{STACK}-server"

PROGRAM = """
import os
import pulumi
import pulumi_docker as docker

stack = pulumi.get_stack()
labels = {"mlflow-stack.project": "mlflow-stack", "mlflow-stack.role": "server", "mlflow-stack.stack": stack}
if os.environ.get("TRY_REFUSE"):
    raise pulumi.RunError("workers: 0: must be 1 or more. mend: pulumi config set workers 1")
mine = pulumi.ResourceOptions(provider=docker.Provider("docker"))
network = docker.Network(
    "network", name=f"mlflow-{stack}-app", opts=mine,
    labels=[docker.NetworkLabelArgs(label=k, value=v) for k, v in labels.items()],
)
volume = docker.Volume(
    "server-files", name=f"mlflow-{stack}-server-files", opts=mine,
    labels=[docker.VolumeLabelArgs(label=k, value=v) for k, v in labels.items()],
)
data = docker.Volume(
    "minio-data", name=f"mlflow-{stack}-minio-data", opts=mine,
    labels=[docker.VolumeLabelArgs(label=k, value=v) for k, v in labels.items()],
)
if os.environ.get("TRY_FAIL"):
    raise pulumi.RunError("half-way: on purpose")
container = docker.Container(
    "server", name=f"mlflow-{stack}-server", image="IMAGE", opts=mine,
    command=["sh", "-c", "sleep $(cat /run/mlflow-stack/late); touch /tmp/ready; exec sleep 900"],
    uploads=[docker.ContainerUploadArgs(file="/run/mlflow-stack/late", content=os.environ.get("TRY_LATE", "0"))],
    volumes=[docker.ContainerVolumeArgs(container_path="/run/mlflow-stack", volume_name=volume.name)],
    networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=network.name)],
    labels=[docker.ContainerLabelArgs(label=k, value=v) for k, v in labels.items()],
    healthcheck=docker.ContainerHealthcheckArgs(
        tests=["CMD-SHELL", "test -e /tmp/ready"], interval="1s", timeout="5s", start_period="0s", retries=60
    ),
    wait=True, wait_timeout=60, destroy_grace_seconds=1,
)
pulumi.export("trackingUri", "http://localhost:1")
"""


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return docker.from_env()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, built: Mapping[str, str]) -> Checkout:
    """A copy of the project whose program makes four objects, with its credentials."""
    folder = tmp_path_factory.mktemp("heal") / "template"
    folder.mkdir()
    copy = Checkout(folder)
    (folder / "__main__.py").write_text(PROGRAM.replace("IMAGE", built["debianImage"]), encoding="utf-8")
    copy.toolchain("init", stack=STACK).ok()
    return copy


@pytest.fixture
def checkout(tmp_path: Path, template: Checkout, client: docker.DockerClient) -> Iterator[Checkout]:
    """A fresh checkout for the test; its objects end with it."""
    clear(client)
    copy = copied(template, tmp_path / "checkout")
    yield copy
    clear(client)


@dataclass
class Standing:
    """The checkout whose stack the last test has left up.

    Attributes:
        checkout: None before the first.
        failures: How many tests had failed by then: one that failed since may have left anything.
    """

    checkout: Checkout | None = None
    failures: int = 0


@pytest.fixture(scope="module")
def kept(client: docker.DockerClient) -> Iterator[Standing]:
    yield Standing()
    clear(client)


@pytest.fixture
def standing(
    request: pytest.FixtureRequest,
    template: Checkout,
    kept: Standing,
    client: docker.DockerClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Checkout:
    """A checkout whose stack is up and expects no changes: that of the test before, which has left it so."""
    if kept.checkout is None or kept.failures != request.session.testsfailed or not running(client):
        clear(client)
        kept.checkout = copied(template, tmp_path_factory.mktemp("standing") / "checkout")
        up(kept.checkout).ok()
    kept.failures = request.session.testsfailed
    return kept.checkout


@pytest.fixture
def beside(client: docker.DockerClient, built: Mapping[str, str]) -> Iterator[Callable[..., Container]]:
    """Makes a container that is not the stack's; those that are still there go with the test."""
    made: list[Container] = []

    def make(**options: Any) -> Container:
        made.append(client.containers.create(built["debianImage"], ["sleep", "900"], **options))
        return made[-1]

    yield make
    for container in made:
        with suppress(docker.errors.NotFound):
            container.remove(force=True)


def copied(checkout: Checkout, folder: Path) -> Checkout:
    shutil.copytree(checkout.root, folder, symlinks=True)
    copy = object.__new__(Checkout)
    copy.__dict__ |= checkout.__dict__ | {"root": folder, "transcript": folder.with_name(f"{folder.name}.txt")}
    return copy


def clear(client: docker.DockerClient) -> None:
    mine: dict[str, str | list[str] | bool] = {"label": f"mlflow-stack.stack={STACK}"}
    for container in client.containers.list(all=True, filters=mine):
        container.remove(force=True, v=True)
    for network in client.networks.list(filters=mine):
        network.remove()
    for volume in client.volumes.list(filters=mine):
        volume.remove()


def up(checkout: Checkout, **environment: str) -> Result:
    return checkout.toolchain("up", stack=STACK, environment=environment)


def begin(checkout: Checkout, *, late: int) -> subprocess.Popen[str]:
    """Start an `up` whose container gets healthy after some seconds."""
    return subprocess.Popen(
        ["./mlflow-stack", "up", "--stack", STACK],
        cwd=checkout.root,
        env={**checkout.environment, "TRY_LATE": str(late)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_at_work(checkout: Checkout, client: docker.DockerClient) -> None:
    """Kill an `up` and its engine while the container is being made."""
    working = begin(checkout, late=300)
    wait_until(lambda: running(client) or working.poll() is not None, "the container runs", 120)
    assert working.poll() is None, working.communicate()[0]
    os.killpg(working.pid, signal.SIGKILL)
    working.wait()


def running(client: docker.DockerClient) -> bool:
    found = client.api.containers(filters={"name": f"^/{NAME}$", "status": "running"})
    return len(found) == 1


def settled(checkout: Checkout) -> None:
    environment = checkout.pulumi_environment(STACK)
    checkout.run("pulumi", "preview", "--expect-no-changes", "--stack", STACK, environment=environment).ok()


def test_what_a_killed_run_left_half_made_is_made_again(checkout: Checkout, client: docker.DockerClient) -> None:
    kill_at_work(checkout, client)
    half_made = client.containers.get(NAME).id
    told = checkout.toolchain("doctor", stack=STACK)
    assert told.code == 1
    assert "whose process is gone. mend: make up" in told.stdout, told.text
    assert f"{NAME}: was interrupted while creating. mend: make up" in told.stdout, told.text

    healed = up(checkout).ok()
    assert "which is gone, was removed" in healed.stderr, healed.text
    assert f"{NAME}: half made, removed" in healed.stderr, healed.text
    assert client.containers.get(NAME).id != half_made
    settled(checkout)
    checkout.toolchain("destroy", "--yes", stack=STACK).ok()
    assert inventory(client, STACK).is_empty


def test_a_killed_run_can_be_destroyed_straight_away(checkout: Checkout, client: docker.DockerClient) -> None:
    kill_at_work(checkout, client)
    checkout.toolchain("destroy", "--yes", stack=STACK).ok()
    assert inventory(client, STACK).is_empty
    up(checkout).ok()


@pytest.mark.parametrize("removed", ["container", "network too", "volume too"])
def test_what_was_removed_by_hand_is_made_again_in_one_pass(
    standing: Checkout, client: docker.DockerClient, removed: str
) -> None:
    client.containers.get(NAME).remove(force=True, v=True)
    if removed == "network too":
        client.networks.list(names=[f"mlflow-{STACK}-app"])[0].remove()
    if removed == "volume too":
        client.volumes.get(f"mlflow-{STACK}-server-files").remove()
    healed = up(standing).ok()
    assert "gone from the Docker host, to be made again" in healed.stderr, healed.text
    assert client.containers.get(NAME).attrs["State"]["Health"]["Status"] == "healthy"
    settled(standing)


def test_a_volume_with_data_is_replaced_by_an_empty_one_on_purpose_only(
    standing: Checkout, client: docker.DockerClient
) -> None:
    name = f"mlflow-{STACK}-minio-data"
    client.volumes.get(name).remove()
    told = standing.toolchain("doctor", stack=STACK)
    refused = up(standing)
    assert refused.code == 2, refused.text
    line = f"volume: {name}: is gone from the Docker host, and what was in it with it. mend: put the volume back; or, "
    assert line in refused.stderr, refused.text
    assert f"volume: {name}: is gone from the Docker host, with what was in it" in told.stdout, told.text
    assert name not in inventory(client, STACK).volumes
    on_purpose = refused.stderr.partition("to go on with an empty one: ")[2].partition(" && make up")[0]
    subprocess.run(on_purpose.split(), check=True)
    up(standing).ok()
    settled(standing)


def test_a_container_that_no_stack_made_is_never_removed(standing: Checkout, client: docker.DockerClient) -> None:
    original = client.containers.get(NAME)
    original.remove(force=True, v=True)
    foreign = client.containers.create(original.attrs["Config"]["Image"], ["sleep", "1"], name=NAME)
    try:
        refused = up(standing)
        assert refused.code == 2, refused.text
        assert f"mend: docker rm -f {NAME}" in refused.stderr, refused.text
        foreign.reload()
    finally:
        foreign.remove(force=True, v=True)
    up(standing).ok()


def test_one_made_by_hand_in_its_place_gives_way(standing: Checkout, client: docker.DockerClient) -> None:
    original = client.containers.get(NAME)
    original.remove(force=True, v=True)
    labels = original.labels
    client.containers.create(original.attrs["Config"]["Image"], ["sleep", "1"], name=NAME, labels=labels)
    up(standing).ok()
    assert client.containers.get(NAME).attrs["State"]["Health"]["Status"] == "healthy"
    settled(standing)


def test_a_stack_of_the_same_name_in_another_checkout_is_left_alone(
    standing: Checkout, template: Checkout, client: docker.DockerClient, tmp_path: Path
) -> None:
    theirs = client.containers.get(NAME).id
    other = copied(template, tmp_path / "other")
    refused = up(other)
    assert refused.code == 2, refused.text
    assert f"container: {NAME}: belongs to a stack {STACK} that this state does not know" in refused.stderr
    assert ". mend: make up STACK=another-name" in refused.stderr
    destroyed = other.toolchain("destroy", "--yes", stack=STACK)
    assert destroyed.code == 2, destroyed.text
    assert "bear its labels, but this state does not know them" in destroyed.stderr, destroyed.text
    assert client.containers.get(NAME).id == theirs, "the other checkout's container"
    assert client.volumes.get(f"mlflow-{STACK}-server-files")


def test_a_stack_that_was_renamed_is_left_as_it_was(standing: Checkout, client: docker.DockerClient) -> None:
    before = inventory(client, STACK)
    environment = standing.pulumi_environment(STACK)
    standing.run("pulumi", "stack", "rename", "other", "--stack", STACK, environment=environment).ok()
    refused = standing.toolchain("up", stack="other")
    assert refused.code == 2, refused.text
    assert f"mend: pulumi stack rename {STACK} --stack other" in refused.stderr, refused.text
    assert inventory(client, STACK) == before
    standing.run("pulumi", "stack", "rename", STACK, "--stack", "other", environment=environment).ok()
    up(standing).ok()
    settled(standing)


@pytest.mark.parametrize(
    ("file", "plainly"),
    [
        (f"stacks/mlflow-stack/{STACK}.json.attrs", "failed to load checkpoint: EOF"),
        (f"locks/organization/mlflow-stack/{STACK}/1.json.2.tmp", "unexpected end of JSON input"),
    ],
    ids=["what is noted of the state", "a lock"],
)
def test_what_a_killed_run_left_half_written_is_told_and_removed(standing: Checkout, file: str, plainly: str) -> None:
    environment = standing.pulumi_environment(STACK)
    path = standing.root / ".local" / "state" / ".pulumi" / file
    path.write_bytes(b"")
    up_plainly = ("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", STACK)
    failed = standing.run(*up_plainly, environment=environment)
    assert failed.code != 0, failed.text
    assert plainly in failed.stdout + failed.stderr, failed.text
    told = standing.toolchain("doctor", stack=STACK)
    assert f"{path.name}: was left half written by a killed run. mend: make up STACK={STACK}" in told.stdout, told.text
    mended = up(standing).ok()
    assert f"state: {path.name}, which a killed run left half written, was removed" in mended.stderr, mended.text
    settled(standing)


def test_credentials_of_a_deployed_stack_are_never_made_up(standing: Checkout) -> None:
    file = standing.root / f"Pulumi.{STACK}.yaml"
    kept = file.read_text(encoding="utf-8")
    file.write_text(kept.partition("config:")[0], encoding="utf-8")
    refused = up(standing)
    assert refused.code == 2, refused.text
    assert f"credentials: Pulumi.{STACK}.yaml: holds none, but the stack is deployed" in refused.stderr, refused.text
    file.write_text(kept, encoding="utf-8")
    up(standing).ok()


def test_destroy_wants_a_yes(standing: Checkout, client: docker.DockerClient) -> None:
    before = inventory(client, STACK)
    asked = standing.toolchain("destroy", stack=STACK)
    assert asked.code == 2, asked.text
    assert "this deletes" in asked.stderr, "it says what will be lost"
    assert f"mend: make destroy STACK={STACK} YES=1" in asked.stderr
    assert inventory(client, STACK) == before
    standing.make("destroy", f"STACK={STACK}", "YES=1").ok()
    assert inventory(client, STACK).is_empty
    again = standing.toolchain("destroy", "--yes", stack=STACK).ok()
    assert "nothing of it is there" in again.stderr, again.text


@pytest.mark.sampled
@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-C twice", "kill"])
def test_a_destroy_that_is_interrupted_stops_where_it_is(
    standing: Checkout, client: docker.DockerClient, how: str
) -> None:
    data = f"mlflow-{STACK}-minio-data"
    with standing.started("destroy", "--yes", stack=STACK) as working:
        wait_until(lambda: "server deleting" in working.output(), "its container is being stopped")
        if how == "kill":
            os.kill(working.process.pid, signal.SIGTERM)  # the shell script became the command
        else:
            working.interrupt()
        if how == "Ctrl-C twice":
            wait_until(lambda: "cancel" in working.output().lower(), "the engine has taken note of the first")
            working.interrupt()
        code, said = working.wait(120), working.output()
    assert code == 1, said
    assert f"destroy: {STACK}: was interrupted, and stopped where it was; left: " in said, said
    assert f"mend: make destroy STACK={STACK}, which finishes it; make up STACK={STACK} " in said, said
    assert "is gone; its settings" not in said, said
    assert "removed:" not in said, f"something was swept\n{said}"
    gone = said.partition("; gone, with what was in it: ")[2].partition(". mend: ")[0].split(", ")
    assert (data in inventory(client, STACK).volumes) is (data not in gone), said
    assert f"mlflow-{STACK}-postgres-data" in gone, "this program has none"
    if how == "kill":
        standing.toolchain("destroy", "--yes", stack=STACK).ok()
        assert inventory(client, STACK).is_empty
    up(standing).ok()
    settled(standing)


def test_a_destroy_is_refused_while_others_use_what_would_go(
    standing: Checkout, client: docker.DockerClient, beside: Callable[..., Container]
) -> None:
    network, data = f"mlflow-{STACK}-app", f"mlflow-{STACK}-minio-data"
    before = inventory(client, STACK)
    user, keeper = beside(network=network), beside(volumes=[f"{data}:/data"])
    user.start()
    refused = standing.toolchain("destroy", "--yes", stack=STACK)
    assert refused.code == 2, refused.text
    assert f"container {user.name} uses network {network}; " in refused.stderr, refused.text
    assert f"container {keeper.name} uses volume {data}; " in refused.stderr, refused.text
    assert "nothing was touched. mend: docker rm -f " in refused.stderr, refused.text
    assert f"docker network disconnect {network} {user.name}" in refused.stderr, refused.text
    assert inventory(client, STACK) == before
    assert running(client)
    keeper.remove()
    client.networks.get(network).disconnect(user)
    standing.toolchain("destroy", "--yes", stack=STACK).ok()
    assert inventory(client, STACK).is_empty


@pytest.mark.sampled
def test_a_destroy_says_who_holds_what_it_could_not_remove_and_ends_well_the_next_time(
    standing: Checkout, client: docker.DockerClient, beside: Callable[..., Container]
) -> None:
    network, data = f"mlflow-{STACK}-app", f"mlflow-{STACK}-minio-data"
    labels = {"mlflow-stack.role": LOOK}  # taken for one that is about to be gone, and stays
    keeper = beside(network=network, volumes=[f"{data}:/data"], labels=labels)
    keeper.start()
    failed = standing.toolchain("destroy", "--yes", stack=STACK)
    assert failed.code == 1, failed.text
    assert f"container {keeper.name} uses network {network} and volume {data}. mend: " in failed.stderr, failed.text
    assert f"mend: docker rm -f {keeper.name} && make destroy STACK={STACK}" in failed.stderr, failed.text
    assert "is gone; its settings" not in failed.stderr, failed.text
    left = inventory(client, STACK)
    assert (left.containers, left.networks, left.volumes) == (frozenset(), {network}, {data}), left
    keeper.remove(force=True)
    again = standing.toolchain("destroy", "--yes", stack=STACK).ok()
    assert "is gone; its settings" in again.stderr, again.text
    assert inventory(client, STACK).is_empty


def test_a_network_that_was_left_behind_is_named_with_the_line_that_removes_it(
    checkout: Checkout, client: docker.DockerClient, beside: Callable[..., Container]
) -> None:
    name = f"mlflow-{STACK}-app"
    labels = {"mlflow-stack.project": "mlflow-stack", "mlflow-stack.role": "network", "mlflow-stack.stack": STACK}
    network, user = client.networks.create(name, labels=labels), beside(network=name)
    user.start()
    refused = up(checkout)
    assert refused.code == 2, refused.text
    assert f"network: {name}: belongs to a stack {STACK} that this state does not know" in refused.stderr, refused.text
    assert f"docker rm -f {user.name} && docker network rm {name}" in refused.stderr, refused.text
    user.remove(force=True)
    network.remove()
    up(checkout).ok()


def test_a_terminal_is_asked_for_the_name(standing: Checkout, client: docker.DockerClient) -> None:
    assert answer(standing, "y") == 2, "a mere yes is not the name"
    assert running(client)
    assert answer(standing, STACK) == 0
    assert inventory(client, STACK).is_empty


def answer(checkout: Checkout, text: str) -> int:
    """Run `destroy` on a terminal and type something; its exit code."""
    ours, theirs = os.openpty()
    os.write(ours, f"{text}\n".encode())
    command = ["./mlflow-stack", "destroy", "--stack", STACK]
    done = subprocess.run(command, cwd=checkout.root, env=checkout.environment, stdin=theirs, check=False, timeout=120)
    os.close(theirs)
    os.close(ours)
    return done.returncode


def test_exit_codes_tell_a_refusal_from_a_failure(checkout: Checkout, client: docker.DockerClient) -> None:
    refused = up(checkout, TRY_REFUSE="1")
    assert refused.code == 2, refused.text
    assert refused.stderr.rstrip().endswith("workers: 0: must be 1 or more. mend: pulumi config set workers 1")
    assert inventory(client, STACK).is_empty
    assert checkout.toolchain("preview", stack=STACK, environment={"TRY_REFUSE": "1"}).code == 2
    failed = up(checkout, TRY_FAIL="1")
    assert failed.code == 1, failed.text
    assert not inventory(client, STACK).is_empty, "it had begun"
    up(checkout).ok()
    assert up(checkout, TRY_REFUSE="1").code == 2, "a refusal of a stack that is up"


def test_a_request_to_end_is_handed_on_and_leaves_things_in_order(
    checkout: Checkout, client: docker.DockerClient
) -> None:
    working = begin(checkout, late=4)
    wait_until(lambda: running(client), "the container runs", 120)
    os.kill(working.pid, signal.SIGTERM)  # the shell script became the command
    said = working.communicate(timeout=120)[0]
    assert working.returncode == 1, said
    assert not list((checkout.root / ".local" / "state").rglob("locks/**/*.json")), "it let go of the lock"
    up(checkout).ok()
    settled(checkout)


def test_status_logs_and_doctor_tell_what_there_is(checkout: Checkout, client: docker.DockerClient) -> None:
    nothing = checkout.toolchain("status", stack=STACK)
    assert nothing.code == 1
    assert f"To bring it up: make up STACK={STACK}" in nothing.stdout, nothing.text
    up(checkout).ok()
    well = checkout.toolchain("status", stack=STACK).ok().stdout
    assert re.search(rf"^  server +healthy +{NAME} ", well, re.MULTILINE), well
    assert "trackingUri" in well

    assert checkout.make("logs", f"STACK={STACK}", "ROLE=server").ok().stdout == "", "a program that says nothing"
    wrong = checkout.toolchain("logs", "--role", "cook", stack=STACK)
    assert wrong.code == 2
    assert "ROLE: cook: must be one of gateway, server, gc, migration, minio, postgres, backup. mend: " in wrong.stderr
    absent = checkout.toolchain("logs", "--role", "minio", stack=STACK)
    assert absent.code == 2
    assert "ROLE: minio: stack heal has no such container (there: server)" in absent.stderr

    client.containers.get(NAME).kill()
    ill = checkout.toolchain("status", stack=STACK)
    assert ill.code == 1
    assert f"not well: server. mend: make doctor STACK={STACK}" in ill.stdout, ill.text
    told = checkout.toolchain("doctor", stack=STACK)
    assert told.code == 1
    assert re.search(
        rf"^server: exited \(137\): .*mend: make logs ROLE=server STACK={STACK}", told.stdout, re.MULTILINE
    )
    assert "ok: Docker engine" in told.stdout, told.text
    assert "credentials are set in Pulumi.heal.yaml" in told.stdout, told.text

    healed = up(checkout).ok()
    assert "starting what was stopped: server" in healed.stderr, healed.text
    assert checkout.toolchain("status", stack=STACK).code == 0


def lock(checkout: Checkout, pid: int, host: str, when: datetime) -> Path:
    folder = checkout.root / ".local" / "state" / ".pulumi" / "locks" / "organization" / "mlflow-stack" / STACK
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "11111111-2222-3333-4444-555555555555.json"
    held = {"pid": pid, "username": "root", "hostname": host, "timestamp": when.isoformat()}
    path.write_text(json.dumps(held), encoding="utf-8")
    return path


def test_only_the_lock_of_a_process_that_is_gone_is_removed(checkout: Checkout) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    now = datetime.now(UTC)
    here = socket.gethostname()
    for pid, host, when, stale in (
        (ended.pid, here, now, True),
        (os.getpid(), here, datetime(2020, 1, 1, tzinfo=UTC), True),  # a later process has the same id
        (os.getpid(), here, now, False),
        (ended.pid, "another-machine", now, False),
    ):
        path = lock(checkout, pid, host, when)
        result = checkout.toolchain("preview", stack=STACK)
        assert path.exists() is not stale, result.text
        if not stale:
            assert result.code == 2, result.text
            assert f"stack {STACK}: locked by process {pid} on {host}" in result.stderr
            assert ". mend: wait for it to end" in result.stderr
        path.unlink(missing_ok=True)
