"""The MinIO server: a container and the volume with its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components import labels
from components.naming import ARTIFACT_STORE_ALIAS, FILES_PATH, MINIO_ROOT, OBJECT_KEY_VARIABLE, Naming
from components.service import DATA_VOLUME_IS_KEPT, File, PublishedPort, ServiceArgs, http_probe, service_container

MINIO_UID = 10001
API_PORT = 9000
CONSOLE_PORT = 9001
_MEMORY_MB = 2048

#: MinIO writes it beside everything that it encrypts: never another one for the same key.
OBJECT_KEY_NAME = "mlflow-stack"


@dataclass(frozen=True, slots=True)
class MinioServerArgs:
    """What the MinIO server needs.

    Attributes:
        image: Reference of an image with MinIO.
        bucket_name: Kept as a label of the data volume, so that a later change of the setting is seen.
        api_address: Address of the host on which the S3 API is published.
        api_port: Port of the S3 API there.
        console_port: Port of the console, on 127.0.0.1 whatever the address of the API.
        network: Name of the network it serves on.
        root_password: Password of the root user.
        object_key: Encrypts objects and users; None leaves them as they are.
        protect: Refuse to delete the volume.
        after: What must be there before the container.
    """

    naming: Naming
    image: pulumi.Input[str]
    bucket_name: str
    api_address: str
    api_port: int
    console_port: int
    network: pulumi.Input[str]
    root_password: pulumi.Output[str]
    object_key: pulumi.Output[str] | None = None
    protect: bool = False
    after: Sequence[pulumi.Resource] = ()


class MinioServer(pulumi.ComponentResource):
    """MinIO, ready for requests.

    Deliberately not here: buckets, users and policies (see `artifact_store`), so that an external S3 can take
    the place of this one.
    """

    def __init__(self, name: str, args: MinioServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:MinioServer", name, None, opts)
        self._volume = docker.Volume(
            "minio-data",
            name=args.naming.data_volume("minio"),
            labels=labels.of_volume(args.naming, "minio", bucket=args.bucket_name),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=DATA_VOLUME_IS_KEPT, protect=args.protect),
        )
        environment: dict[str, pulumi.Input[str]] = {
            "MINIO_ROOT_USER_FILE": f"{FILES_PATH}/root-user",
            "MINIO_ROOT_PASSWORD_FILE": f"{FILES_PATH}/root-password",
        }
        files = {"root-user": File(MINIO_ROOT), "root-password": File(args.root_password)}
        if args.object_key is not None:
            environment |= {
                OBJECT_KEY_VARIABLE: f"{FILES_PATH}/object-key",
                "MINIO_KMS_AUTO_ENCRYPTION": "on",
            }
            files["object-key"] = File(args.object_key.apply(lambda key: f"{OBJECT_KEY_NAME}:{key}"))
        self._container = service_container(
            ServiceArgs(
                naming=args.naming,
                role="minio",
                image=args.image,
                uid=MINIO_UID,
                networks=[(args.network, [ARTIFACT_STORE_ALIAS])],
                memory_mb=_MEMORY_MB,
                probe=http_probe(API_PORT, "/minio/health/live"),
                command=[
                    "server",
                    "/data",
                    "--address",
                    f":{API_PORT}",
                    "--console-address",
                    f":{CONSOLE_PORT}",
                ],
                environment=environment,
                files=files,
                ports=[
                    PublishedPort(API_PORT, args.api_port, args.api_address),
                    PublishedPort(CONSOLE_PORT, args.console_port, "127.0.0.1"),
                ],
                volumes={"/data": self._volume.name},
                stop_seconds=30,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({"containerName": self._container.name})

    @property
    def container(self) -> docker.Container:
        """The running server: what is made inside it depends on this."""
        return self._container

    @property
    def volume(self) -> docker.Volume:
        """The objects: what lives inside it goes with it."""
        return self._volume
