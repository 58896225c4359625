"""Images for tests, derived from a real one by a few commands."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager

import docker

DEB = "/var/lib/dpkg/status"


@contextmanager
def image(client: docker.DockerClient, reference: str, base: str, *commands: str) -> Generator[str]:
    """Make an image, and remove it at the end.

    Args:
        client: The Docker daemon.
        reference: Its tag.
        base: The image that it is made of.
        commands: What is run in it, as root.
    """
    lines = [f"FROM {base}", "USER 0", *(f"RUN {command}" for command in commands)]
    client.images.build(fileobj=io.BytesIO("\n".join(lines).encode()), tag=reference, rm=True, forcerm=True)
    try:
        yield reference
    finally:
        client.images.remove(reference, force=True)


def with_version(package: str, version: str) -> str:
    """The command after which dpkg says that a package is of another version than it is."""
    return f"sed -i '/^Package: {package}$/,/^$/s/^Version: .*/Version: {version}/' {DEB}"
