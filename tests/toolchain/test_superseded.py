"""What a deployment leaves behind goes, and nothing else: asked of a real Docker."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from toolchain import superseded
from toolchain.deployment import IMAGE, REMOTE_IMAGE, Deployment
from toolchain.docker_objects import Objects

ROOT = Path(__file__).parents[2]


@pytest.fixture
def objects(docker_client: docker.DockerClient) -> Iterator[Objects]:
    """Those of a stack that has nothing yet; its images go with the test."""
    made = Objects(f"superseded-{uuid.uuid4().hex[:8]}", docker_client)
    yield made
    for image in docker_client.api.images():
        for name in image["RepoTags"] or []:
            if name.startswith(f"local/{made.stack}"):
                docker_client.images.remove(name, force=True)


def _image(objects: Objects, tag: str) -> str:
    name = f"local/{objects.stack}:{tag}"
    objects.client.api.import_image_from_data(_empty(), f"local/{objects.stack}", tag)
    return name


def _empty() -> bytes:
    import tarfile  # noqa: PLC0415 - here only

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(uuid.uuid4().hex)
        tar.addfile(member)
    return buffer.getvalue()


def _state(*built: str, pulled: str = "") -> Deployment:
    resources = [{"urn": name, "type": IMAGE, "outputs": {"imageName": name}} for name in built]
    if pulled:
        resources.append({"urn": pulled, "type": REMOTE_IMAGE, "outputs": {"name": pulled}})
    return Deployment({"resources": resources})


def _names(objects: Objects) -> set[str]:
    images = objects.client.api.images()
    found = {name for image in images for name in image["RepoTags"] or []}
    return {name for name in found if name.startswith(f"local/{objects.stack}")}


def test_an_image_that_the_stack_ran_before_goes_and_the_one_that_it_runs_stays(objects: Objects) -> None:
    before, now, other = (_image(objects, tag) for tag in ("before", "now", "other"))
    superseded.clear(objects, _state(before), _state(now))
    assert _names(objects) == {now, other}


def test_one_that_a_container_of_any_stack_uses_stays(objects: Objects) -> None:
    before, now = _image(objects, "before"), _image(objects, "now")
    container = objects.client.containers.create(before, ["true"])
    try:
        superseded.clear(objects, _state(before), _state(now))
        assert _names(objects) == {before, now}
    finally:
        container.remove()


def test_one_that_was_not_built_here_stays(objects: Objects) -> None:
    before, now = _image(objects, "before"), _image(objects, "now")
    superseded.clear(objects, _state(pulled=before), _state(pulled=now))
    assert _names(objects) == {before, now}


def test_only_old_layers_with_our_label_are_asked_for(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(type(objects), "remove_layers", lambda _, filters: asked.append(filters))
    superseded.clear(objects, _state(), _state())
    assert asked == [{"dangling": True, "label": ["mlflow-stack.project=mlflow-stack"], "until": "336h"}]


@pytest.mark.parametrize("file", sorted((ROOT / "images").glob("*/Dockerfile")), ids=lambda file: file.parent.name)
def test_the_layers_of_each_build_stage_bear_the_label_that_they_are_removed_by(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    ends = [number for number, line in enumerate(lines) if line.startswith("FROM ")][1:]
    for end in ends:
        assert lines[end - 1].replace('"', "") == "LABEL mlflow-stack.project=mlflow-stack", lines[end - 1]
