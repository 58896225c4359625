"""Servers for the plugins' tests to work on, in containers of the stack's own images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import docker
import psycopg
import pytest
import urllib3

from tests.toolchain.boxes import FILES, Boxes, File, eventually, logs, published
from toolchain.paths import PROJECT_DIR

ADMIN_PASSWORD = "admin's \\password"
ROOT_USER = "rootuser"
ROOT_PASSWORD = "rootpassword"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens, and who may do everything there.

    Attributes:
        host: Its address on this machine.
        port: Its port on this machine.
        user: The administrator.
        password: The administrator's.
    """

    host: str
    port: int
    user: str
    password: str


@pytest.fixture(scope="session")
def postgres_server(docker_client: docker.DockerClient, built: Mapping[str, str]) -> Iterator[Server]:
    """A PostgreSQL server of the stack's own kind."""
    boxes = Boxes(docker_client)
    try:
        container = boxes.run(
            built["postgresImage"],
            [],
            uid=999,
            entrypoint=[f"{FILES}/entrypoint.sh"],
            files={
                "entrypoint.sh": File((PROJECT_DIR / "images/postgres/entrypoint.sh").read_bytes(), 0o555),
                "admin-password": File(ADMIN_PASSWORD),
            },
            volumes={boxes.volume(): "/var/lib/postgresql"},
            ports={"5432/tcp": ("127.0.0.1", None)},
        )
        server = Server("127.0.0.1", published(container, "5432/tcp"), "postgres", ADMIN_PASSWORD)

        def answers() -> bool:
            container.reload()
            assert container.status in {"running", "created"}, logs(container)
            try:
                connect(server).close()
            except psycopg.OperationalError:
                return False
            return True

        eventually(answers, "PostgreSQL is ready")
        yield server
    finally:
        boxes.clear()


def connect(
    server: Server, database: str = "postgres", user: str = "", password: str = ""
) -> psycopg.Connection[tuple[object, ...]]:
    """A connection, as the administrator without a user."""
    return psycopg.connect(
        host=server.host,
        port=server.port,
        dbname=database,
        user=user or server.user,
        password=password or server.password,
        sslmode="disable",
        connect_timeout=5,
        autocommit=True,
    )


@pytest.fixture(scope="session")
def minio_server(docker_client: docker.DockerClient, minio_image: str) -> Iterator[Server]:
    """A MinIO server of the stack's own kind."""
    boxes = Boxes(docker_client)
    try:
        container = boxes.run(
            minio_image,
            ["server", "/data", "--address", ":9000", "--console-address", ":9001"],
            uid=10001,
            files={"user": File(ROOT_USER), "password": File(ROOT_PASSWORD)},
            environment={"MINIO_ROOT_USER_FILE": f"{FILES}/user", "MINIO_ROOT_PASSWORD_FILE": f"{FILES}/password"},
            ports={"9000/tcp": ("127.0.0.1", None)},
        )
        server = Server("127.0.0.1", published(container, "9000/tcp"), ROOT_USER, ROOT_PASSWORD)

        def answers() -> bool:
            container.reload()
            assert container.status in {"running", "created"}, logs(container)
            url = f"http://{server.host}:{server.port}/minio/health/live"
            try:
                return urllib3.request("GET", url, retries=False, timeout=2).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        eventually(answers, "MinIO is live")
        yield server
    finally:
        boxes.clear()
