"""Put in order what an interrupted run left behind, before the next one begins.

Pulumi writes down every operation before it begins it. So after a kill, a power cut or a crash, the state names what
may be half made, and nothing has to be guessed: what is not named there is left alone, though it may bear the labels
of a stack of the same name in another checkout.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from toolchain import deployment, holders, inside, locks, missing, rotation
from toolchain.backup import underway
from toolchain.deployment import Deployment, Pending, Resource
from toolchain.docker_objects import JOBS, SERVICES, Objects, health, role
from toolchain.errors import FailedError, RefusedError
from toolchain.say import Step, say
from toolchain.session import Session

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network

_STOPPED: Final = {"exited", "paused", "dead", "restarting"}

#: Seconds that a service may take to be well again; a database that was killed replays its log first.
_WELL_WITHIN: Final = 90.0

#: Seconds that a service may take to stop; a database writes a checkpoint.
_STOPS_WITHIN: Final = 60


def heal(session: Session, objects: Objects) -> None:
    """Clear stale locks, half-made objects, interrupted operations and restores; say what was done.

    Raises:
        RefusedError: Another process works on the stack, or containers of the same name belong to someone else.
        FailedError: The state can't be put in order.
    """
    clear_locks(session)
    state = deployment.load(session)
    pending = state.pending
    _refuse_renamed(session, state)
    _refuse_foreign(session, state, objects)
    objects.remove_jobs()
    gone = missing.find(state, objects)
    destroyed = {operation.resource.urn for operation in pending if operation.kind == "deleting"}
    missing.refuse_lost_data(gone, session, destroyed=destroyed)
    if pending:
        unknown = settle(state, objects)
        state = _without_pending(state, unknown)
        deployment.store(session, state)
        if unknown:
            with suppress(FailedError):  # a server that is away: what is there after all, the deployment meets again
                inside.refresh(session, [operation.resource.urn for operation in unknown])
            state = deployment.load(session)
    _forget(session, state, gone, objects)
    # In the middle of a rotation a stopped server is left so: it would not get well on the credentials of the past.
    left = {"server"} if rotation.is_at_work(session) else set[str]()
    _start_stopped(state, objects, left)
    underway.settle(session, objects)


def settle(state: Deployment, objects: Objects) -> list[Pending]:
    """Remove what interrupted operations half made.

    Returns:
        Those operations whose things may be there whole, inside a server: to be adopted into the state.

    Raises:
        FailedError: Something can't be removed.
    """
    say(f"  an earlier run was interrupted in {len(state.pending)} operation(s); putting that in order:")
    return [operation for operation in state.pending if not _settle(operation, state, objects)]


def clear_locks(session: Session) -> None:
    """Remove the locks of processes that are gone.

    Raises:
        RefusedError: A process that may still run holds one.
    """
    for lock in locks.of(session):
        if not lock.is_stale:
            raise RefusedError(
                f"stack {session.stack}",
                f"locked by process {lock.pid} on {lock.host} since {lock.since}",
                "another command is working on it",
                "wait for it to end; if you know that it is gone: pulumi cancel",
            )
        lock.path.unlink(missing_ok=True)
        lock.path.with_name(f"{lock.path.name}.attrs").unlink(missing_ok=True)
        say(f"  the lock of process {lock.pid}, which is gone, was removed")


def _refuse_renamed(session: Session, state: Deployment) -> None:
    """A stack's name is in the names of its objects, its volumes among them: they do not follow a new one."""
    for resource in state.of_type(deployment.CONTAINER, deployment.VOLUME):
        before = resource.urn.split("::")[-1]
        was = resource.name.removeprefix("mlflow-").removesuffix(f"-{before}")
        if resource.name == f"mlflow-{was}-{before}" and was != session.name:
            wrong = f"is another name than that of its objects, whose data would not follow: they are those of {was}"
            raise RefusedError("STACK", session.name, wrong, f"pulumi stack rename {was} --stack {session.stack}")


def _refuse_foreign(session: Session, state: Deployment, objects: Objects) -> None:
    """Containers and networks with the stack's labels that this state never heard of are another checkout's."""
    known = {resource.id for resource in state.resources} | {operation.resource.name for operation in state.pending}
    names = {resource.name for resource in state.of_type(deployment.CONTAINER)}
    for container in objects.containers:
        if container.id in known or container.name in known or role(container) in JOBS:
            continue
        if container.name in names:
            continue  # made by hand in place of one that the state knows: `missing.make_way` sees to it
        raise RefusedError(
            "container",
            str(container.name),
            f"belongs to a stack {session.name} that this state does not know: that of another checkout, "
            "or one whose state is lost",
            f"make up STACK=another-name; or, if nobody needs it: docker rm -f {container.name}",
        )
    _refuse_networks(state, objects, known)


