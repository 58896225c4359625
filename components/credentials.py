"""The stack's credentials as secret outputs, each under the name of its config key."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pulumi

from components.naming import (
    BUCKET_USER,
    CONSOLE_USER,
    MINIO_ROOT,
    MLFLOW_ADMIN,
    POSTGRES_ADMIN,
    POSTGRES_OWNER,
    POSTGRES_RUNTIME,
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Every credential, encrypted in the state wherever it goes.

    The fields are named as the config keys are, in snake case; `components.settings.SECRETS` says who uses each.
    """

    postgres_admin_password: pulumi.Output[str]
    postgres_owner_password: pulumi.Output[str]
    postgres_runtime_password: pulumi.Output[str]
    minio_root_password: pulumi.Output[str]
    bucket_user_secret: pulumi.Output[str]
    console_user_password: pulumi.Output[str]
    mlflow_admin_password: pulumi.Output[str]
    flask_secret: pulumi.Output[str]
    kek_passphrase: pulumi.Output[str]
    webhook_key: pulumi.Output[str]
    object_key: pulumi.Output[str]
    backup_key: pulumi.Output[str]

    @classmethod
    def from_config(cls, config: pulumi.Config) -> Credentials:
        """Read them with `require_secret`: a plain `get` would give plaintext to the state."""
        return cls(**{field.name: config.require_secret(_config_key(field.name)) for field in fields(cls)})

    def as_output(self) -> pulumi.Output[dict[str, str]]:
        """The map that the stack exports: credentials by config key, and the user names that go with them."""
        values: dict[str, pulumi.Input[str]] = {
            _config_key(field.name): getattr(self, field.name) for field in fields(self)
        }
        users = {
            "postgresAdminUser": POSTGRES_ADMIN,
            "postgresOwnerUser": POSTGRES_OWNER,
            "postgresRuntimeUser": POSTGRES_RUNTIME,
            "minioRootUser": MINIO_ROOT,
            "bucketUser": BUCKET_USER,
            "consoleUser": CONSOLE_USER,
            "mlflowAdminUser": MLFLOW_ADMIN,
        }
        return pulumi.Output.secret(pulumi.Output.all(**values, **users))


def _config_key(field_name: str) -> str:
    first, *rest = field_name.split("_")
    return first + "".join(word.capitalize() for word in rest)
