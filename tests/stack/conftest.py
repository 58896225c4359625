"""What the tests of the real stack share: one stack for most of them, a client's run on it, a browser."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from components.builds import base_images, minio_build, mlflow_build
from components.settings import Settings
from tests import images
from tests.stack.harness import REPOSITORY, Checkout, Stack, deployed
from tests.stack.ledger import PACE, Ledger
from tests.stack.small_disk import SmallDisk, put_data_on, small_disk
from tests.stack.soak_report import SoakReport

if TYPE_CHECKING:
    from tests.stack.secure import Secure

SUITE = Path(__file__).with_name("client_suite.py")

#: MiB of an artifact that MLflow's client moves in parts: from 500 on. One client in `make test` moves a whole GiB.
LARGE_MIB = 501


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    parser.addoption(
        "--update-screenshots",
        action="store_true",
        help="write the screenshots to docs/screenshots instead of a temporary folder",
    )
    parser.addoption("--large-mib", type=int, default=640, help="size of the artifact that is streamed over HTTPS")
    parser.addoption("--upgrades", action="store_true", help="the upgrades, too, that take minutes: from 2.x, killed")
    parser.addoption("--drill-seed", type=int, default=1, help="what the random drills depend on")
    parser.addoption("--drills", type=int, default=1, help="how many random drills of each kind")
    parser.addoption("--soak-report", help="where to write how the drills ended, as a table")
    parser.addoption("--still-seconds", type=int, default=5, help="how long a store stands still in a drill")
    parser.addoption("--rest", type=float, default=PACE.rest, help="seconds between two runs of a client under load")
    parser.addoption("--drill", type=int, action="append", help="the number of one drill to run; repeatable")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each drill, with a name that its randomness depends on alone."""
    if "random_drill" in metafunc.fixturenames:
        option = metafunc.config.option
        count = int(option.drills)
        if count > 1 and (kinds := metafunc.definition.get_closest_marker("each_of")):
            count *= int(kinds.args[0])
        if limit := metafunc.definition.get_closest_marker("at_most"):
            count = min(count, int(limit.args[0]))
        numbers: list[int] = option.drill or list(range(count))
        metafunc.parametrize("random_drill", [f"{option.drill_seed}-{number}" for number in numbers])


