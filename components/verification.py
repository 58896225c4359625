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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from components import logins
from components.errors import Failure
from components.front_door_client import Endpoints, FrontDoorClient
from components.naming import BUCKET_USER, MINIO_ROOT, POSTGRES_RUNTIME
from components.settings import Settings

_AT_ONCE = 6

#: Names of the checks of the stores.
BACKEND_STORE, ARTIFACT_STORE = "backend store", "artifact store"
_PREFIX = ".mlflow-stack-check"

#: Tables and sequences that the role which asks may not use as it must, and what it lacks for those to come.
_DENIED = """
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND (
    (c.relkind IN ('r', 'p') AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
        AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')))
    OR (c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, 'USAGE')))
UNION ALL SELECT 'what later versions make' WHERE 6 > (
    SELECT count(*) FROM pg_default_acl d, aclexplode(d.defaclacl) a
    WHERE d.defaclnamespace = 'public'::regnamespace AND a.grantee = current_user::regrole)
"""


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
    front_door = FrontDoorClient(endpoints.front_door, admin)
    failed = _failures(
        [
            *_stores(settings, endpoints, now),
            ("front door", lambda: _artifact(settings, front_door)),
            *logins.checks(settings, endpoints, now, before),
        ]
    )
    if failed:
        lines = [f"{name}: {reason}" for name, reason in failed.items()]
        raise Failure(
            "the stack is up, but does not work:\n  " + "\n  ".join(lines) + "\nmend: make doctor, then make up"
        )


def failing_stores(settings: Settings, endpoints: Endpoints, now: Mapping[str, str]) -> dict[str, str]:
    """What of the same does not work at the stores alone: the name of a check, or of a credential, and why."""
    theirs = {key: value for key, value in now.items() if key in (*logins.POSTGRES_ROLES, *logins.MINIO_USERS)}
    return _failures([*_stores(settings, endpoints, now), *logins.checks(settings, endpoints, theirs, {})])


Check = tuple[str, Callable[[], None]]


def _stores(settings: Settings, endpoints: Endpoints, now: Mapping[str, str]) -> list[Check]:
    return [
        (BACKEND_STORE, lambda: _row(settings, endpoints, now["postgresRuntimePassword"])),
        (ARTIFACT_STORE, lambda: _object(settings, endpoints, now["bucketUserSecret"], now["minioRootPassword"])),
    ]


def _failures(checks: Sequence[Check]) -> dict[str, str]:
    with ThreadPoolExecutor(_AT_ONCE) as at_once:
        reasons = at_once.map(_reason, [check for _, check in checks])
        return {name: reason for (name, _), reason in zip(checks, reasons, strict=True) if reason is not None}


def _reason(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the finding
        first_line = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {first_line}"
    return None


def _row(settings: Settings, endpoints: Endpoints, password: str) -> None:
    """Insert a row as the run-time role and roll back: a table without a sequence, so no number is used up.

    And see that the role may use every table there is, and every one that a later version makes.
    """
    with logins.postgres(settings, endpoints, POSTGRES_RUNTIME, password) as connection:
        connection.execute(
            "INSERT INTO registered_models (name, creation_time, last_updated_time) VALUES (%s, 0, 0)",
            (f"{_PREFIX}-{uuid.uuid4()}",),
        )
        connection.rollback()
        denied = connection.execute(_DENIED).fetchall()
    if denied:
        names = ", ".join(str(row[0]) for row in denied)
        raise PermissionError(f"{POSTGRES_RUNTIME} lacks rights to {names}")


def _object(settings: Settings, endpoints: Endpoints, secret: str, root_password: str) -> None:
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
    _closed(settings, endpoints, root_password)


def _closed(settings: Settings, endpoints: Endpoints, root_password: str) -> None:
    """The bucket has no policy of its own, which would let in others than its users, or keep these out."""
    from minio import S3Error  # noqa: PLC0415 - see `prepare`

    try:
        logins.minio(endpoints, MINIO_ROOT, root_password).get_bucket_policy(settings.bucket_name)
    except S3Error as error:
        if error.code == "NoSuchBucketPolicy":
            return
        raise
    raise PermissionError("the bucket has a policy of its own: who may use it is not what this stack says")


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
