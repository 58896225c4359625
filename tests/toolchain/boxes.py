"""Containers, volumes and networks for tests, all under one label, all gone at the end."""

from __future__ import annotations

import io
import secrets
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.images import Image

FILES = "/run/mlflow-stack"
_LABEL = "mlflow-stack-tests.images"


@dataclass(frozen=True, slots=True)
class File:
    """A file given to a container before it starts; root's, as the Docker provider's `uploads` makes it."""

    content: str | bytes
    mode: int = 0o444


@dataclass
class Boxes:
    """Makes Docker objects and takes them away again."""

    client: docker.DockerClient
    _containers: list[Container] = field(default_factory=list[Container])
    _volumes: list[str] = field(default_factory=list[str])
    _networks: list[str] = field(default_factory=list[str])

    def volume(self, labels: Mapping[str, str] | None = None, suffix: str = "") -> str:
        """A new volume's name."""
        name = f"imagetest-{secrets.token_hex(4)}{suffix}"
        self.client.volumes.create(name, labels={_LABEL: "1", **(labels or {})})
        self._volumes.append(name)
        return name

    def network(self) -> str:
        """A new network's name."""
        name = f"imagetest-{secrets.token_hex(4)}"
        self.client.networks.create(name, labels={_LABEL: "1"})
        self._networks.append(name)
        return name

    def create(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        uid: int | None = None,
        files: Mapping[str, File] | None = None,
        volumes: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Container:
        """A container with files in a volume of its own at `FILES`, not started.

        Args:
            image: Reference of the image.
            command: Arguments of its entry point.
            uid: User and group; the image's own without it.
            files: File name → file.
            volumes: Volume → path.
            options: More of docker-py's own.
        """
        mounts = {name: {"bind": path, "mode": "rw"} for name, path in (volumes or {}).items()}
        if files is not None:
            mounts[self.volume()] = {"bind": FILES, "mode": "rw"}
        container = self.client.containers.create(
            image,
            name=f"imagetest-{secrets.token_hex(4)}",
            command=list(command) if command is not None else None,
            user=None if uid is None else f"{uid}:{uid}",
            volumes=mounts,
            labels={_LABEL: "1"},
            init=True,
            **options,
        )
        self._containers.append(container)
        for name, file in (files or {}).items():
            put(container, f"{FILES}/{name}", file)
        return container

    def run(self, image: str, command: Sequence[str] | None = None, **options: Any) -> Container:
        """As `create`, and started."""
        container = self.create(image, command, **options)
        container.start()
        return container

    def clear(self) -> None:
        """Take everything away."""
        for container in self._containers:
            try:
                container.remove(force=True, v=True)
            except NotFound:
                continue
        for name in self._networks:
            self.client.networks.get(name).remove()
        for name in self._volumes:
            self.client.volumes.get(name).remove(force=True)


def clear_left_over(client: docker.DockerClient) -> None:
    """Remove what a killed test run left, an hour ago or more: its volumes, and the containers that keep images."""
    latest = datetime.now(UTC) - timedelta(hours=1)
    kept: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": _LABEL, "status": "created"})
    for container in kept:
        if datetime.fromtimestamp(container["Created"], UTC) < latest:
            with suppress(APIError):  # another run is at it, too
                client.api.remove_container(container["Id"], v=True)
    for volume in client.volumes.list(filters={"label": _LABEL}):
        if datetime.fromisoformat(str(volume.attrs["CreatedAt"])) < latest:
            with suppress(APIError):  # in use
                volume.remove()


def put(container: Container, path: str, file: File) -> None:
    """Put a file into a container, as the Docker provider's `uploads` does."""
    folder, _, name = path.rpartition("/")
    data = file.content.encode() if isinstance(file.content, str) else file.content
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), file.mode
        archive.addfile(info, io.BytesIO(data))
    container.put_archive(folder, buffer.getvalue())


def logs(container: Container) -> str:
    """Everything a container has said so far."""
    return container.logs().decode(errors="replace")


def execute(container: Container, command: Sequence[str], **options: Any) -> tuple[int, str]:
    """Run a command in a container: its exit code and its output."""
    result = container.exec_run(list(command), **options)
    output = result.output or b""
    assert isinstance(output, bytes)
    return int(result.exit_code or 0), output.decode(errors="replace")


def published(container: Container, port: str) -> int:
    """The port of the host under which a port of a container is published."""
    container.reload()
    return int((container.ports[port] or [])[0]["HostPort"])


def once(client: docker.DockerClient, image: str, script: str, **options: Any) -> str:
    """The output of a shell script in a new container of an image; it must end well."""
    container = client.containers.create(image, ["-c", script], entrypoint=["sh"], labels={_LABEL: "1"}, **options)
    try:
        container.start()
        code = exit_of(container)
        assert code == 0, f"exit code {code}: {logs(container)}"
        return logs(container)
    finally:
        container.remove(force=True, v=True)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 60) -> float:
    """Wait until something holds.

    Returns:
        Seconds that it took.

    Raises:
        AssertionError: It did not happen in time.
    """
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if condition():
            return time.monotonic() - start
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def exit_of(container: Container, seconds: int = 60) -> int:
    """The exit code of a container that ends by itself."""
    return int(container.wait(timeout=seconds)["StatusCode"])


def inspect_of(client: docker.DockerClient, container: Container) -> str:
    """What `docker inspect` shows of a container, its image, and the image's history."""
    image = container.image
    assert isinstance(image, Image)
    return f"{client.api.inspect_container(container.name or '')}{image.attrs}{image.history()}"