def _refuse_networks(state: Deployment, objects: Objects, known: Collection[str]) -> None:
    """Docker makes no second network of a name: one that a destroy or a lost state has left behind is in the way."""
    names = {resource.name for resource in state.of_type(deployment.NETWORK)}
    unknown = {str(found.name) for found in objects.networks if not {found.id, found.name} & {*known, *names}}
    if not unknown:
        return
    remove = f"docker network rm {' '.join(sorted(unknown))}"
    raise RefusedError(
        "network",
        ", ".join(sorted(unknown)),
        f"belongs to a stack {objects.stack} that this state does not know: that of another checkout, "
        "or one whose state is lost",
        f"make up STACK=another-name; or, if nobody needs it: {holders.mend(holders.find(objects, unknown), remove)}",
    )


def _settle(operation: Pending, state: Deployment, objects: Objects) -> bool:
    """Deal with one interrupted operation. False: the thing may exist and has to be adopted into the state."""
    resource = operation.resource
    if operation.kind != "creating":
        say(f"    {resource.type} {resource.name}: {operation.kind}; the next deployment does it again")
        return True
    if resource.type in inside.ONCE:
        say(f"    {resource.type} {resource.name}: taken over if it is there")
        return False
    ids = {known.id for known in state.resources}
    removed: list[str] = []
    if resource.type == deployment.CONTAINER:
        removed = [_remove_container(found) for found in objects.containers if _half_made(found, resource, ids)]
    elif resource.type == deployment.NETWORK:
        removed = [_remove_network(found) for found in objects.networks if _half_made(found, resource, ids)]
    what = f"{resource.type} {resource.name or resource.urn.rpartition('::')[2]}"
    say(f"    {what}: {'half made, removed' if removed else 'to be made again'}")
    return True


def _half_made(found: Container | Network, resource: Resource, ids: set[str]) -> bool:
    return found.name == resource.name and found.id not in ids


def _remove_container(container: Container) -> str:
    from docker.errors import NotFound  # noqa: PLC0415 - see docker_objects.connect()

    with suppress(NotFound):
        # Named volumes stay. Unnamed ones, an image's own, are empty where the container never ran, and go with it.
        container.remove(force=True, v=container.status == "created")
    return str(container.name)


def _remove_network(network: Network) -> str:
    from docker.errors import APIError, NotFound  # noqa: PLC0415 - see docker_objects.connect()

    with suppress(NotFound):
        try:
            network.remove()
        except APIError as error:
            raise FailedError(
                "network", str(network.name), f"half made, can't be removed: {error.explanation}", "docker network rm"
            ) from None
    return str(network.name)


def _without_pending(state: Deployment, unknown: list[Pending]) -> Deployment:
    """The state with no operation pending, and with what is to be adopted among its resources."""
    raw: dict[str, Any] = dict(state.raw)
    operations: list[dict[str, Any]] = raw.pop("pending_operations", None) or []
    urns = {operation.resource.urn for operation in unknown}
    return inside.adopted(Deployment(raw), [each["resource"] for each in operations if each["resource"]["urn"] in urns])


def _forget(session: Session, state: Deployment, gone: list[Resource], objects: Objects) -> None:
    """Have the next deployment make again what was removed by hand."""
    if not gone:
        return
    missing.make_way(gone, objects)
    say(f"  gone from the Docker host, to be made again: {', '.join(found.name for found in gone)}")
    cut_off = missing.cut_off(state, gone, objects)
    ids = {found.id for found in cut_off}
    for container in objects.containers:
        if container.id in ids:
            container.stop(timeout=_STOPS_WITHIN)
            _remove_container(container)
    gone = [*gone, *cut_off]
    state = state.without(gone)
    if {found.name.rpartition("-")[2] for found in gone if found.type == deployment.CONTAINER} & inside.STORES:
        # Whoever removed a store may have changed what is in it, too; nothing of it can be asked now.
        state = inside.to_be_set_again(state)
    deployment.store(session, state)


def _start(container: Container) -> None:
    if container.status == "paused":
        container.unpause()
    elif container.status == "restarting":
        container.restart()  # Docker waits longer after each failure; what hindered it may be gone
    else:
        container.start()


def _start_stopped(state: Deployment, objects: Objects, left: set[str]) -> None:
    """Start services that were stopped by hand, and wait until they are well.

    Pulumi takes a container that is there for one that runs, and Docker leaves one alone that a person stopped.
    """
    from docker.errors import APIError  # noqa: PLC0415 - see docker_objects.connect()

    known = {resource.id for resource in state.of_type(deployment.CONTAINER)}
    stopped = [
        container
        for container in reversed(objects.containers)  # the stores first
        if container.id in known and role(container) in set(SERVICES) - left and container.status in _STOPPED
    ]
    if not stopped:
        return
    step = Step(f"starting what was stopped: {', '.join(map(role, stopped))}")
    for container in stopped:
        with suppress(APIError):  # what hinders it, the deployment tells
            _start(container)
    deadline = time.monotonic() + _WELL_WITHIN
    while time.monotonic() < deadline:
        for container in stopped:
            with suppress(APIError):
                container.reload()
        if all(health(container) not in {"starting", "unhealthy"} for container in stopped):
            break
        step.beat(", ".join(f"{role(container)} {health(container)}" for container in stopped))
        time.sleep(0.2)
    step.done()
