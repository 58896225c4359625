"""The tracking server: MLflow on the two stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components import labels
from components.mlflow_container import (
    HOME_IN_MEMORY,
    MLFLOW_UID,
    bucket_file,
    database_environment,
    service_file,
    store_environment,
)
from components.naming import (
    MLFLOW_ADMIN,
    POSTGRES_RUNTIME,
    TRACKING_SERVER_ALIAS,
    Naming,
)
from components.service import File, ServiceArgs, http_probe, service_container
from components.settings import Settings

PORT = 5000


@dataclass(frozen=True, slots=True)
class MlflowServerArgs:
    """What the tracking server needs.

    Attributes:
        settings: Workers, memory, names it answers to.
        image: Reference of the MLflow image.
        networks: Names of the networks it joins; the first by name is its way out.
        database_name: Database of the backend store.
        bucket_name: Bucket of the artifact store.
        runtime_password: Password of the run-time role.
        bucket_user_secret: Secret of the bucket user.
        kek_passphrase: Encrypts the secrets that MLflow keeps in its database.
        webhook_key: Encrypts the secrets of webhooks there.
        admin_password: Password of the first user, with `auth: basic`.
        flask_secret: Signs the forms of MLflow's sign-up page, with `auth: basic`.
        migrated: Output of the migration; the server is stopped whenever it changes.
        after: What must be there before.
    """

    naming: Naming
    settings: Settings
    image: pulumi.Input[str]
    networks: Sequence[pulumi.Input[str]]
    database_name: pulumi.Input[str]
    bucket_name: pulumi.Input[str]
    runtime_password: pulumi.Output[str]
    bucket_user_secret: pulumi.Output[str]
    kek_passphrase: pulumi.Output[str]
    webhook_key: pulumi.Output[str]
    admin_password: pulumi.Output[str]
    flask_secret: pulumi.Output[str]
    migrated: pulumi.Output[str]
    after: Sequence[pulumi.Resource]


def allowed_hosts(settings: Settings, naming: Naming) -> list[str]:
    """The names that the server answers to beyond MLflow's own list (localhost and private addresses).

    The image adds that list: one that is given to MLflow replaces it.
    """
    names = [TRACKING_SERVER_ALIAS, naming.container("gateway"), naming.container("server")]
    return [*names, settings.public_host] if settings.public_host else names


class MlflowServer(pulumi.ComponentResource):
    """MLflow, ready for requests behind the gateway.

    Deliberately not here: a published port. The gateway is the only way in.
    """

    def __init__(self, name: str, args: MlflowServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:MlflowServer", name, None, opts)
        settings = args.settings
        pool_size, max_overflow = settings.connection_pool
        environment: dict[str, pulumi.Input[str]] = {
            **database_environment(POSTGRES_RUNTIME, args.database_name),
            **store_environment(args.bucket_name, settings.artifact_access),
            "MLFLOW_STACK_ALLOWED_HOSTS": ",".join(allowed_hosts(settings, args.naming)),
            "MLFLOW_STACK_AUTH": settings.auth,
            "MLFLOW_STACK_JOB_RUNNER": str(settings.job_runner).lower(),
            "MLFLOW_STACK_MAX_OVERFLOW": str(max_overflow),
            "MLFLOW_STACK_POOL_SIZE": str(pool_size),
            "MLFLOW_STACK_WORKERS": str(settings.workers),
            # The server does not read this one: it makes the server depend on the job by a property, the only
            # kind of dependency by which Pulumi stops one before it replaces the other.
            "MLFLOW_STACK_MIGRATION": args.migrated,
        }
        files = {
            "pg-service.conf": service_file(args.runtime_password),
            "aws-credentials": bucket_file(args.bucket_user_secret),
            "kek-passphrase": File(args.kek_passphrase),
            "webhook-key": File(args.webhook_key),
        }
        if settings.auth == "basic":
            environment |= {
                "MLFLOW_STACK_ADMIN_USER": MLFLOW_ADMIN,
                "MLFLOW_STACK_DEFAULT_PERMISSION": settings.default_permission,
            }
            files |= {"admin-password": File(args.admin_password), "flask-secret": File(args.flask_secret)}
        # Artifacts in transit: too large for memory.
        scratch = docker.Volume(
            "server-scratch",
            name=args.naming.scratch_volume("server"),
            labels=labels.of_volume(args.naming, "server"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._container = service_container(
            ServiceArgs(
                naming=args.naming,
                role="server",
                image=args.image,
                uid=MLFLOW_UID,
                networks=[(network, []) for network in args.networks],
                looks_up_names=True,
                memory_mb=settings.server_memory_limit_mb,
                probe=http_probe(PORT, "/health"),
                command=["serve"],
                environment=environment,
                files=files,
                volumes={"/tmp": scratch.name},  # noqa: S108 - in the container
                tmpfs=HOME_IN_MEMORY,
                stop_seconds=30,
                start_seconds=180,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({"containerName": self._container.name})

    @property
    def container(self) -> docker.Container:
        """The running server."""
        return self._container
