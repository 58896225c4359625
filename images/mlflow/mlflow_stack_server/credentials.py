"""Credentials: files, taken into this process's own environment.

Nothing is handed over by the container's environment or arguments, so `docker inspect` and /proc/PID/environ (the
environment a program was started with) show no secret. PostgreSQL and S3 read their files themselves: only the
*paths* stand in the environment. MLflow takes its own keys by environment variable alone: those are set here, inside
the running process, before MLflow is imported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_stack_server.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

DIRECTORY = Path("/run/mlflow-stack")


@dataclass(frozen=True)
class KeyFile:
    """A file whose content becomes one environment variable of MLflow."""

    name: str
    variable: str
    required: bool


KEY_FILES = (
    # Without these two MLflow falls back to a passphrase that is printed in its source, so they are required.
    KeyFile("kek-passphrase", "MLFLOW_CRYPTO_KEK_PASSPHRASE", required=True),
    KeyFile("webhook-key", "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", required=True),
    # Logins: the files are there where there are users.
    KeyFile("flask-secret", "MLFLOW_FLASK_SERVER_SECRET_KEY", required=False),
    KeyFile("admin-password", "MLFLOW_AUTH_ADMIN_PASSWORD", required=False),
)

PATH_FILES = {
    "pg-service.conf": "PGSERVICEFILE",
    "aws-credentials": "AWS_SHARED_CREDENTIALS_FILE",
}
"""Files that their reader opens itself; the variable holds the path."""


def load(environment: MutableMapping[str, str] = os.environ, *, serving: bool) -> None:
    """Take the credentials into the environment of this process.

    Args:
        environment: Changed in place.
        serving: The server needs every file; a migration needs the database's alone.

    Raises:
        RefusedError: a file is missing, unreadable, or empty.
    """
    directory = Path(environment.get("MLFLOW_STACK_FILES", str(DIRECTORY)))
    for name, variable in PATH_FILES.items():
        if not serving and name != "pg-service.conf":
            continue
        _read(directory / name)
        environment[variable] = str(directory / name)
    environment["PGSERVICE"] = environment.get("PGSERVICE", "mlflow")
    if not serving:
        return
    for key_file in KEY_FILES:
        path = directory / key_file.name
        if key_file.required or path.exists():
            environment[key_file.variable] = _read(path)


def load_stores(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take those of both stores, and no key of MLflow's, into the environment of this process.

    Args:
        environment: Changed in place.

    Raises:
        RefusedError: a file is missing, unreadable, or empty.
    """
    load(environment, serving=False)
    path = Path(environment.get("MLFLOW_STACK_FILES", str(DIRECTORY))) / "aws-credentials"
    _read(path)
    environment[PATH_FILES[path.name]] = str(path)


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        message = (
            f"{path}: {reason}: the credential file must be readable by uid {os.getuid()}. mend: make init && make up"
        )
        raise RefusedError(message) from error
    if not text.strip():
        message = f"{path}: empty: the credential file must hold a value. mend: make init && make up"
        raise RefusedError(message)
    return text
