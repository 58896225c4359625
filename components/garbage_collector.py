"""The garbage collector: removes, by a schedule, what users deleted long ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components.mlflow_container import (
    HOME_IN_MEMORY,
    MLFLOW_UID,
    bucket_file,
    database_environment,
    service_file,
    store_environment,
)
from components.naming import POSTGRES_RUNTIME, Naming
from components.service import ServiceArgs, memory_folder, service_container

#: Idle it needs a tenth; a collection imports MLflow.
_MEMORY_MB = 1024

#: There while the last collection went well (see `mlflow_stack_server.garbage.schedule`).
_WELL = "/tmp/mlflow-stack-gc-well"  # noqa: S108 - in the container's own memory


@dataclass(frozen=True, slots=True)
class GarbageCollectorArgs:
    """What the garbage collector needs.

    Attributes:
        schedule: When it collects: five fields of cron, UTC.
        older_than: How long ago something must have been deleted.
        image: Reference of the MLflow image.
        networks: Names of the networks of both stores.
        database_name: Database of the backend store.
        bucket_name: Bucket of the artifact store.
        artifact_access: `proxied` or `direct`.
        runtime_password: Password of the run-time role.
        bucket_user_secret: Secret of the bucket user.
        migrated: Output of the migration; the collector is stopped whenever it changes.
        after: What must be there before.
    """

    naming: Naming
    schedule: str
    older_than: str
    image: str
    networks: Sequence[pulumi.Input[str]]
    database_name: pulumi.Input[str]
    bucket_name: pulumi.Input[str]
    artifact_access: str
    runtime_password: pulumi.Output[str]
    bucket_user_secret: pulumi.Output[str]
    migrated: pulumi.Output[str]
    after: Sequence[pulumi.Resource]


class GarbageCollector(pulumi.ComponentResource):
    """A container that collects by a schedule, with the rights of the tracking server in both stores.

    It is not healthy from a collection that failed to the next one that went well. Deliberately not here: Docker's
    socket, a login of MLflow's, and its keys.
    """

    def __init__(self, name: str, args: GarbageCollectorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:GarbageCollector", name, None, opts)
        self._container = service_container(
            ServiceArgs(
                naming=args.naming,
                role="gc",
                image=args.image,
                uid=MLFLOW_UID,
                networks=[(network, []) for network in args.networks],
                memory_mb=_MEMORY_MB,
                probe=f"test -e {_WELL}",
                command=["gc-schedule", args.schedule, args.older_than],
                environment={
                    **database_environment(POSTGRES_RUNTIME, args.database_name),
                    **store_environment(args.bucket_name, args.artifact_access),
                    # It does not read this one (see the tracking server).
                    "MLFLOW_STACK_MIGRATION": args.migrated,
                },
                files={
                    "pg-service.conf": service_file(args.runtime_password),
                    "aws-credentials": bucket_file(args.bucket_user_secret),
                },
                tmpfs={**HOME_IN_MEMORY, "/tmp": memory_folder(64)},  # noqa: S108 - in the container's own memory
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({"containerName": self._container.name})

    @property
    def container(self) -> docker.Container:
        """The running collector."""
        return self._container
