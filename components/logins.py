"""Each credential of the stack, as a login: tried at the server that it is for, by the way its user comes in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from components.front_door_client import Endpoints, FrontDoorClient
from components.naming import (
    BUCKET_USER,
    CONSOLE_USER,
    MINIO_ROOT,
    POSTGRES_ADMIN,
    POSTGRES_OWNER,
    POSTGRES_RUNTIME,
)
from components.settings import Settings

if TYPE_CHECKING:
    import psycopg
    from minio import Minio

#: Seconds that a server may take to answer.
TIMEOUT = 20

#: Credential → the role of PostgreSQL that logs in by it.
POSTGRES_ROLES = {
    "postgresAdminPassword": POSTGRES_ADMIN,
    "postgresOwnerPassword": POSTGRES_OWNER,
    "postgresRuntimePassword": POSTGRES_RUNTIME,
}
#: Credential → the user of MinIO that logs in by it.
MINIO_USERS = {"minioRootPassword": MINIO_ROOT, "bucketUserSecret": BUCKET_USER, "consoleUserPassword": CONSOLE_USER}


def admits(settings: Settings, endpoints: Endpoints, key: str, value: str) -> bool | None:
    """Try a credential.

    Args:
        settings: The stack's settings.
        endpoints: Where its servers are.
        key: Name of the credential.
        value: What it may be.

    Returns:
        Whether the server lets it in; None for a credential that nobody logs in by.

    Raises:
        Exception: The server can't be asked.
    """
    if key in POSTGRES_ROLES:
        return _postgres(settings, endpoints, POSTGRES_ROLES[key], value)
    if key in MINIO_USERS:
        return _minio(settings, endpoints, MINIO_USERS[key], value)
    if key == "mlflowAdminPassword" and settings.auth == "basic":
        return _mlflow(endpoints, value)
    return None


def checks(
    settings: Settings, endpoints: Endpoints, now: Mapping[str, str], before: Mapping[str, str]
) -> list[tuple[str, Callable[[], None]]]:
    """A check for each login that must succeed, and for each that must not any more."""

    def check(key: str, value: str, *, wanted: bool) -> Callable[[], None]:
        def run() -> None:
            if admits(settings, endpoints, key, value) is (not wanted):
                raise ValueError("the server refuses it" if wanted else "the server still takes the value before")

        return run

    known = [*POSTGRES_ROLES, *MINIO_USERS, "mlflowAdminPassword"]
    return [
        *((key, check(key, now[key], wanted=True)) for key in known if key in now),
        *(
            (key, check(key, before[key], wanted=False))
            for key in known
            if before.get(key, now.get(key)) != now.get(key)
        ),
    ]


def postgres(settings: Settings, endpoints: Endpoints, role: str, password: str) -> psycopg.Connection:
    """A connection to the backend store.

    Raises:
        psycopg.OperationalError: The server refuses it, or does not answer.
    """
    import psycopg  # noqa: PLC0415 - needed by a deployment alone, not by a preview

    return psycopg.connect(
        host=endpoints.postgres_host,
        port=endpoints.postgres_port,
        user=role,
        password=password,
        dbname=settings.database_name,
        sslmode="disable",
        connect_timeout=TIMEOUT,
    )


def minio(endpoints: Endpoints, user: str, secret: str) -> Minio:
    """A client of the artifact store's server; asks nothing yet."""
    from minio import Minio  # noqa: PLC0415 - needed by a deployment alone, not by a preview

    return Minio(endpoints.minio, access_key=user, secret_key=secret, secure=False, region="us-east-1")


def _postgres(settings: Settings, endpoints: Endpoints, role: str, password: str) -> bool:
    import psycopg  # noqa: PLC0415 - see above

    try:
        postgres(settings, endpoints, role, password).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            return False
        raise
    return True


def _minio(settings: Settings, endpoints: Endpoints, user: str, secret: str) -> bool:
    from minio import S3Error  # noqa: PLC0415 - see above

    try:
        for _ in minio(endpoints, user, secret).list_objects(settings.bucket_name, prefix=f"{uuid.uuid4()}/"):
            pass  # there is none: only the right to look counts
    except S3Error as error:
        if error.code in {"SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied"}:
            return False
        raise
    return True


def _mlflow(endpoints: Endpoints, password: str) -> bool:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    return FrontDoorClient(endpoints.front_door, password).status("GET", path) != HTTPStatus.UNAUTHORIZED
