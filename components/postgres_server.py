"""The PostgreSQL server: a container and the volume with its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker as docker

from components import labels
from components.naming import BACKEND_STORE_ALIAS, FILES_PATH, POSTGRES_ADMIN, Naming
from components.service import (
    DATA_VOLUME_IS_KEPT,
    File,
    PublishedPort,
    ServiceArgs,
    memory_folder,
    service_container,
)
from components.settings import MAX_CONNECTIONS

POSTGRES_UID = 999
PORT = 5432
_MEMORY_MB = 1024

#: The server takes connections on TCP only when its initialisation is over; `pg_isready` on the socket would
#: call the initialisation's own server ready.
_PROBE = f"pg_isready --quiet --host=127.0.0.1 --port={PORT} --username={POSTGRES_ADMIN}"


def memory_folders() -> dict[str, str]:
    """Where the server, and a job of its image, write what nobody keeps."""
    return {
        "/tmp": memory_folder(64),  # noqa: S108 - in the container's own memory
        "/var/run/postgresql": memory_folder(1, uid=POSTGRES_UID, mode="2775"),
    }


@dataclass(frozen=True, slots=True)
class PostgresServerArgs:
    """What the PostgreSQL server needs.

    Attributes:
        image: Reference of an image with PostgreSQL 18.
        database_name: Kept as a label of the data volume, so that a later change of the setting is seen.
        port: Port on 127.0.0.1, for the provider.
        network: Name of the network it serves on.
        admin_password: Password of the superuser; set at every start, so that a new value takes effect.
        protect: Refuse to delete the volume.
        after: What must be there before the container.
    """

    naming: Naming
    image: pulumi.Input[str]
    database_name: str
    port: int
    network: pulumi.Input[str]
    admin_password: pulumi.Output[str]
    protect: bool = False
    after: Sequence[pulumi.Resource] = ()


class PostgresServer(pulumi.ComponentResource):
    """PostgreSQL, ready for connections.

    Deliberately not here: databases and roles (see `backend_store`), so that an external server can take the
    place of this one.
    """

    def __init__(self, name: str, args: PostgresServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:PostgresServer", name, None, opts)
        self._volume = docker.Volume(
            "postgres-data",
            name=args.naming.data_volume("postgres"),
            labels=labels.of_volume(args.naming, "postgres", database=args.database_name),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=DATA_VOLUME_IS_KEPT, protect=args.protect),
        )
        entrypoint = Path(__file__).parent.parent / "images" / "postgres" / "entrypoint.sh"
        self._container = service_container(
            ServiceArgs(
                naming=args.naming,
                role="postgres",
                image=args.image,
                uid=POSTGRES_UID,
                networks=[(args.network, [BACKEND_STORE_ALIAS])],
                memory_mb=_MEMORY_MB,
                probe=_PROBE,
                entrypoint=[f"{FILES_PATH}/entrypoint.sh", "-c", f"max_connections={MAX_CONNECTIONS}"],
                files={
                    "admin-password": File(args.admin_password),
                    "entrypoint.sh": File(entrypoint.read_text(encoding="utf-8"), mode="0555"),
                },
                ports=[PublishedPort(PORT, args.port, "127.0.0.1")],
                volumes={"/var/lib/postgresql": self._volume.name},
                tmpfs=memory_folders(),
                stop_signal="SIGINT",  # a fast shutdown: ends sessions, writes a checkpoint
                stop_seconds=60,
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
        """The data: what lives inside it goes with it."""
        return self._volume
