"""The Docker daemon is killed, and the machine switched off, under a client that logs: the stack is back by itself."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from components.builds import base_images, minio_build, mlflow_build
from components.settings import Settings
from tests.stack.harness import REPOSITORY, Checkout, Stack, wait_until
from tests.stack.ledger import Ledger, under_load
from tests.stack.second_docker import SecondDocker, second_docker, stand_ins

#: What this machine has, and where it had it from.
SOURCES = REPOSITORY / ".local" / "images.json"

#: Seconds after the daemon's start in which the stack must serve and be healthy again.
_BACK = 90


@pytest.fixture(scope="module")
def second() -> Iterator[SecondDocker]:
    """A daemon that may be killed."""
    with second_docker() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def images(checkout: Checkout) -> dict[str, str]:
    """The images of a stack, by role, which the checkout has seen to."""
    settings = Settings.model_validate({})
    bases = base_images(settings, SOURCES)
    return {
        "postgres": bases.postgres,
        "minio": minio_build(bases).reference,
        "server": mlflow_build(settings, bases).reference,
        "gateway": bases.gateway,
    }


@pytest.fixture(scope="module")
def away(
    images: dict[str, str], second: SecondDocker, tag: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack there. What it builds are the images that are here under other names: there is no way out."""
    second.take_over(images.values())
    checkout = Checkout(
        tmp_path_factory.mktemp("away") / "checkout", {"DOCKER_HOST": second.address}, inside=second.inside
    )
    for role, folder in (("server", "mlflow"), ("minio", "minio")):
        (checkout.root / "images" / folder / "Dockerfile").write_text(f"FROM {images[role]}\n", encoding="utf-8")
    sources = SOURCES.read_text(encoding="utf-8")
    (checkout.root / ".local").mkdir(exist_ok=True)
    (checkout.root / ".local" / "images.json").write_text(sources, encoding="utf-8")
    bases = [reference for role, reference in json.loads(sources).items() if role.endswith("Image")]
    stand_ins(bases, images["gateway"], second.client())
    made = Stack.prepare(checkout, f"{tag}away")
    made.client = second.client()
    made.up().ok()
    yield made
    made.destroy().ok()
    made.assert_nothing_left()


@pytest.fixture(scope="module")
def ledger(away: Stack, second: SecondDocker) -> Ledger:
    """What the stack has acknowledged, through a tunnel."""
    return Ledger(f"http://localhost:{second.tunnel(int(away.settings['mlflowPort']))}")


def _back(stack: Stack, ledger: Ledger) -> None:
    before = len(ledger.entries)
    wait_until(lambda: len(ledger.entries) > before + 1, "the stack acknowledges again", _BACK)
    wait_until(stack.is_healthy, "every container is healthy again", _BACK)


@pytest.mark.at_most(5)
def test_the_daemon_killed_under_load_brings_everything_back(
    away: Stack, second: SecondDocker, ledger: Ledger, random_drill: str
) -> None:
    chance = random.Random(random_drill)  # noqa: S311 - to be repeated, not to be secret
    before = {role: away.container(role).id for role in away.outputs["containers"]}
    with under_load(ledger) as load:
        load.acknowledged(1 + chance.randrange(8))
        second.kill()
        second.start()
        _back(away, ledger)
    assert ledger.missing() == []
    assert {role: away.container(role).id for role in before} == before, "by itself: nothing was made anew"
    away.assert_no_changes()


@pytest.mark.at_most(5)
def test_a_machine_switched_off_under_load_comes_back_whole(
    away: Stack, second: SecondDocker, ledger: Ledger, random_drill: str
) -> None:
    chance = random.Random(f"off {random_drill}")  # noqa: S311 - see above
    with under_load(ledger) as load:
        load.acknowledged(1 + chance.randrange(8))
        second.power_off()
        second.start()
        _back(away, ledger)
    assert ledger.missing() == []
    away.assert_no_changes()
