"""The container that makes backups by itself, on a schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker as docker

from components import backup_place
from components.minio_server import API_PORT
from components.naming import ARTIFACT_STORE_ALIAS, BACKEND_STORE_ALIAS, BUCKET_USER, POSTGRES_RUNTIME, Naming
from components.postgres_server import PORT as POSTGRES_PORT
from components.service import File, ServiceArgs, http_probe, memory_folder, service_container
from components.settings import PROJECT, Settings

BACKUP_UID = 10004
#: Where it tells how it is: health, metrics, status.
PORT = 9100
_MEMORY_MB = 1024
#: Names of objects and rclone's configuration.
_SCRATCH_MB = 256

#: What a set can't be read without; `objectKey` for who finds only the volume.
_KEYS = ("kekPassphrase", "webhookKey", "objectKey")


@dataclass(frozen=True, slots=True)
class BackupArgs:
    """What the backup needs.

    Attributes:
        naming: The stack's names.
        settings: The stack's settings; `backup_target` is set.
        image: Reference of the backup image.
        networks: Names of the networks of both stores, and of one that reaches out.
        credentials: Every credential, by key.
        after: What must be there before the container.
    """

    naming: Naming
    settings: Settings
    image: str
    networks: Sequence[pulumi.Input[str]]
    credentials: pulumi.Output[dict[str, str]]
    after: Sequence[pulumi.Resource]


class Backup(pulumi.ComponentResource):
    """Backups by a schedule, with the rights of the tracking server alone: rows and objects are read.

    Its health is that of the backups: unhealthy when the last one failed, or one is overdue.

    Deliberately not here: a Docker socket, the database's owner, PostgreSQL's superuser, MinIO's root.
    """

    def __init__(self, name: str, args: BackupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:Backup", name, None, opts)
        target = str(args.settings.backup_target)
        request = args.credentials.apply(lambda values: json.dumps(_request(args, values), sort_keys=True))
        self._container = service_container(
            ServiceArgs(
                naming=args.naming,
                role="backup",
                image=args.image,
                uid=BACKUP_UID,
                networks=[(network, []) for network in args.networks],
                looks_up_names=True,
                memory_mb=_MEMORY_MB,
                probe=http_probe(PORT, "/health"),
                command=["serve"],
                files={"request.json": File(request)},
                folders={} if backup_place.is_s3(target) else {backup_place.MOUNT: target},
                tmpfs={
                    "/tmp": memory_folder(_SCRATCH_MB),  # noqa: S108 - in the container's own memory
                    # PostgreSQL's image makes a volume of it; nothing is kept there.
                    "/var/lib/postgresql": memory_folder(1),
                },
                stop_seconds=5,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({})

    @property
    def container(self) -> docker.Container:
        """The running container."""
        return self._container


def about(stack: str, settings: Settings, minio: str = "source", mlflow: str | None = None) -> dict[str, Any]:
    """What a manifest says of a stack: its name, what a restore depends on, and versions that only we know.

    Args:
        stack: The stack's name.
        settings: Its settings.
        minio: MinIO's version.
        mlflow: Version of MLflow that serves; None for the one in the settings, which a deployment makes it.
    """
    return {
        "project": PROJECT,
        "stack": stack,
        "bucket": settings.bucket_name,
        "settings": {
            "auth": settings.auth,
            "artifactAccess": settings.artifact_access,
            "databaseName": settings.database_name,
        },
        "versions": {"mlflow": mlflow or settings.mlflow_version, "minio": minio},
    }


def keys(credentials: Mapping[str, str]) -> str:
    """The file of a set with what it can't be read without."""
    return json.dumps({key: credentials[key] for key in _KEYS if key in credentials}, indent=2) + "\n"


def _request(args: BackupArgs, credentials: Mapping[str, str]) -> dict[str, Any]:
    settings = args.settings
    target, profile = str(settings.backup_target), settings.backup_s3_file
    return {
        "remotes": backup_place.s3(target, Path(profile)) if profile else backup_place.folder(),
        "key": credentials["backupKey"],
        "schedule": settings.backup_schedule,
        "keep": settings.backup_keep,
        "about": about(args.naming.stack, settings),
        "keys": {"keys.json": keys(credentials)},
        "database": {
            "host": BACKEND_STORE_ALIAS,
            "port": POSTGRES_PORT,
            "user": POSTGRES_RUNTIME,
            "name": settings.database_name,
            "password": credentials["postgresRuntimePassword"],
        },
        "bucket": {
            "endpoint": f"http://{ARTIFACT_STORE_ALIAS}:{API_PORT}",
            "name": settings.bucket_name,
            "user": BUCKET_USER,
            "secret": credentials["bucketUserSecret"],
        },
    }
