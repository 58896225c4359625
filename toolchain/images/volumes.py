"""Which major version of PostgreSQL wrote the data volumes on this host.

A volume can be read by its own major only. Before another image is chosen for it, its version is read, without
starting anything: a container that is created and never run lets Docker copy the file `PG_VERSION` out.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import Any, cast

import docker
import docker.errors

from toolchain.docker_objects import LOOK

_PROJECT = "mlflow-stack"
#: Where the images of the majors keep their data below /var/lib/postgresql, and where those before 18 kept it.
_PATHS = (*(f"{major}/docker/PG_VERSION" for major in range(18, 30)), "data/PG_VERSION", "PG_VERSION")
_MOUNT = "/volume"


def postgres_majors(client: docker.DockerClient) -> dict[str, set[int]]:
    """Volume → majors of the clusters in it, for the PostgreSQL volumes of every stack of this project."""
    volumes = client.volumes.list(filters={"label": [f"{_PROJECT}.project={_PROJECT}", f"{_PROJECT}.role=postgres"]})
    names = [volume.name or "" for volume in volumes]
    return {name: majors_in(client, name) for name in names if name.endswith("-data")}


def major_of(reference: str) -> int | None:
    """The major version in an image reference's tag, as in `postgres:18.4@sha256:…`."""
    match = re.search(r":(\d+)[^/@]*(?:@|$)", reference)
    return int(match[1]) if match else None


def majors_in(client: docker.DockerClient, volume: str) -> set[int]:
    """The majors of the clusters in a volume; none where it is empty, or can't be looked at."""
    # The list alone: `client.images.list` asks for each again, and fails where one was removed meanwhile.
    listed: list[dict[str, Any]] = client.api.images()
    # The oldest is taken below: the newest may be one that somebody has just made, and removes again.
    images = [str(tag) for image in listed for tag in image["RepoTags"] or [] if tag != "<none>:<none>"]
    if not images:
        return set()
    try:
        container = client.containers.create(
            images[-1],
            command=["true"],
            volumes={volume: {"bind": _MOUNT, "mode": "ro"}},
            labels={f"{_PROJECT}.role": LOOK},
            network_mode="none",
        )
    except docker.errors.APIError:
        return set()
    found: set[int] = set()
    try:
        for path in _PATHS:
            try:
                stream, _ = container.get_archive(f"{_MOUNT}/{path}")
            except docker.errors.NotFound:
                continue
            except docker.errors.APIError:  # what it is on is gone: it keeps no stack but its own from coming up
                break
            with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
                content = archive.extractfile(archive.getmembers()[0])
                text = content.read().decode().strip() if content else ""
            if text.isdigit():
                found.add(int(text))
    finally:
        container.remove(force=True, v=True)  # an image may bring an unnamed volume of its own
        _forget_if_ours(client, volume)
    return found


def _forget_if_ours(client: docker.DockerClient, name: str) -> None:
    """Remove the volume if it went away meanwhile: Docker then made an empty one, without labels, for the container."""
    try:
        volume = client.volumes.get(name)
        labels = cast("dict[str, str]", volume.attrs.get("Labels") or {})
        if f"{_PROJECT}.project" not in labels:
            volume.remove()
    except docker.errors.APIError:  # gone, or in use by someone: no business of ours
        return
