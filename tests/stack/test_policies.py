"""The policy pack on the whole program: what it lets pass, and what it refuses before anything is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.stack.harness import REPOSITORY, Checkout, Result, Stack, never_up, write_settings
from toolchain import policies

UNDER_POLICIES = {"POLICIES": "policies"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the project, which shares the pack's environment with it."""
    policies.prepare()
    made = Checkout(tmp_path_factory.mktemp("policies") / "checkout")
    (made.root / "policies" / ".venv").symlink_to(REPOSITORY / "policies" / ".venv")
    return made


@pytest.fixture(scope="module")
def good(checkout: Checkout, tag: str) -> Stack:
    """A stack with its credentials, and with all of its data protected; it never comes up."""
    stack = Stack.prepare(checkout, f"{tag}pol")
    lines = stack.file.read_text(encoding="utf-8").splitlines(keepends=True)
    stack.file.write_text("".join(line for line in lines if "dataProtection" not in line), encoding="utf-8")
    checkout.toolchain("prepare", stack=stack.name).ok()
    stack.init()
    return stack


@pytest.fixture
def new(good: Stack) -> Iterator[Stack]:
    """The stack, whose settings may be changed; nothing of it may ever be on the Docker host."""
    with never_up(good) as stack:
        yield stack


def preview(stack: Stack, **environment: str) -> Result:
    """Preview it under the pack."""
    return stack.checkout.toolchain("preview", stack=stack.name, environment={**UNDER_POLICIES, **environment})


@pytest.fixture
def let_off(new: Stack, tmp_path: Path) -> dict[str, str]:
    """The variables by which the stack may leave its data unprotected, as a throw-away one does."""
    config = tmp_path / "policies.json"
    config.write_text(json.dumps({"data-is-protected": {"allowUnprotected": [new.name]}}), encoding="utf-8")
    return {"POLICY_CONFIG": str(config)}


def assert_refused(result: Result, *rules: str) -> None:
    """Exit code 2, for these rules alone; each told on stderr with its mend."""
    assert result.code == 2, f"expected a refusal (exit code 2)\n{result.text}"
    told = [line for line in result.stderr.splitlines() if ". mend: " in line]
    assert {line.partition(":")[0] for line in told} == set(rules), result.text
    assert all(line.partition(". mend: ")[2] for line in told), result.text


def test_this_program_on_its_default_settings_keeps_every_rule(new: Stack) -> None:
    result = preview(new)
    assert result.code == 0, result.text
    assert "mlflow-stack|local|" in result.stdout, f"the pack was not asked\n{result.text}"


def test_its_containers_that_work_by_the_clock_keep_every_rule(new: Stack, tmp_path: Path) -> None:
    clock = "30 2 * * *"
    tmp_path.chmod(0o777)  # backups are made by a user of their own
    write_settings(
        new.file, gcSchedule=clock, backupSchedule=clock, backupTarget=str(tmp_path), bucketVersioning="true"
    )
    result = preview(new)
    assert result.code == 0, result.text
    assert all(f"mlflow-{new.name}-{role}" in result.text for role in ("gc", "backup")), result.text


def test_a_public_bind_without_tls_and_login_is_refused(new: Stack, let_off: dict[str, str]) -> None:
    write_settings(new.file, bindAddress="0.0.0.0", allowInsecurePublicBind="true")
    assert_refused(preview(new, **let_off), "no-public-bind-without-tls", "no-public-bind-without-login")


def test_an_up_is_refused_before_anything_is_touched(new: Stack, let_off: dict[str, str]) -> None:
    write_settings(new.file, bindAddress="0.0.0.0", allowInsecurePublicBind="true")
    result = new.up(environment={**UNDER_POLICIES, **let_off})
    assert_refused(result, "no-public-bind-without-tls", "no-public-bind-without-login")


def test_a_moving_image_is_refused(new: Stack, client: docker.DockerClient, let_off: dict[str, str]) -> None:
    reference = json.loads((new.checkout.root / ".local" / "images.json").read_text("utf-8"))["gatewayImage"]
    moving = "local/mlflow-stack-test:latest"
    assert client.images.get(reference).tag(moving)
    try:
        write_settings(new.file, gatewayImage=moving)
        assert_refused(preview(new, **let_off), "no-unpinned-image")
    finally:
        client.images.remove(moving)


def test_unprotected_data_is_refused_unless_a_policy_config_lets_the_stack_off(
    new: Stack, let_off: dict[str, str]
) -> None:
    write_settings(new.file, dataProtection="false")
    assert_refused(preview(new), "data-is-protected")
    passed = preview(new, **let_off)
    assert passed.code == 0, passed.text


def test_a_pack_that_is_not_there_is_refused(new: Stack) -> None:
    result = preview(new, POLICIES="polices")
    assert result.code == 2, result.text
    assert "POLICIES: polices: must be a folder with a policy pack" in result.stderr
