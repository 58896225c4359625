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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from components.errors import Failure
from components.naming import BUCKET_USER, POSTGRES_RUNTIME
from components.settings import Settings

_TIMEOUT = 20
_PREFIX = ".mlflow-stack-check"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the check finds the parts of the stack, as `host:port` addresses of this machine."""

    postgres_host: str
    postgres_port: int
    minio: str
    front_door: str


def prepare() -> None:
    """Load what the check needs in the background: it takes longer than the check, while a program waits a lot."""
    for name in ("minio", "psycopg"):
        threading.Thread(target=importlib.import_module, args=(name,), daemon=True).start()


def verify(settings: Settings, endpoints: Endpoints, *, runtime_password: str, bucket_user_secret: str) -> None:
    """Write, read and take back at each of the three places, all at once.

    Raises:
        Failure: One of them does not work; it names all that do not.
    """
    checks: list[tuple[str, Callable[[], None]]] = [
        ("backend store", lambda: _row(settings, endpoints, runtime_password)),
        ("artifact store", lambda: _object(settings, endpoints, bucket_user_secret)),
        ("front door", lambda: _artifact(settings, endpoints)),
    ]
    with ThreadPoolExecutor(len(checks)) as at_once:
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
    import psycopg  # noqa: PLC0415 - needed by a deployment alone, not by a preview

    with psycopg.connect(
        host=endpoints.postgres_host,
        port=endpoints.postgres_port,
        user=POSTGRES_RUNTIME,
        password=password,
        dbname=settings.database_name,
        sslmode="disable",
        connect_timeout=_TIMEOUT,
    ) as connection:
        connection.execute(
            "INSERT INTO registered_models (name, creation_time, last_updated_time) VALUES (%s, 0, 0)",
            (f"{_PREFIX}-{uuid.uuid4()}",),
        )
        connection.rollback()


def _object(settings: Settings, endpoints: Endpoints, secret: str) -> None:
    from minio import Minio  # noqa: PLC0415 - needed by a deployment alone, not by a preview

    client = Minio(endpoints.minio, access_key=BUCKET_USER, secret_key=secret, secure=False, region="us-east-1")
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


def _artifact(settings: Settings, endpoints: Endpoints) -> None:
    if settings.artifact_access == "direct":
        _http("GET", f"http://{endpoints.front_door}/health")
        return
    url = f"http://{endpoints.front_door}/api/2.0/mlflow-artifacts/artifacts/{_PREFIX}/{uuid.uuid4()}"
    body = uuid.uuid4().bytes
    _http("PUT", url, body)
    try:
        read = _http("GET", url)
    finally:
        _http("DELETE", url)
    if read != body:
        raise ValueError("an artifact read back differs from what was written")


def _http(method: str, url: str, body: bytes | None = None) -> bytes:
    request = Request(url, data=body, method=method)  # noqa: S310 - always http, to this stack
    try:
        with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 - see above
            return bytes(response.read())
    except HTTPError as error:
        raise ValueError(f"{method} {url} answered {error.code}") from None
    except URLError as error:
        raise ValueError(f"{method} {url}: {error.reason}") from None
