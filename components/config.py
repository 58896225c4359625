"""The stack's config as Pulumi hands it over, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi.runtime.config import CONFIG, is_config_secret

from components.credentials import Credentials
from components.errors import Refusal
from components.problem import InvalidConfigError
from components.settings import PROJECT, ROTATING_KEYS, SECRET_KEYS, Settings, load


@dataclass(frozen=True, slots=True)
class Config:
    """What the stack file holds.

    Attributes:
        settings: What the user chose.
        credentials: Every credential, as secret outputs: what goes into resources.
        plain: Every credential in plain text, and those of a rotation at work: for comparing and logging in alone.
    """

    settings: Settings
    credentials: Credentials
    plain: Mapping[str, str] = field(repr=False)


def read() -> Config:
    """Read every key of this project, known or not, and check it.

    `pulumi.Config` gives a key only to who knows its name, so the runtime's own map is read: unknown keys are
    refused, too.

    Raises:
        Refusal: A key is unknown, a value breaks a limit, or a credential is missing, malformed or not encrypted.
    """
    prefix = f"{PROJECT}:"
    values = {key.removeprefix(prefix): str(value) for key, value in CONFIG.get().items() if key.startswith(prefix)}
    encrypted = {key for key in SECRET_KEYS if is_config_secret(prefix + key)}
    try:
        settings = load(values, encrypted=encrypted)
    except InvalidConfigError as error:
        raise Refusal(error.problems) from None
    plain = {key: values[key] for key in (*SECRET_KEYS, *ROTATING_KEYS) if values.get(key)}
    return Config(settings, Credentials.from_config(pulumi.Config(PROJECT)), plain)
