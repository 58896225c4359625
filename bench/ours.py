"""This side: the stack as its users have it, deployed by plain `pulumi` from a copy of the project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import docker
from docker.models.containers import Container

from bench.cgroups import CannotMeasureError
from bench.compose import Images
from bench.load import Access
from tests.stack.harness import REPOSITORY, Checkout, Result, Stack

_UP = ("up", "--yes", "--skip-preview", "--non-interactive")


class Ours:
    """The stack that is measured, with default settings but for its ports and for what is asked for.

    Attributes:
        stack: The stack.
    """

    def __init__(self, root: Path, name: str, ports: dict[str, int], **settings: str) -> None:
        """Copy the project and make the stack's state and credentials; nothing is deployed yet.

        Args:
            root: A folder that does not exist yet.
            name: Name of the stack.
            ports: Ports by key, where they are not to be chosen at random.
            settings: Settings other than the defaults.
        """
        checkout = Checkout(root)
        (root / ".local").mkdir(mode=0o700)
        for file in ("images.json", "providers.json"):
            chosen = REPOSITORY / ".local" / file  # what this machine has; `make bench` has seen to it
            if chosen.exists():
                shutil.copy2(chosen, root / ".local" / file)
        self.stack = Stack.prepare(checkout, name, **ports, **settings)
        self.stack.init()

    @property
    def client(self) -> docker.DockerClient:
        """The Docker host."""
        return self.stack.client

    @property
    def uri(self) -> str:
        """The front door, for a client on this machine."""
        scheme = "http" if self.stack.settings.get("tls", "off") == "off" else "https"
        return f"{scheme}://localhost:{self.stack.settings['mlflowPort']}"

    @property
    def access(self) -> Access:
        """How a client reaches it; it must be up."""
        if not self.uri.startswith("https"):
            return Access(self.uri)
        root = self.stack.checkout.root / ".local" / "ca.pem"
        authority = self.stack.checkout.toolchain("ca", stack=self.stack.name, record=False)
        root.write_text(well(authority).stdout, encoding="utf-8")
        return Access(self.uri, ("admin", self.stack.credentials()["mlflowAdminPassword"]), str(root))

    @property
    def client_environment(self) -> dict[str, str]:
        """What MLflow's client needs beside the address; it must be up."""
        access = self.access
        if access.login is None or access.root is None:
            return {}
        user, password = access.login
        return {
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
            "REQUESTS_CA_BUNDLE": access.root,
            "SSL_CERT_FILE": access.root,
        }

    @property
    def containers(self) -> list[Container]:
        """Its running containers."""
        return self.client.containers.list(filters={"name": f"^/mlflow-{self.stack.name}-"})

    @property
    def images(self) -> Images:
        """The images that it runs; it must be up."""
        running = self.stack.outputs["images"]
        return Images(postgres=running["postgres"], minio=running["minio"], mlflow=running["server"])

    @property
    def providers(self) -> str:
        """Which provider plugins it is deployed by: `packages` or `vendor`."""
        chosen = self.stack.checkout.root / ".local" / "providers.json"
        return str(json.loads(chosen.read_text(encoding="utf-8"))["source"])

    @property
    def cli_version(self) -> str:
        """Version of the Pulumi CLI."""
        return self.pulumi_anywhere("version").stdout.strip()

    def up(self) -> float:
        """`pulumi up`; seconds it took.

        Raises:
            CannotMeasureError: It failed; the message holds all it printed.
        """
        return well(self.stack.pulumi(*_UP)).seconds

    def make_up(self) -> float:
        """`make up`, with everything in place that it looks for; seconds it took.

        Raises:
            CannotMeasureError: It failed; the message holds all it printed.
        """
        return well(self.stack.up()).seconds

    def destroy(self) -> None:
        """`pulumi destroy`: unlike `make destroy` it leaves the images, so that the next `up` does not build them.

        Raises:
            CannotMeasureError: It failed; the message holds all it printed.
        """
        well(self.stack.pulumi("destroy", "--yes", "--skip-preview", "--non-interactive"))

    def pulumi_anywhere(self, *arguments: str) -> Result:
        """Run `pulumi` in the stack's environment, but for no stack in particular.

        Raises:
            CannotMeasureError: It failed; the message holds all it printed.
        """
        checkout = self.stack.checkout
        return well(checkout.run("pulumi", *arguments, environment=checkout.pulumi_environment(self.stack.name)))


def well(result: Result) -> Result:
    """A result, where the command succeeded.

    Raises:
        CannotMeasureError: It did not; the message holds all it printed.
    """
    if result.code:
        raise CannotMeasureError(result.text)
    return result
