"""The gateway: the one way in, for MLflow and for the presigned transfers of its artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker as docker

from components import labels
from components.front_door import PORT, FrontDoor
from components.naming import ARTIFACT_STORE_ALIAS, FILES_PATH, Naming
from components.service import DATA_VOLUME_IS_KEPT, File, PublishedPort, ServiceArgs, service_container

GATEWAY_UID = 10003
_IMAGE = Path(__file__).parent.parent / "images" / "gateway"
_MEMORY_MB = 256
_HEALTH_PORT = 5080

#: Every image has this folder, and everybody may write there: the one place where a new volume belongs to nobody.
_DATA_PATH = "/tmp"  # noqa: S108 - a volume

_PROBE = f"wget -q -O /dev/null http://127.0.0.1:{_HEALTH_PORT}/gateway-health"


@dataclass(frozen=True, slots=True)
class GatewayArgs:
    """What the gateway needs.

    Attributes:
        image: Reference of an image with Caddy.
        front: Name of the network where clients in containers find it.
        inner: Names of the networks of what stands behind it.
        door: The address that it answers at, and its certificate.
    """

    naming: Naming
    image: str
    front: pulumi.Input[str]
    inner: Sequence[pulumi.Input[str]]
    door: FrontDoor
    after: Sequence[pulumi.Resource]


class Gateway(pulumi.ComponentResource):
    """Caddy in front of MLflow and MinIO.

    It does not wait for either: it answers 503 while one is away, and starts while they do.
    """

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:Gateway", name, None, opts)
        settings = args.door.settings
        # Certificates, and the key of an authority that clients are told to trust: kept, whatever `tls` is.
        data = docker.Volume(
            "gateway-data",
            name=args.naming.data_volume("gateway"),
            labels=labels.of_volume(args.naming, "gateway"),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=DATA_VOLUME_IS_KEPT),
        )
        self._container = service_container(
            ServiceArgs(
                naming=args.naming,
                role="gateway",
                image=args.image,
                uid=GATEWAY_UID,
                networks=[(args.front, args.door.aliases), *((network, []) for network in args.inner)],
                looks_up_names=True,
                memory_mb=_MEMORY_MB,
                probe=_PROBE,
                command=["caddy", "run", "--config", f"{FILES_PATH}/Caddyfile", "--adapter", "caddyfile"],
                environment={
                    # By container name: on the front network `mlflow-server` is the gateway itself.
                    "SERVER_UPSTREAM": f"{args.naming.container('server')}:5000",
                    "ARTIFACT_UPSTREAM": f"{ARTIFACT_STORE_ALIAS}:9000",
                    "GATEWAY_STORAGE": f"{_DATA_PATH}/caddy",
                    # Where its user may write.
                    "XDG_CONFIG_HOME": _DATA_PATH,
                    "XDG_DATA_HOME": _DATA_PATH,
                    **args.door.environment,
                },
                files=_files(args.door),
                ports=[PublishedPort(PORT, settings.mlflow_port, settings.bind_address)],
                volumes={_DATA_PATH: data.name},
                tmpfs={},
                # The vendor's binary bears this capability as a file attribute and can't be run where it is out of
                # reach. The process does not get it: it is not root and may gain none. By its whole name, which
                # no version of Docker writes in another way.
                capabilities=["CAP_NET_BIND_SERVICE"],
                stop_seconds=30,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({"containerName": self._container.name})

    @property
    def container(self) -> docker.Container:
        """The running gateway."""
        return self._container


def _files(door: FrontDoor) -> Mapping[str, File]:
    """Its configuration, and the certificate that the user brings."""
    settings = door.settings
    folder = _IMAGE / "tls" / ("https" if door.is_https else "off")
    found = {
        "Caddyfile": _IMAGE / "Caddyfile",
        "listener.caddyfile": folder / "listener.caddyfile",
        "site.caddyfile": folder / "site.caddyfile",
    }
    if door.is_https:
        found["certificate.caddyfile"] = folder / f"{settings.tls}.caddyfile"
    for name, path in (
        ("certificate.pem", settings.tls_cert_file),
        ("acme-ca.pem", settings.acme_ca_file),
    ):
        if path:
            found[name] = Path(path)
    files = {name: File(path.read_text(encoding="utf-8")) for name, path in found.items()}
    if settings.tls_key_file:
        key = Path(settings.tls_key_file).read_text(encoding="utf-8")
        files["certificate-key.pem"] = File(pulumi.Output.secret(key))
    return files
