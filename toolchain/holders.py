"""Containers of others on a stack's networks and volumes: Docker removes neither as long as somebody uses it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolchain.docker_objects import JOBS, LABEL, LOOK, Objects

_OURS: Final = f"{LABEL}.stack"
_ROLE: Final = f"{LABEL}.role"


@dataclass(frozen=True, slots=True)
class Holder:
    """A container that does not go with the stack.

    Attributes:
        name: Its name.
        networks: Names of the stack's networks that it is attached to now; one that does not run is attached to none.
        volumes: Names of the stack's volumes that it was made with, whether it runs or not.
    """

    name: str
    networks: Sequence[str]
    volumes: Sequence[str]

    def __str__(self) -> str:
        """What it holds, in words."""
        held = [*(f"network {name}" for name in self.networks), *(f"volume {name}" for name in self.volumes)]
        return f"container {self.name} uses {' and '.join(held)}"


def find(objects: Objects, known: Collection[str], *, looking: bool = False) -> list[Holder]:
    """The containers that keep Docker from removing what a state knows.

    Args:
        objects: The stack's.
        known: Names and ids in its state: containers, networks and volumes of another checkout are not there.
        looking: Name those, too, that are about to be gone by themselves.
    """
    networks = {str(found.id): str(found.name) for found in objects.networks if found.name in known}
    volumes = {str(found.name) for found in objects.volumes if found.name in known}
    if not networks and not volumes:
        return []
    holders: list[Holder] = []
    everyone: list[dict[str, Any]] = objects.client.api.containers(all=True)
    for container in everyone:
        name = str((container["Names"] or [container["Id"]])[0]).lstrip("/")
        labels: dict[str, str] = container["Labels"] or {}
        if labels.get(_OURS) == objects.stack and (
            container["Id"] in known or name in known or labels.get(_ROLE) in JOBS
        ):
            continue
        if labels.get(_ROLE) == LOOK and not looking:
            continue
        joined: dict[str, dict[str, Any]] = container["NetworkSettings"]["Networks"] or {}
        ids = {end.get("NetworkID") for end in joined.values() if end.get("EndpointID")}
        attached = [network for found, network in networks.items() if found in ids]
        used = sorted({str(mount.get("Name")) for mount in container["Mounts"]} & volumes)
        if attached or used:
            holders.append(Holder(name, sorted(attached), used))
    return holders


def mend(holders: Sequence[Holder], then: str) -> str:
    """How to have a stack's networks and volumes let go; just the command where nobody holds them.

    Args:
        holders: Those that hold them.
        then: The command after that.
    """
    if not holders:
        return then
    names = " ".join(holder.name for holder in holders)
    lines = [f"docker rm -f {names} && {then}"]
    for holder in holders:
        if not holder.volumes:
            leave = " && ".join(f"docker network disconnect {network} {holder.name}" for network in holder.networks)
            lines.append(f"to keep {holder.name}: {leave}")
    return "; ".join(lines)
