"""The check that ends every `up`: it asks the stack, not the state, whether it works.

A state can be right and a stack broken: a role altered from outside, a password that an old volume does not know,
a container removed by hand. So a row is written as the run-time role, an object as the bucket user, and an artifact
through the front door, and each is taken back.
"""

from __future__ import annotations

import importlib
import io
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from components import logins
from components.errors import Failure
from components.front_door_client import Endpoints, FrontDoorClient
from components.naming import BUCKET_USER, POSTGRES_RUNTIME
from components.settings import Settings

_AT_ONCE = 6
_PREFIX = ".mlflow-stack-check"


def prepare() -> None:
    """Load what the check needs in the background: it takes longer than the check, while a program waits a lot."""
    for name in ("minio", "psycopg"):
        threading.Thread(target=importlib.import_module, args=(name,), daemon=True).start()


def verify(settings: Settings, endpoints: Endpoints, now: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Write, read and take back at each of the three places, all at once.

    Each credential is tried as a login, too, and so is the value before of each that was replaced: in vain, it must be.

    Args:
        settings: The stack's settings.
        endpoints: Where its servers are.
        now: Every credential, by key.
        before: The values before of those that were replaced.

    Raises:
        Failure: One of them does not work; it names all that do not.
    """
    admin = now["mlflowAdminPassword"] if settings.auth == "basic" else None
    checks: list[tuple[str, Callable[[], None]]] = [
        ("backend store", lambda: _row(settings, endpoints, now["postgresRuntimePassword"])),
        ("artifact store", lambda: _object(settings, endpoints, now["bucketUserSecret"])),
        ("front door", lambda: _artifact(settings, FrontDoorClient(endpoints.front_door, admin))),
        *logins.checks(settings, endpoints, now, before),
    ]
    with ThreadPoolExecutor(_AT_ONCE) as at_once:
        reasons = at_once.map(_reason, [check for _, check in checks])
        failed = [f"{name}: {reason}" for (name, _), reason in zip(checks, reasons, strict=True) if reason is not None]
    if failed:
        raise Failure(
            "the stack is up, but does not work:\n  " + "\n  ".join(failed) + "\nmend: make doctor, then make up"
        )


def _reason(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the finding
        first_line = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {first_line}"
    return None


def _row(settings: Settings, endpoints: Endpoints, password: str) -> None:
    """Insert a row as the run-time role and roll back: a table without a sequence, so no number is used up."""
    with logins.postgres(settings, endpoints, POSTGRES_RUNTIME, password) as connection:
        connection.execute(
            "INSERT INTO registered_models (name, creation_time, last_updated_time) VALUES (%s, 0, 0)",
            (f"{_PREFIX}-{uuid.uuid4()}",),
        )
        connection.rollback()


def _object(settings: Settings, endpoints: Endpoints, secret: str) -> None:
    client = logins.minio(endpoints, BUCKET_USER, secret)
    name, body = f"{_PREFIX}/{uuid.uuid4()}", uuid.uuid4().bytes
    client.put_object(settings.bucket_name, name, io.BytesIO(body), len(body))
    try:
        response = client.get_object(settings.bucket_name, name)
        try:
            read = response.read()
        finally:
            response.close()
            response.release_conn()
    finally:
        client.remove_object(settings.bucket_name, name)
    if read != body:
        raise ValueError("an object read back differs from what was written")


def _artifact(settings: Settings, client: FrontDoorClient) -> None:
    if settings.artifact_access == "direct":
        client.ask("GET", "/health")
        return
    path = f"/api/2.0/mlflow-artifacts/artifacts/{_PREFIX}/{uuid.uuid4()}"
    body = uuid.uuid4().bytes
    client.ask("PUT", path, body)
    try:
        read = client.ask("GET", path)
    finally:
        client.ask("DELETE", path)
    if read != body:
        raise ValueError("an artifact read back differs from what was written")
    if settings.auth == "basic":
        _login(client)


def _login(client: FrontDoorClient) -> None:
    """Nobody comes in without a login, or with a wrong one."""
    for who, password in (("without a login", None), ("with a wrong password", uuid.uuid4().hex)):
        status = FrontDoorClient(client.door, password).status("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")
        if status != HTTPStatus.UNAUTHORIZED:
            raise ValueError(f"{who} it answered {status} instead of {HTTPStatus.UNAUTHORIZED}")
