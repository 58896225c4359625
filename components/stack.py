"""The whole stack: the one component that joins the parts, in the order in which they become ready."""

from __future__ import annotations

from dataclasses import dataclass, field

import pulumi
import pulumi_docker as docker

from components import labels, verification
from components.artifact_store import ArtifactStore, ArtifactStoreArgs
from components.backend_store import BackendStore, BackendStoreArgs
from components.backup import Backup, BackupArgs
from components.builds import backup_build, base_images, minio_build, mlflow_build
from components.credentials import Credentials
from components.front_door import FrontDoor
from components.front_door_client import Endpoints
from components.garbage_collector import GarbageCollector, GarbageCollectorArgs
from components.gateway import Gateway, GatewayArgs
from components.image import BuiltImage, PulledImage
from components.migration import Migration, MigrationArgs
from components.minio_server import MinioServer, MinioServerArgs
from components.mlflow_server import MlflowServer, MlflowServerArgs
from components.naming import BUCKET_USER, MLFLOW_ADMIN, SERVICES, Naming, Role
from components.network import Networks, NetworksArgs
from components.postgres_server import PostgresServer, PostgresServerArgs
from components.preflight import Checked
from components.settings import Settings
from components.upgrade.steps import Steps

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class MlflowStackArgs:
    """What the stack needs.

    Attributes:
        stack: Name of the Pulumi stack: part of every name outside.
        settings: What the user chose.
        credentials: Every credential, as secret outputs.
        checked: What a look at the Docker host told.
    """

    stack: str
    settings: Settings
    credentials: Credentials
    checked: Checked = field(default_factory=Checked)


