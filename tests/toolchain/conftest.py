"""Fixtures of the toolchain's tests: a Docker client, the images from packages, throw-away containers, servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from components.image import BaseImages, minio_build
from tests import older_postgres
from tests.toolchain.boxes import Boxes, clear_left_over
from tests.toolchain.servers import minio_server, postgres_server
from toolchain import paths
from toolchain.images import docker_host, machine, packages
from toolchain.images.progress import Progress

__all__ = ["minio_server", "postgres_server"]  # fixtures


@pytest.fixture(scope="session")
def docker_client() -> docker.DockerClient:
    """The Docker daemon of this machine."""
    client = docker_host.connect()
    clear_left_over(client)
    return client


@pytest.fixture(scope="session")
def image_cache() -> Path:
    """The cache that `make up` uses, too: nothing is made twice."""
    return paths.cache_root() / "images"


@pytest.fixture(scope="session")
def built(docker_client: docker.DockerClient, image_cache: Path) -> Mapping[str, str]:
    """Role → tag of the images from packages, built where they are missing."""
    return packages.obtain(docker_client, machine.look(), image_cache, print)


@pytest.fixture(scope="session")
def minio_image(docker_client: docker.DockerClient, built: Mapping[str, str]) -> str:
    """MinIO, built from source as the program builds it, under the same tag."""
    build = minio_build(
        BaseImages(
            postgres=built["postgresImage"],
            gateway=built["gatewayImage"],
            python=built["pythonImage"],
            golang=built["goImage"],
            debian=built["debianImage"],
        )
    )
    if not docker_host.has(docker_client, build.reference):
        context = paths.PROJECT_DIR / build.context
        docker_host.build(docker_client, context, build.reference, build.args, Progress("minio from source", print))
    return build.reference


@pytest.fixture(scope="session")
def postgres_16(docker_client: docker.DockerClient, built: Mapping[str, str], image_cache: Path) -> str:
    """PostgreSQL 16: another major than the stack's own."""
    return older_postgres.obtain(docker_client, built["debianImage"], image_cache)


@pytest.fixture
def boxes(docker_client: docker.DockerClient) -> Iterator[Boxes]:
    """Containers, volumes and networks that go with the test."""
    made = Boxes(docker_client)
    try:
        yield made
    finally:
        made.clear()