def pytest_configure(config: pytest.Config) -> None:
    """Set the pace of clients; have the report written that was asked for, by the process that hears of all drills."""
    PACE.rest = float(config.option.rest)
    path: str | None = config.getoption("--soak-report")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SoakReport(Path(path), int(config.option.drill_seed)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the random drills and what takes minutes, for `make soak` to run these alone."""
    for item in items:
        if {"random_drill", "takes_minutes"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("drill")


@pytest.fixture(scope="session")
def client() -> docker.DockerClient:
    """The Docker host; `make test` has started it."""
    found = docker.from_env()
    found.ping()
    return found


@pytest.fixture(scope="session")
def tag() -> str:
    """Part of every stack name of this run, so that two runs on one host do not meet."""
    return f"t{secrets.token_hex(2)}"


@pytest.fixture(scope="session")
def checkout(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The copy of the project that stacks are deployed from, with the images that they run."""
    made = Checkout(tmp_path_factory.mktemp("project") / "checkout")
    made.toolchain("prepare", stack="none").ok()
    settings = Settings.model_validate({})
    bases = base_images(settings, made.root / ".local" / "images.json")
    with (
        images.kept(client, [bases.postgres, bases.gateway]),
        images.built(client, minio_build(bases), mlflow_build(settings, bases)),
    ):
        yield made


@pytest.fixture(scope="session")
def stack(client: docker.DockerClient, checkout: Checkout, tag: str) -> Iterator[Stack]:
    """A stack with default settings, shared by all tests that leave it as it was.

    At the end it must expect no changes, and its destroy must leave nothing behind.
    """
    with deployed(checkout, tag) as shared:
        yield shared


@pytest.fixture(scope="session")
def secure(
    client: docker.DockerClient, checkout: Checkout, tag: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secure]:
    """A stack with logins and HTTPS by its own authority, shared like the other one."""
    from tests.stack.secure import SETTINGS, Secure  # noqa: PLC0415 - needs what stands below

    with deployed(checkout, f"{tag}s", **SETTINGS) as made:
        yield Secure(made, tmp_path_factory.mktemp("secure"))


@pytest.fixture(scope="session")
def spare(client: docker.DockerClient, checkout: Checkout, tag: str) -> Iterator[Stack]:
    """A stack that a test may change, break and mend: at the end of a test it is whole and expects no changes."""
    with deployed(checkout, f"{tag}x") as made:
        yield made


@dataclass(frozen=True, slots=True)
class Disks:
    """The disks of the stores of the drilled stack."""

    postgres: SmallDisk
    minio: SmallDisk


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    """Small ones, that can be filled."""
    folder = tmp_path_factory.mktemp("disks")
    with small_disk(folder / "postgres", 320) as postgres, small_disk(folder / "minio", 320) as minio:
        yield Disks(postgres, minio)


@pytest.fixture(scope="session")
def drilled(
    client: docker.DockerClient, checkout: Checkout, tag: str, disks: Disks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack that is drilled again and again: on small disks, and with one image of its own, to be taken away.

    The other checkout's images come first, for this one to be built from their layers.
    """
    own, name = Checkout(tmp_path_factory.mktemp("drilled") / "checkout"), f"{tag}drill"
    with (own.root / "images" / "minio" / "entrypoint.sh").open("a", encoding="utf-8") as script:
        script.write(f"# {tag}\n")
    put_data_on(disks.postgres, client, name, "postgres", database="mlflow")
    put_data_on(disks.minio, client, name, "minio", bucket="mlflow")
    with deployed(own, name) as made:
        yield made


@pytest.fixture(scope="session")
def drill_ledger(drilled: Stack) -> Ledger:
    """What the drilled stack has acknowledged so far."""
    kept = Ledger(drilled.tracking_uri)
    kept.log(5)
    return kept


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """A run of the client suite that ended well.

    Attributes:
        result: What the suite wrote: ids and seconds.
        output: What it printed.
    """

    result: dict[str, Any]
    output: str

    @property
    def experiment_id(self) -> str:
        """The experiment it logged to."""
        return str(self.result["experimentId"])

    @property
    def run_id(self) -> str:
        """Its run with everything in it."""
        return str(self.result["runId"])


def run_suite_in_container(
    stack: Stack,
    work: Path,
    command: str,
    *,
    environment: dict[str, str],
    network: str,
    mounts: dict[str, dict[str, str]] | None = None,
) -> SuiteRun:
    """Run a command with the suite in a container of the stack's own MLflow image, as a user without privileges.

    Args:
        stack: The stack whose image it is.
        work: A folder that everybody may write to: `/work`, where the suite leaves `result.json`.
        command: For a shell; the suite is in `/suite`.
        environment: What the client is told.
        network: The container's one network.
        mounts: More folders of this host.
    """
    container = stack.client.containers.create(
        stack.outputs["images"]["server"],
        entrypoint=["/bin/sh", "-c", command],
        environment={**environment, "HOME": "/work"},
        user="10002:10002",
        network=network,
        volumes={
            str(SUITE.parent): {"bind": "/suite", "mode": "ro"},
            str(work): {"bind": "/work", "mode": "rw"},
            **(mounts or {}),
        },
    )
    try:
        container.start()
        code = container.wait(timeout=600)["StatusCode"]
        output = bytes(container.logs()).decode(errors="replace")
    finally:
        container.remove(force=True, v=True)
    assert code == 0, f"the client suite failed in a container on network {network}:\n{output}"
    return SuiteRun(json.loads((work / "result.json").read_text(encoding="utf-8")), output)


@pytest.fixture(scope="session")
def host_run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> SuiteRun:
    """The whole client suite, run on this host with nothing but the tracking URI."""
    work = tmp_path_factory.mktemp("host-client")
    report = work / "result.json"
    done = subprocess.run(
        [sys.executable, str(SUITE), "--json", str(report), "--name", "host client", "--work", str(work)],
        env={"MLFLOW_TRACKING_URI": stack.tracking_uri, "PATH": os.environ["PATH"], "HOME": str(work)},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"the client suite failed on the host:\n{done.stdout}\n{done.stderr}"
    return SuiteRun(json.loads(report.read_text(encoding="utf-8")), done.stdout)


@pytest.fixture(scope="session")
def used_stack(stack: Stack, host_run: SuiteRun) -> Stack:
    """The shared stack after a client has done all that clients do."""
    return stack


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    if request.config.getoption("--update-screenshots"):
        folder = REPOSITORY / "docs" / "screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    return tmp_path_factory.mktemp("screenshots")
