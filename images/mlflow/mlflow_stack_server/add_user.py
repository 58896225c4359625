"""The mode `user`: make a user of MLflow's, or give one a new password; the password is printed, and kept nowhere."""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING

from mlflow_stack_server import credentials, users
from mlflow_stack_server.errors import LauncherError, RefusedError

if TYPE_CHECKING:
    from mlflow_stack_server.settings import Settings


def run(settings: Settings, name: str, *, reset: bool) -> None:
    """Print the new password.

    Args:
        settings: Of the server in this container.
        name: The user's.
        reset: Give a user who is there a new password, instead of making one.

    Raises:
        RefusedError: There are no users here, the user is there already, or is not there, or the name is not allowed.
        LauncherError: The database refuses.
    """
    if not settings.auth:
        message = "auth: none: there are no users. mend: pulumi config set auth basic && make up"
        raise RefusedError(message)
    if name == settings.admin_user:
        message = f"NAME: {name}: its password is a setting. mend: pulumi config set --secret mlflowAdminPassword"
        raise RefusedError(message)
    credentials.load(serving=False)
    os.environ.update(users.environment(settings))
    password = secrets.token_urlsafe(18)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415  (seconds of imports)
    from mlflow.server.auth import auth_config, store  # noqa: PLC0415

    try:
        store.init_db(auth_config.database_uri)
        if store.has_user(name) and not reset:
            message = (
                f"NAME: {name}: there is a user of that name. mend: make user NAME={name} RESET=1 (a new password)"
            )
            raise RefusedError(message)
        if reset and not store.has_user(name):
            message = f"NAME: {name}: there is no user of that name. mend: make user NAME={name}"
            raise RefusedError(message)
        if reset:
            store.update_user(name, password=password)
        else:
            store.create_user(name, password)
    except MlflowException as error:
        message = f"NAME: {name}: {error.message}. mend: make user NAME=another-name, or make doctor"
        raise LauncherError(message) from None
    sys.stdout.write(f"{password}\n")
