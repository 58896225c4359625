"""The vendors' images: pulled, and given this machine's own settings where it has any.

Two of them are built upon: Python's, for MLflow, and Go's, for MinIO. Where an administrator added certificates, or
the package index or the module proxy is not the default one, a build on top of the plain image would reach nothing.
Then a layer with those settings goes on top, under a local tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import docker

from toolchain.errors import FailedError
from toolchain.images import docker_host, packages
from toolchain.images.machine import Machine
from toolchain.images.progress import Progress, Report, StepFailedError


def references(here: Machine, plain: Mapping[str, str]) -> dict[str, str]:
    """Role → reference: the vendor's own, or the local tag of the one with this machine's settings."""
    return dict(plain) | {role: recipe.reference(plain[role]) for role, recipe in _recipes(here, plain).items()}


def obtain(
    client: docker.DockerClient, here: Machine, plain: Mapping[str, str], cache: Path, report: Report
) -> dict[str, str]:
    """Have every image: pull what is missing. The caller holds the lock.

    Args:
        client: The Docker daemon.
        here: The machine's settings.
        plain: Role → the vendor's reference.
        cache: Folder for build contexts while they last.
        report: Takes progress lines.

    Returns:
        Role → reference.

    Raises:
        FailedError: An image can't be had.
    """
    wanted = references(here, plain)
    recipes = _recipes(here, plain)
    for role, reference in plain.items():
        if docker_host.has(client, wanted[role]):
            continue
        if not docker_host.has(client, reference):
            _pull(client, reference, report)
        if role in recipes:
            packages.build(client, recipes[role], reference, None, cache, report)
    return wanted


def _recipes(here: Machine, plain: Mapping[str, str]) -> dict[str, packages.Recipe]:
    files = {
        "pythonImage": ("python-here", here.files(certificates=True, pip=True)),
        "goImage": ("golang-here", here.files(certificates=True, go=True)),
    }
    return {
        role: packages.Recipe(name, role, _version(plain[role]), "machine", files=settings)
        for role, (name, settings) in files.items()
        if settings
    }


def _version(reference: str) -> str:
    """The version in a reference's tag: `1.27.1-bookworm` of `golang:1.27.1-bookworm@sha256:…`."""
    return reference.partition("@")[0].rpartition(":")[2]


def _pull(client: docker.DockerClient, reference: str, report: Report) -> None:
    progress = Progress(f"pull {reference.partition('@')[0]}", report)
    try:
        docker_host.pull(client, reference, progress)
    except StepFailedError as failure:
        raise FailedError(
            "image",
            reference,
            f"it can't be pulled: {str(failure).splitlines()[-1]}",
            "IMAGES=packages make up (builds it from packages), or check the Docker daemon's proxy and mirrors",
        ) from failure
    progress.done(docker_host.report_size(client, reference))
