"""A stack's labels in the forms that the Docker provider takes."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

from components.naming import Naming
from components.settings import PROJECT


def of_volume(naming: Naming, role: str, **more: str) -> list[docker.VolumeLabelArgs]:
    """Labels of a volume."""
    return [docker.VolumeLabelArgs(label=k, value=v) for k, v in naming.labels(role, **more).items()]


def of_network(naming: Naming, role: str) -> list[docker.NetworkLabelArgs]:
    """Labels of a network."""
    return [docker.NetworkLabelArgs(label=k, value=v) for k, v in naming.labels(role).items()]


def of_container(naming: Naming, role: str, **more: pulumi.Input[str]) -> list[docker.ContainerLabelArgs]:
    """Labels of a container; some are known only when another resource is there."""
    labels: dict[str, pulumi.Input[str]] = {
        **naming.labels(role),
        **{f"{PROJECT}.{key}": value for key, value in more.items()},
    }
    return [docker.ContainerLabelArgs(label=k, value=v) for k, v in sorted(labels.items())]
