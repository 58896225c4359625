"""Docker objects that the state knows and the Docker host does not: removed by hand.

`pulumi up` alone does not look, and a refresh of everything takes a server that is away for an empty one and drops the
bucket from the state. So what is missing is taken out of the state, and nothing else; the deployment after it makes it
again. Volumes with data are the exception: an empty one in place of a full one is for the user to ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolchain import deployment
from toolchain.deployment import Deployment, Resource
from toolchain.docker_objects import LABEL, Objects
from toolchain.errors import RefusedError
from toolchain.session import PROJECT, Session

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network

#: Parts of the names of the volumes with data.
_DATA: Final = {"postgres-data": "postgres", "minio-data": "minio"}


def find(state: Deployment, objects: Objects) -> list[Resource]:
    """Every container, network, volume and image of the state that is not on the Docker host."""
    ids = {found.id for found in (*objects.containers, *objects.networks)}
    listed = objects.client.api.volumes().get("Volumes") or []
    volumes = {str(volume["Name"]) for volume in listed}
    return [
        *(found for found in state.of_type(deployment.CONTAINER, deployment.NETWORK) if found.id not in ids),
        *(found for found in state.of_type(deployment.VOLUME) if found.name not in volumes),
        *(
            found
            for found in state.of_type(deployment.IMAGE, deployment.REMOTE_IMAGE)
            if not _is_image(found.name, objects)
        ),
    ]


def data_volumes(session: Session) -> set[str]:
    """Names of the volumes with data."""
    return {f"mlflow-{session.name}-{part}" for part in _DATA}


def with_data(gone: Collection[Resource], session: Session) -> list[Resource]:
    """Those among them that held data."""
    names = data_volumes(session)
    return [found for found in gone if found.type == deployment.VOLUME and found.name in names]


def way_on(lost: Resource, session: Session) -> str:
    """How to go on after the loss of a volume with data, on purpose: an empty one in its place."""
    role = next((role for part, role in _DATA.items() if lost.name.endswith(part)), "")
    labels = {"project": PROJECT, "role": role, "stack": session.name}
    options = " ".join(f"--label {LABEL}.{key}={value}" for key, value in labels.items())
    chosen = "" if session.stack == "dev" else f" STACK={session.stack}"
    empty = f"docker volume create {options} {lost.name} && make up{chosen}"
    return f"put the volume back; or, to go on with an empty one: {empty}"


def refuse_lost_data(gone: Collection[Resource], session: Session, *, destroyed: Collection[str]) -> None:
    """Never put an empty volume in place of one with data without being told.

    Args:
        gone: What is missing.
        session: The stack.
        destroyed: URNs of what a destroy was about to delete when it was interrupted: on purpose.

    Raises:
        RefusedError: A volume with data is gone.
    """
    for lost in with_data(gone, session):
        if lost.urn not in destroyed:
            raise RefusedError(
                "volume", lost.name, "is gone from the Docker host, and what was in it with it", way_on(lost, session)
            )


def cut_off(state: Deployment, gone: Collection[Resource], objects: Objects) -> list[Resource]:
    """Containers that are there, on a network that is not: a new one of the same name is not theirs."""
    networks = {found.urn for found in gone if found.type == deployment.NETWORK}
    present = {container.id for container in objects.containers}
    return [
        found
        for found in state.of_type(deployment.CONTAINER)
        if found.id in present and networks.intersection(found.depends_on)
    ]


def make_way(gone: Collection[Resource], objects: Objects) -> None:
    """Remove containers and networks that were made by hand under the names of those that are missing.

    Raises:
        RefusedError: One of them is not labelled as this stack's.
    """
    from docker.errors import NotFound  # noqa: PLC0415 - see docker_objects.connect()

    containers = {found.name for found in gone if found.type == deployment.CONTAINER}
    networks = {found.name for found in gone if found.type == deployment.NETWORK}
    if containers:
        everyone: Sequence[Container] = objects.client.containers.list(all=True, ignore_removed=True)
        for container in everyone:
            if container.name in containers:
                _refuse_unlabelled("container", str(container.name), container.labels, objects)
                with suppress(NotFound):
                    container.remove(force=True)  # never with its volumes
    if networks:
        every: Sequence[Network] = objects.client.networks.list()
        for network in every:
            if network.name in networks:
                _refuse_unlabelled("network", str(network.name), network.attrs.get("Labels") or {}, objects)
                network.remove()


def _refuse_unlabelled(kind: str, name: str, labels: dict[str, str], objects: Objects) -> None:
    if labels.get(f"{LABEL}.stack") != objects.stack:
        wrong = f"stands where the {kind} of stack {objects.stack} belongs, which is gone; no stack made this one"
        raise RefusedError(kind, name, wrong, f"docker {'network rm' if kind == 'network' else 'rm -f'} {name}")


def _is_image(reference: str, objects: Objects) -> bool:
    from docker.errors import ImageNotFound  # noqa: PLC0415 - see docker_objects.connect()

    try:
        objects.client.api.inspect_image(reference)
    except ImageNotFound:
        return False
    return True
