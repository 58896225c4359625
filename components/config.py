"""The stack's config as Pulumi hands it over, checked."""

from __future__ import annotations

import pulumi
from pulumi.runtime.config import CONFIG, is_config_secret

from components.credentials import Credentials
from components.settings import PROJECT, SECRET_KEYS, Settings, load


def read() -> tuple[Settings, Credentials]:
    """Read every key of this project, known or not, and check it.

    `pulumi.Config` gives a key only to who knows its name, so the runtime's own map is read: unknown keys are
    refused, too.

    Raises:
        Refusal: A key is unknown, a value breaks a limit, or a credential is missing, malformed or not encrypted.
    """
    prefix = f"{PROJECT}:"
    values = {key.removeprefix(prefix): str(value) for key, value in CONFIG.get().items() if key.startswith(prefix)}
    encrypted = {key for key in SECRET_KEYS if is_config_secret(prefix + key)}
    return load(values, encrypted=encrypted), Credentials.from_config(pulumi.Config(PROJECT))
