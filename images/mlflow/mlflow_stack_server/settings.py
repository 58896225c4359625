"""The launcher's settings: plain environment variables, read once and validated.

Secrets are no settings: they come from files, see `credentials`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow_stack_server.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE_URI = "postgresql+psycopg2://"
"""Host, user, database and password all come from libpq's own variables, so that the URI is free of secrets.

The driver is named because SQLAlchemy 2.1 takes a bare ``postgresql://`` to mean psycopg 3.
"""

PORT = 5000
"""The port inside the container; the gateway publishes it under another."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PERMISSIONS = ("NO_PERMISSIONS", "READ", "USE", "EDIT", "MANAGE")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class Settings:
    """Everything that the environment says, in its final type."""

    workers: int
    """Server processes (1 to 64)."""
    job_runner: bool
    """Start MLflow's job runner beside the server, as `mlflow server` does by default."""
    bucket: str
    """Bucket of the artifact store."""
    proxied: bool
    """Artifacts go through the front door (`proxied`) or clients hold a key of their own (`direct`)."""
    pool_size: int
    """Database connections that one worker keeps (1 to 100)."""
    max_overflow: int
    """Database connections that one worker may open beyond the pool (1 to 100; MLflow cannot express 0)."""
    allowed_hosts: tuple[str, ...]
    """Host names beyond MLflow's own defaults, under which the server answers; `*` allows every name."""
    cors_origins: str
    """Origins that may call the API from a browser, comma-separated, as MLflow's own option takes them."""
    auth: bool
    """MLflow's own users and permissions are on."""
    admin_user: str
    """The first user, whose password is in a file."""
    default_permission: str
    """What a user may do with what others made, unless granted otherwise; one of MLflow's own words."""
    access_log: bool
    """Log each request. Off by default: the gateway can log, and a log line a request costs throughput."""
    database_wait: float
    """Seconds to wait for the database to answer before giving up."""
    lock_timeout: int
    """Seconds that a migration waits for a lock before it gives up."""
    grace: int
    """Seconds that requests in flight get to end after a stop signal."""
    listen: str
    """Address and port to listen on."""


def read(environment: Mapping[str, str]) -> Settings:
    """Read the settings from an environment.

    Raises:
        RefusedError: a variable has a value outside its limits.
    """
    bucket = environment.get("MLFLOW_STACK_BUCKET", "mlflow")
    if not _BUCKET.fullmatch(bucket):
        message = (
            f"MLFLOW_STACK_BUCKET: {bucket}: not a bucket name (3 to 63 of a-z 0-9 . -). "
            "mend: pulumi config set bucketName mlflow"
        )
        raise RefusedError(message)
    access = environment.get("MLFLOW_STACK_ARTIFACT_ACCESS", "proxied")
    if access not in ("proxied", "direct"):
        message = (
            f"MLFLOW_STACK_ARTIFACT_ACCESS: {access}: must be proxied or direct. "
            "mend: pulumi config set artifactAccess proxied"
        )
        raise RefusedError(message)
    auth = environment.get("MLFLOW_STACK_AUTH", "none")
    if auth not in ("none", "basic"):
        message = f"MLFLOW_STACK_AUTH: {auth}: must be none or basic. mend: pulumi config set auth none"
        raise RefusedError(message)
    permission = environment.get("MLFLOW_STACK_DEFAULT_PERMISSION", "NO_PERMISSIONS")
    if permission not in _PERMISSIONS:
        message = (
            f"MLFLOW_STACK_DEFAULT_PERMISSION: {permission}: must be one of {', '.join(_PERMISSIONS)}. "
            "mend: pulumi config set defaultPermission NO_PERMISSIONS"
        )
        raise RefusedError(message)
    return Settings(
        auth=auth == "basic",
        admin_user=environment.get("MLFLOW_STACK_ADMIN_USER", "admin"),
        default_permission=permission,
        workers=_integer(environment, "MLFLOW_STACK_WORKERS", 4, 1, 64),
        job_runner=_boolean(environment, "MLFLOW_STACK_JOB_RUNNER", default=False),
        bucket=bucket,
        proxied=access == "proxied",
        pool_size=_integer(environment, "MLFLOW_STACK_POOL_SIZE", 5, 1, 100),
        max_overflow=_integer(environment, "MLFLOW_STACK_MAX_OVERFLOW", 10, 1, 100),
        allowed_hosts=_words(environment.get("MLFLOW_STACK_ALLOWED_HOSTS", "mlflow-server")),
        cors_origins=",".join(_words(environment.get("MLFLOW_STACK_CORS_ORIGINS", ""))),
        access_log=_boolean(environment, "MLFLOW_STACK_ACCESS_LOG", default=False),
        database_wait=float(_integer(environment, "MLFLOW_STACK_DATABASE_WAIT_SECONDS", 60, 0, 3600)),
        lock_timeout=_integer(environment, "MLFLOW_STACK_LOCK_TIMEOUT_SECONDS", 60, 1, 3600),
        grace=_integer(environment, "MLFLOW_STACK_GRACE_SECONDS", 20, 1, 3600),
        listen=environment.get("MLFLOW_STACK_LISTEN", f"0.0.0.0:{PORT}"),
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def _integer(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environment.get(name, "") or str(default)
    if not re.fullmatch(r"[0-9]{1,6}", text) or not low <= int(text) <= high:
        message = f"{name}: {text}: must be a whole number from {low} to {high}. mend: set {name}={default}"
        raise RefusedError(message)
    return int(text)


def _boolean(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(name, "").strip().lower()
    if not text:
        return default
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    message = f"{name}: {text}: must be true or false. mend: set {name}={str(default).lower()}"
    raise RefusedError(message)
