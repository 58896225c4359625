"""Two stacks on one host: one with defaults, one with `artifactAccess: direct`; each leaves the other alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from tests.stack.conftest import LARGE_MIB, SUITE, SuiteRun
from tests.stack.harness import Checkout, Stack, built_images

ROLES = ("postgres", "minio", "server", "gateway")

#: Speed of the front door relative to a client that talks to MinIO itself, with an artifact that goes in parts.
#: On a quiet machine it is 1.0 up and 0.6 to 0.75 down; the rest is for what else a machine does.
LEAST_UP, LEAST_DOWN = 0.7, 0.45
#: Rounds in which both take turns, and how often these are gone at most: other tests beside this one may meet
#: one way in both rounds, and then say nothing of it.
ROUNDS, TRIES = 2, 4


@pytest.fixture(scope="module")
def direct(used_stack: Stack, checkout: Checkout, tag: str) -> Iterator[Stack]:
    """A second stack beside the shared one, from the same checkout."""
    second = Stack.prepare(checkout, f"{tag}b", own_credentials=True, artifactAccess="direct")
    try:
        second.up().ok()
        yield second
    finally:
        second.destroy()


def _client_environment(stack: Stack, home: Path) -> dict[str, str]:
    """What a client of this stack is told to set, and nothing else."""
    return {**stack.outputs["clientEnv"], "PATH": os.environ["PATH"], "HOME": str(home)}


def _identity(stack: Stack) -> dict[str, tuple[str, str]]:
    """Which containers a stack runs, and since when."""
    return {
        role: (str(container.id), str(container.attrs["State"]["StartedAt"]))
        for role in ROLES
        for container in [stack.container(role)]
    }


def test_a_direct_client_needs_what_client_env_says(direct: Stack, tmp_path: Path) -> None:
    environment = direct.outputs["clientEnv"]
    assert set(environment) == {
        "MLFLOW_TRACKING_URI",
        "MLFLOW_S3_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    }
    done = subprocess.run(
        [sys.executable, str(SUITE), "--name", "direct client", "--work", str(tmp_path), "--sizes", "64"],
        env=_client_environment(direct, tmp_path),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    print(done.stdout)
    assert done.returncode == 0, f"the client suite failed with direct access:\n{done.stdout}\n{done.stderr}"


def _seconds(front: str, itself: str, environment: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """Move a large artifact over both ways: URI → way → seconds of each round."""
    done = subprocess.run(
        [sys.executable, str(SUITE.with_name("transfer.py")), str(LARGE_MIB), str(ROUNDS), front, itself],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_front_door_is_nearly_as_fast_as_direct_access(stack: Stack, direct: Stack, tmp_path: Path) -> None:
    front, itself = stack.tracking_uri, direct.tracking_uri
    environment = _client_environment(direct, tmp_path) | {"TMPDIR": str(tmp_path)}
    best = {(uri, way): float("inf") for uri in (front, itself) for way in ("up", "down")}
    up = down = 0.0
    for _ in range(TRIES):
        seconds = _seconds(front, itself, environment)
        # The best of each: what the way itself costs, without what else the machine was doing.
        best = {(uri, way): min(shortest, *seconds[uri][way]) for (uri, way), shortest in best.items()}
        up, down = (best[itself, way] / best[front, way] for way in ("up", "down"))
        print(
            f"{LARGE_MIB} MiB, speed of the front door relative to direct access: up {up:.2f}, down {down:.2f}; "
            f"{seconds}"
        )
        if up >= LEAST_UP and down >= LEAST_DOWN:
            return
    pytest.fail(f"up {up:.2f} and down {down:.2f} of direct access, at least {LEAST_UP} and {LEAST_DOWN} wanted")


def test_the_stacks_share_neither_objects_nor_data(stack: Stack, direct: Stack) -> None:
    one, other = stack.inventory(), direct.inventory()
    for kind in ("containers", "networks", "volumes"):
        shared = getattr(one, kind) & getattr(other, kind)
        assert not shared, f"{kind} of both stacks: {shared}"
    assert not set(stack.credentials().values()) & set(direct.credentials().values()), "a credential is in both"
    assert "host client" in _experiments(stack)
    assert "host client" not in _experiments(direct)


def _experiments(stack: Stack) -> list[str]:
    answer = requests.post(
        f"{stack.tracking_uri}/api/2.0/mlflow/experiments/search", json={"max_results": 100}, timeout=10
    )
    answer.raise_for_status()
    return [experiment["name"] for experiment in answer.json()["experiments"]]


def test_destroy_asks_first_and_says_what_it_will_take(direct: Stack) -> None:
    before = direct.inventory()
    asked = direct.checkout.toolchain("destroy", stack=direct.name)
    assert asked.code == 2, f"destroy without a terminal and without YES=1 went on\n{asked.text}"
    assert "YES=1" in asked.stderr, asked.text
    said: Any = (asked.stdout + asked.stderr).lower()
    assert " runs" in said, f"it does not say how many runs will be lost\n{asked.text}"
    assert any(unit in said for unit in (" bytes", "kib", "mib", "gib")), f"nor how many bytes\n{asked.text}"
    assert direct.inventory() == before, "it took something all the same"


def test_destroying_one_leaves_the_other_untouched(
    stack: Stack, direct: Stack, host_run: SuiteRun, client: docker.DockerClient
) -> None:
    running, things = _identity(stack), stack.inventory()
    images = set(map(str, stack.outputs["images"].values())) & built_images(client)
    direct.assert_no_changes()
    direct.destroy().ok()
    direct.assert_nothing_left()
    assert stack.inventory() == things, "objects of the other stack went too"
    assert _identity(stack) == running, "containers of the other stack were touched"
    assert images <= built_images(client), "images that the other stack uses were removed"
    stack.assert_healthy()
    stack.assert_no_changes()
    run = requests.get(f"{stack.tracking_uri}/api/2.0/mlflow/runs/get", params={"run_id": host_run.run_id}, timeout=10)
    assert run.status_code == 200, "the other stack lost a run"