class MlflowStack(pulumi.ComponentResource):
    """MLflow on PostgreSQL and MinIO behind one front door."""

    def __init__(self, name: str, args: MlflowStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:MlflowStack", name, None, opts)
        if not pulumi.runtime.is_dry_run():
            verification.prepare()
        for container in args.checked.gone:
            pulumi.log.warn(
                f"{container} is not there, though its data is: it is made. Where that fails: make up", self
            )
        settings, secret = args.settings, args.credentials
        self._args = args
        self._naming = naming = Naming(args.stack)
        protect = settings.protects_data(args.stack)
        self._door = door = FrontDoor(settings, naming)
        self._upgrade = upgrade = Steps(args.checked.upgrade, settings, naming)
        upgrade.tell()
        here = pulumi.ResourceOptions(
            parent=self,
            providers={"docker": docker.Provider("docker", opts=pulumi.ResourceOptions(parent=self))},
        )
        bases = base_images(settings)
        postgres_image = PulledImage("postgres", bases.postgres, here)
        gateway_image = PulledImage("gateway", bases.gateway, here)
        minio_image = (
            PulledImage("minio", settings.minio_image, here)
            if settings.minio_image
            else BuiltImage("minio", minio_build(bases), here)
        )
        mlflow_image = BuiltImage("mlflow", mlflow_build(settings, bases), here)
        images = {
            "postgres": postgres_image,
            "minio": minio_image,
            "server": mlflow_image,
            "gateway": gateway_image,
        }
        if settings.backup_target:
            images["backup"] = BuiltImage("backup", backup_build(bases), here)
        self._images = {role: image.reference for role, image in images.items()}
        # No container before every image: a build that fails leaves nothing behind.
        built = list(images.values())
        there = [image.there for image in images.values()]

        networks = Networks("networks", NetworksArgs(naming), here)
        api_address = settings.bind_address if settings.artifact_access == "direct" else _LOOPBACK
        postgres = PostgresServer(
            "postgres",
            PostgresServerArgs(
                naming=naming,
                image=upgrade.postgres_image(postgres_image.reference, there),
                database_name=settings.database_name,
                port=settings.postgres_port,
                network=networks.backend,
                admin_password=secret.postgres_admin_password,
                protect=protect,
                after=built,
            ),
            here,
        )
        minio = MinioServer(
            "minio",
            MinioServerArgs(
                naming=naming,
                image=minio_image.reference,
                bucket_name=settings.bucket_name,
                api_address=api_address,
                api_port=settings.minio_api_port,
                console_port=settings.minio_console_port,
                network=networks.artifact,
                root_password=secret.minio_root_password,
                object_key=secret.object_key if settings.object_encryption else None,
                protect=protect,
                after=built,
            ),
            here,
        )
        gateway = Gateway(
            "gateway",
            GatewayArgs(
                naming=naming,
                image=gateway_image.reference,
                front=networks.front,
                inner=[networks.app, networks.artifact],
                door=door,
                after=built,
            ),
            here,
        )
        backend_store = BackendStore(
            "backend-store",
            BackendStoreArgs(
                host=_LOOPBACK,
                port=settings.postgres_port,
                database_name=settings.database_name,
                admin_password=secret.postgres_admin_password,
                owner_password=secret.postgres_owner_password,
                runtime_password=secret.postgres_runtime_password,
                server=postgres.container,
                data=postgres.volume,
                protect=protect,
            ),
            here,
        )
        reachable = door.address if settings.artifact_access == "direct" else _LOOPBACK
        artifact_store = ArtifactStore(
            "artifact-store",
            ArtifactStoreArgs(
                endpoint=f"{reachable}:{settings.minio_api_port}",
                bucket_name=settings.bucket_name,
                root_password=secret.minio_root_password,
                bucket_user_secret=secret.bucket_user_secret,
                console_user_password=secret.console_user_password,
                server=minio.container,
                data=minio.volume,
                version_days=settings.bucket_version_days if settings.bucket_versioning else None,
                protect=protect,
            ),
            here,
        )
        migrated_for = upgrade.mlflow_image(mlflow_image.reference, [*there, postgres.container.id])
        migration = Migration(
            "migration",
            MigrationArgs(
                naming=naming,
                image=migrated_for,
                network=networks.backend,
                database_name=backend_store.database_name,
                owner_password=secret.postgres_owner_password,
                auth=settings.auth,
                attempt=args.checked.migration_attempt,
                after=[mlflow_image, *backend_store.ready],
            ),
            here,
        )
        server = MlflowServer(
            "server",
            MlflowServerArgs(
                naming=naming,
                settings=settings,
                image=migrated_for,
                networks=[networks.app, networks.artifact, networks.backend],
                database_name=backend_store.database_name,
                bucket_name=artifact_store.bucket_name,
                runtime_password=secret.postgres_runtime_password,
                bucket_user_secret=secret.bucket_user_secret,
                kek_passphrase=secret.kek_passphrase,
                webhook_key=secret.webhook_key,
                admin_password=secret.mlflow_admin_password,
                flask_secret=secret.flask_secret,
                migrated=migration.done,
                after=[mlflow_image, *artifact_store.ready],
            ),
            here,
        )
        collectors = self._collectors(
            mlflow_image.reference,
            [networks.artifact, networks.backend],
            backend_store,
            artifact_store,
            migration,
            here,
        )
        backups = (
            [
                Backup(
                    "backup",
                    BackupArgs(
                        naming=naming,
                        settings=settings,
                        image=images["backup"].reference,
                        networks=[networks.app, networks.artifact, networks.backend],
                        credentials=secret.as_output(),
                        after=[images["backup"], migration, *artifact_store.ready],
                    ),
                    here,
                )
            ]
            if settings.backup_target
            else []
        )
        self._roles: tuple[Role, ...] = (
            *SERVICES,
            *(("gc",) if collectors else ()),
            *(("backup",) if backups else ()),
        )
        self._api_host = reachable
        # A refused destroy deletes what comes before the protected resource. This one comes before all others, since
        # nothing depends on it and it depends on all that runs: so nothing is deleted.
        docker.Volume(
            # Its name is what a refused `pulumi destroy` shows: the way to do it on purpose.
            "kept-until-dataProtection-is-false",
            name=naming.protection_volume,
            labels=labels.of_volume(naming, "protection"),
            opts=pulumi.ResourceOptions.merge(
                here,
                pulumi.ResourceOptions(
                    protect=protect,
                    aliases=[pulumi.Alias(name="protection")],
                    depends_on=[
                        gateway.container,
                        server.container,
                        *(scheduled.container for scheduled in (*collectors, *backups)),
                        *artifact_store.ready,
                        *backend_store.ready,
                    ],
                ),
            ),
        )
        self._verified = pulumi.Output.all(
            secret.as_output(),
            server.container.id,
            gateway.container.id,
            minio.container.id,
            postgres.container.id,
            *(resource.urn for resource in (*backend_store.ready, *artifact_store.ready)),
        ).apply(lambda values: self._verify(values[0]))
        self.register_outputs({"trackingUri": door.url})

    def _collectors(
        self,
        image: str,
        networks: list[pulumi.Output[str]],
        backend_store: BackendStore,
        artifact_store: ArtifactStore,
        migration: Migration,
        opts: pulumi.ResourceOptions,
    ) -> list[GarbageCollector]:
        """The garbage collector, where there is a schedule for it."""
        settings, secret = self._args.settings, self._args.credentials
        if settings.gc_schedule is None:
            return []
        args = GarbageCollectorArgs(
            naming=self._naming,
            schedule=settings.gc_schedule,
            older_than=settings.gc_older_than,
            image=image,
            networks=networks,
            database_name=backend_store.database_name,
            bucket_name=artifact_store.bucket_name,
            artifact_access=settings.artifact_access,
            runtime_password=secret.postgres_runtime_password,
            bucket_user_secret=secret.bucket_user_secret,
            migrated=migration.done,
            after=artifact_store.ready,
        )
        return [GarbageCollector("garbage-collector", args, opts)]

    def _verify(self, credentials: dict[str, str]) -> bool:
        if not pulumi.runtime.is_dry_run():
            endpoints = Endpoints.of(self._door)
            self._upgrade.before_check()
            verification.verify(self._args.settings, endpoints, credentials, self._args.checked.replaced)
            self._upgrade.after_check()
        return True

    @property
    def outputs(self) -> dict[str, pulumi.Input[object]]:
        """The outputs of the stack, by the names under which they are exported."""
        settings, secret = self._args.settings, self._args.credentials
        api_host = "localhost" if self._api_host == _LOOPBACK else self._api_host
        api_url = f"http://{api_host}:{settings.minio_api_port}"
        client_env: dict[str, pulumi.Input[str]] = {"MLFLOW_TRACKING_URI": self._door.url}
        if settings.auth == "basic":
            client_env |= {
                "MLFLOW_TRACKING_USERNAME": MLFLOW_ADMIN,
                "MLFLOW_TRACKING_PASSWORD": secret.mlflow_admin_password,
            }
        if settings.artifact_access == "direct":
            client_env |= {
                "MLFLOW_S3_ENDPOINT_URL": api_url,
                "AWS_ACCESS_KEY_ID": BUCKET_USER,
                "AWS_SECRET_ACCESS_KEY": secret.bucket_user_secret,
            }
        return {
            "trackingUri": self._door.url,
            "minioConsoleUrl": f"http://localhost:{settings.minio_console_port}",
            "minioApiUrl": api_url,
            "artifactRoot": f"s3://{settings.bucket_name}/",
            "clientEnv": client_env,
            "containers": {role: self._naming.container(role) for role in self._roles},
            "images": self._images,
            "credentials": secret.as_output(),
        }
