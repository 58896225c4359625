"""The networks, split so that a container reaches only what it has business with."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components import labels
from components.naming import Naming

#: Without masquerading, packets leave a bridge with an address that nobody outside answers to: ports stay
#: published, but nothing inside reaches out. (An `internal` network would publish no ports.)
_NO_WAY_OUT = {"com.docker.network.bridge.enable_ip_masquerade": "false"}


@dataclass(frozen=True, slots=True)
class NetworksArgs:
    """What the networks need to know."""

    naming: Naming


class Networks(pulumi.ComponentResource):
    """Four bridges.

    - `front`: the gateway, and the containers of users that want to reach MLflow by name.
    - `app`: gateway and tracking server; the one way out, for webhooks and the AI gateway of MLflow.
    - `artifact`: gateway, tracking server and MinIO.
    - `backend`: tracking server, migration and PostgreSQL.

    Docker takes the default route of a container from the first of its networks by name, so `app` must sort
    before `artifact` and `backend`.

    Deliberately not here: addresses and subnets. Docker chooses them, so that two stacks never collide.
    """

    def __init__(self, name: str, args: NetworksArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:Networks", name, None, opts)
        self._front = self._bridge("front", args.naming, reaches_out=True)
        self._app = self._bridge("app", args.naming, reaches_out=True)
        self._artifact = self._bridge("artifact", args.naming, reaches_out=False)
        self._backend = self._bridge("backend", args.naming, reaches_out=False)
        self.register_outputs({"front": self.front})

    def _bridge(self, part: str, naming: Naming, *, reaches_out: bool) -> docker.Network:
        return docker.Network(
            part,
            name=naming.network(part),
            driver="bridge",
            options=None if reaches_out else _NO_WAY_OUT,
            labels=labels.of_network(naming, "network"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    @property
    def front(self) -> pulumi.Output[str]:
        """Name of the network where clients in containers find `mlflow-server:5000`."""
        return self._front.name

    @property
    def app(self) -> pulumi.Output[str]:
        """Name of the network between gateway and tracking server."""
        return self._app.name

    @property
    def artifact(self) -> pulumi.Output[str]:
        """Name of MinIO's network."""
        return self._artifact.name

    @property
    def backend(self) -> pulumi.Output[str]:
        """Name of PostgreSQL's network."""
        return self._backend.name
