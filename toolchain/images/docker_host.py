"""What this package asks of Docker: import, build, pull, look."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import docker
import docker.errors
import requests

from components import docker_client
from toolchain.errors import RefusedError
from toolchain.images.progress import Progress, StepFailedError

#: Seconds that one answer of the daemon may take; committing a large layer takes a while.
_TIMEOUT_SECONDS = 900
#: Seconds within which a registry must have answered to be worth waiting for.
_REGISTRY_SECONDS = 5

LABEL = {"mlflow-stack.project": "mlflow-stack"}


def connect(timeout: float = _TIMEOUT_SECONDS) -> docker.DockerClient:
    """A client of the Docker daemon that the environment names, `/var/run/docker.sock` without one.

    Raises:
        RefusedError: No daemon answers.
    """
    try:
        return docker_client.connect(timeout)
    except docker.errors.DockerException as error:
        raise RefusedError(
            "docker",
            "does not answer",
            f"a Docker daemon is needed ({error})",
            "make doctor",
        ) from error


def has(client: docker.DockerClient, reference: str) -> bool:
    """Whether the Docker host has an image under this reference."""
    try:
        client.images.get(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def registry_answers(reference: str) -> str:
    """Ask, for a few seconds, whether an image can be had from its registry.

    Returns:
        Why not, or an empty string when it can.
    """
    try:
        connect(_REGISTRY_SECONDS).images.get_registry_data(reference)
    except docker.errors.APIError as error:
        return (error.explanation or str(error)).split("\n", 1)[0][:160]
    except requests.RequestException:
        return f"no answer within {_REGISTRY_SECONDS} s"
    return ""


def import_root(client: docker.DockerClient, archive: Path, reference: str) -> None:
    """Make an image of a root file system. The tag appears when all of it has arrived, and not before."""
    repository, _, tag = reference.rpartition(":")
    changes = [f'LABEL {key}="{value}"' for key, value in LABEL.items()]
    answer = client.api.import_image(
        str(archive), repository, tag, changes=["ENV LANG=C.UTF-8", 'CMD ["bash"]', *changes]
    )
    _check(answer)


def build(
    client: docker.DockerClient,
    context: Path,
    reference: str,
    arguments: Mapping[str, str],
    progress: Progress,
    *,
    anew: bool = False,
) -> None:
    """Build an image with the daemon's own builder; no BuildKit is needed.

    Args:
        client: The Docker daemon.
        context: Folder of the build context.
        reference: The image's tag.
        arguments: Build arguments.
        progress: Takes the build's output.
        anew: Whether every step is run again, also one that Docker has the outcome of: it may download newer packages.

    Raises:
        StepFailedError: The build failed; the text is the end of its output.
    """
    repository, _, tag = reference.rpartition(":")
    events = client.api.build(
        path=str(context),
        tag=f"{repository}:{tag}",
        buildargs=dict(arguments),
        nocache=anew,
        rm=True,
        forcerm=True,
        decode=True,
    )
    _follow(cast("Iterable[dict[str, Any]]", events), progress)


def pull(client: docker.DockerClient, reference: str, progress: Progress) -> None:
    """Pull an image by its digest, or by its tag where it is pinned by tag.

    Raises:
        StepFailedError: The registry can't be reached, or does not have what the digest names.
    """
    name, _, digest = reference.partition("@")
    repository, _, tag = name.rpartition(":")
    try:
        events = client.api.pull(repository, tag=digest or tag, stream=True, decode=True)
        _follow(cast("Iterable[dict[str, Any]]", events), progress)
    except docker.errors.APIError as error:
        raise StepFailedError(error.explanation or str(error)) from error


def report_size(client: docker.DockerClient, reference: str) -> str:
    """The size of an image, for people."""
    return f"{int(client.images.get(reference).attrs['Size']) / 1e6:.0f} MB"


def _follow(events: Iterable[dict[str, Any]], progress: Progress) -> None:
    for event in events:
        if "error" in event:
            progress.line(str(event["error"]))
            raise StepFailedError(f"{progress.tail}")
        text = str(event.get("stream") or event.get("status") or "")
        for line in text.splitlines():
            progress.line(line)


def _check(body: str) -> None:
    for line in body.splitlines():
        event = json.loads(line)
        if isinstance(event, dict) and "error" in event:
            raise StepFailedError(str(cast("dict[str, object]", event)["error"]))
