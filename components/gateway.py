"""The gateway: the one way in, for MLflow and for the presigned transfers of its artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker as docker

from components.naming import ARTIFACT_STORE_ALIAS, FILES_PATH, TRACKING_SERVER_ALIAS, Naming
from components.service import File, PublishedPort, ServiceArgs, service_container

GATEWAY_UID = 10003
PORT = 5000
_MEMORY_MB = 256

_PROBE = f"wget -q -O /dev/null http://127.0.0.1:{PORT}/gateway-health"


@dataclass(frozen=True, slots=True)
class GatewayArgs:
    """What the gateway needs.

    Attributes:
        image: Reference of an image with Caddy.
        front: Name of the network where clients in containers find it.
        inner: Names of the networks of what stands behind it.
        address: Address of the host on which it is published.
        port: Port there.
    """

    naming: Naming
    image: str
    front: pulumi.Input[str]
    inner: Sequence[pulumi.Input[str]]
    address: str
    port: int
    after: Sequence[pulumi.Resource]


class Gateway(pulumi.ComponentResource):
    """Caddy in front of MLflow and MinIO.

    It does not wait for either: it answers 503 while one is away, and starts while they do.
    """

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:Gateway", name, None, opts)
        caddyfile = Path(__file__).parent.parent / "images" / "gateway" / "Caddyfile"
        self._container = service_container(
            ServiceArgs(
                naming=args.naming,
                role="gateway",
                image=args.image,
                uid=GATEWAY_UID,
                networks=[(args.front, [TRACKING_SERVER_ALIAS]), *((network, []) for network in args.inner)],
                memory_mb=_MEMORY_MB,
                probe=_PROBE,
                command=["caddy", "run", "--config", f"{FILES_PATH}/Caddyfile", "--adapter", "caddyfile"],
                environment={
                    # By container name: on the front network `mlflow-server` is the gateway itself.
                    "SERVER_UPSTREAM": f"{args.naming.container('server')}:5000",
                    "ARTIFACT_UPSTREAM": f"{ARTIFACT_STORE_ALIAS}:9000",
                    # Where its user may write; there is nothing to keep.
                    "XDG_CONFIG_HOME": "/tmp",  # noqa: S108 - in the container's own file system
                    "XDG_DATA_HOME": "/tmp",  # noqa: S108 - see above
                },
                files={"Caddyfile": File(caddyfile.read_text(encoding="utf-8"))},
                ports=[PublishedPort(PORT, args.port, args.address)],
                # The vendor's binary bears this capability as a file attribute and can't be run where it is out of
                # reach. The process does not get it: it is not root and may gain no privileges.
                capabilities=["NET_BIND_SERVICE"],
                stop_seconds=30,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({"containerName": self._container.name})

    @property
    def container(self) -> docker.Container:
        """The running gateway."""
        return self._container
