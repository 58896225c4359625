"""Logins: MLflow's own users and permissions, set up from our settings and files.

What MLflow leaves open to everybody (what the server can do, the files of its pages) wants a login here, too. The
users are rows beside the runs: one database, one backup, one moment in time.
"""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_stack_server.settings import DATABASE_URI

if TYPE_CHECKING:
    from mlflow_stack_server.application import App
    from mlflow_stack_server.settings import Settings

REMEMBERED_SECONDS = 30
"""For so long a worker takes a password that it has checked without checking it again: a check costs a twentieth of a
second of a core. A user who was removed, or got another password, is let in by the old one for as long at most."""

ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable

_CONFIGURATION = """\
[mlflow]
database_uri = {database_uri}
default_permission = {default_permission}
admin_username = {admin_user}
auth_cache_ttl_seconds = {remembered}
"""


def environment(settings: Settings) -> dict[str, str]:
    """Write MLflow's configuration of logins, and return the variable that names it; no secret is in either."""
    path = Path(tempfile.gettempdir()) / "mlflow-auth.ini"
    path.write_text(
        _CONFIGURATION.format(
            database_uri=DATABASE_URI,
            default_permission=settings.default_permission,
            admin_user=settings.admin_user,
            remembered=REMEMBERED_SECONDS,
        ),
        encoding="utf-8",
    )
    return {"MLFLOW_AUTH_CONFIG_PATH": str(path)}


def application(settings: Settings) -> App:
    """Return MLflow's application with logins; its first user exists afterwards and has the password that is set.

    MLflow looks at the password only when it makes the user. Here the setting is the truth at every start, so that a
    new one takes effect, and one that was changed by hand is changed back.
    """
    from mlflow.server import app, auth  # noqa: PLC0415  (seconds of imports)

    made: Any = auth.create_app(app)
    name, password = settings.admin_user, os.environ[ADMIN_PASSWORD]
    if not (auth.store.authenticate_user(name, password) and auth.store.get_user(name).is_admin):
        auth.store.update_user(name, password=password, is_admin=True)
    return made


def forget_connections() -> None:
    """Close the connections of this process to the users (see `serve`)."""
    from mlflow.server import auth  # noqa: PLC0415

    auth.store.engine.dispose()


def basic(user: str, password: str) -> bytes:
    """Return the header by which a user logs in."""
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


class Login:
    """Asks for a login where MLflow does not."""

    @staticmethod
    async def admits(path: str, headers: dict[bytes, bytes]) -> bool:
        """Say whether a request may go on to MLflow, which looks at all but its open routes itself.

        What is no login at all is sent away on every route but the AI gateway's, where this header is for the provider
        behind it and MLflow has one of its own.
        """
        from anyio import to_thread  # noqa: PLC0415
        from mlflow.server import auth  # noqa: PLC0415

        if not auth.is_unprotected_route(path):
            return path.startswith("/gateway/") or _credentials(headers.get(b"authorization", b"")) is not None
        credentials = _credentials(headers.get(b"authorization", b""))
        if credentials is None:
            return False
        # Its threads belong to the running loop, so those of the warm-up are not taken for a worker's after the fork.
        return await to_thread.run_sync(_knows, *credentials)


def _knows(user: str, password: str) -> bool:
    from mlflow.server import auth  # noqa: PLC0415

    private: Any = auth  # MLflow's own check, with what it remembers
    return private._authenticate_cached(user, password) is not None  # noqa: SLF001


def _credentials(header: bytes) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, separator, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if separator else None
