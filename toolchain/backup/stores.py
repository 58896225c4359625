"""How a job reaches the stores of a stack: with the credentials that are in use there, and no more rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from toolchain.docker_objects import Objects
from toolchain.errors import RefusedError

if TYPE_CHECKING:
    from components.settings import Settings
    from toolchain.session import Session

_STORES: Final = ("postgres", "minio")
_POSTGRES_PORT: Final = 5432
_MINIO_PORT: Final = 9000


def settings(session: Session) -> Settings:
    """The plain settings of a stack."""
    from components.settings import Settings  # noqa: PLC0415 - slow to import

    config = session.config(secrets=False)
    plain = {key: entry["value"] for key, entry in config.items() if entry.get("value") and not entry.get("secret")}
    return Settings.model_validate(plain)


def in_use(objects: Objects) -> dict[str, str]:
    """The credentials that the stack's containers have."""
    from components import in_use  # noqa: PLC0415 - slow to import
    from components.naming import Naming  # noqa: PLC0415

    return in_use.credentials(Naming(objects.stack), objects.client)


def networks(objects: Objects) -> tuple[str, str]:
    """The networks of the stores."""
    return f"mlflow-{objects.stack}-artifact", f"mlflow-{objects.stack}-backend"


def reached(chosen: Settings, credentials: dict[str, str], *, as_owner: bool) -> dict[str, Any]:
    """The part of a request that says how the stores are reached.

    Args:
        chosen: The stack's settings.
        credentials: Those in use.
        as_owner: As the owner of the database, who may replace its tables; else as the role that reads and writes rows.
    """
    from components.naming import (  # noqa: PLC0415 - slow to import
        ARTIFACT_STORE_ALIAS,
        BACKEND_STORE_ALIAS,
        BUCKET_USER,
        POSTGRES_OWNER,
        POSTGRES_RUNTIME,
    )

    return {
        "database": {
            "host": BACKEND_STORE_ALIAS,
            "port": _POSTGRES_PORT,
            "user": POSTGRES_OWNER if as_owner else POSTGRES_RUNTIME,
            "name": chosen.database_name,
            "password": credentials["postgresOwnerPassword" if as_owner else "postgresRuntimePassword"],
        },
        "bucket": {
            "endpoint": f"http://{ARTIFACT_STORE_ALIAS}:{_MINIO_PORT}",
            "name": chosen.bucket_name,
            "user": BUCKET_USER,
            "secret": credentials["bucketUserSecret"],
        },
    }


def require(objects: Objects) -> None:
    """Refuse where a store does not run.

    Raises:
        RefusedError: One does not.
    """
    for role in _STORES:
        if not _runs(objects, role):
            raise RefusedError(role, "not running", "there is nothing to read from", f"make up STACK={objects.stack}")


def are_up(objects: Objects) -> bool:
    """Whether both run."""
    return all(_runs(objects, role) for role in _STORES)


def _runs(objects: Objects, role: str) -> bool:
    container = objects.container(role)
    return container is not None and container.status == "running"
