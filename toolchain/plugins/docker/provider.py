"""Settings and resources of the Docker provider, after the vendor's provider 5.2.0."""

from __future__ import annotations

from toolchain.plugins.docker.container import Container
from toolchain.plugins.docker.daemon import Daemon
from toolchain.plugins.docker.image import Image
from toolchain.plugins.docker.network import Network
from toolchain.plugins.docker.remote_image import RemoteImage
from toolchain.plugins.docker.volume import Volume
from toolchain.plugins.resource import Provider
from toolchain.plugins.schema import boolean, string, strings


def make() -> Provider:
    """Return the provider."""
    daemon = Daemon()
    return Provider(
        name="docker",
        version="5.2.0",
        settings={
            "host": string(),
            "certPath": string(),
            "sshOpts": strings("list"),
            "disableDockerDaemonCheck": boolean(),
        },
        configure=daemon.configure,
        resources={
            "docker:index/container:Container": Container(daemon),
            "docker:index/network:Network": Network(daemon),
            "docker:index/volume:Volume": Volume(daemon),
            "docker:index/remoteImage:RemoteImage": RemoteImage(daemon),
        },
        natives={"docker:index/image:Image": Image(daemon)},
    )
