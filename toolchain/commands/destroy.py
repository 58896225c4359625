"""`destroy`: say what will be lost, ask, and leave nothing of the stack behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress

from toolchain import contents, deploy, deployment, engine, heal, holders, missing
from toolchain.backup import underway
from toolchain.commands import backup, init
from toolchain.deployment import Deployment, Resource
from toolchain.docker_objects import JOBS, Objects, role
from toolchain.errors import DONE, FailedError, RefusedError
from toolchain.say import say
from toolchain.session import Session


def run(session: Session, *, yes: bool) -> int:
    """Run the command.

    Args:
        session: The stack.
        yes: Do not ask.

    Raises:
        RefusedError: It may not, or can't be done; nothing was touched.
        FailedError: It was interrupted, or something could not be removed; the same command goes on from there.
    """
    engine.require()
    objects = Objects(session.name)
    state = deployment.load(session) if init.exists(session) else Deployment({})
    if not state.resources and not state.pending:
        return _nothing_known(session, objects)
    _refuse_protected(session, state)
    _refuse_held(session, state, objects)
    images = state.images(deployment.IMAGE, deployment.REMOTE_IMAGE)
    _confirm(session, objects, yes=yes)
    heal.clear_locks(session)
    objects.remove_jobs()
    _drop_pending(session, state, objects)
    code, outcome = deploy.attempt(session, "destroy", "--yes", "--skip-preview")
    after = Objects(session.name, objects.client)
    # A `pulumi destroy` that was cancelled may say that it ended well.
    if (outcome.interrupted or code == DONE) and _is_unfinished(session):
        raise _interrupted(session, after)
    deploy.tell(outcome, code)
    left = _sweep(state, after)
    if code:
        say("  what Pulumi could not reach was removed with its containers and volumes")
        _forget(session, left)
    if left:
        now = Objects(session.name, objects.client)
        raise _not_removed(session, left, holders.find(now, _known(state), looking=True))
    _forget_in_use(session)
    underway.Marker(session.name).remove()
    gone = objects.remove_images(images)
    if gone:
        say(f"  images that only this stack used, removed: {', '.join(gone)}")
    say(f"stack {session.stack} is gone; its settings and credentials stay in {session.stack_file.name}")
    return DONE


def _forget_in_use(session: Session) -> None:
    from components import in_use_memory  # noqa: PLC0415 - slow to import

    in_use_memory.forget(session.name)


def _refuse_protected(session: Session, state: Deployment) -> None:
    """Keep what the user said to keep.

    Raises:
        RefusedError: The stack is protected.
    """
    if not any(resource.protected for resource in state.resources):
        return
    raise RefusedError(
        "dataProtection",
        "true",
        f"keeps the data of stack {session.stack}; nothing was touched",
        f"pulumi config set dataProtection false --stack {session.stack} && {_make('up', session)} && "
        f"{_make('destroy', session)}",
    )


def _refuse_held(session: Session, state: Deployment, objects: Objects) -> None:
    """Begin nothing that can't be ended: a client in a container is easily forgotten, and its network stays with it.

    Raises:
        RefusedError: Containers of others use networks or volumes of the stack.
    """
    held = holders.find(objects, _known(state))
    if held:
        wrong = f"{'; '.join(map(str, held))}; Docker would not remove what is in use, and nothing was touched"
        raise RefusedError("destroy", session.stack, wrong, holders.mend(held, _make("destroy", session)))


def _is_unfinished(session: Session) -> bool:
    """Whether Pulumi knows of something that is left to destroy."""
    state = deployment.load(session)
    return bool(state.resources or state.pending)


def _interrupted(session: Session, left: Objects) -> FailedError:
    """The word on a destroy that somebody stopped on its way."""
    counts = ((left.containers, "containers"), (left.networks, "networks"), (left.volumes, "volumes"))
    there = ", ".join(f"{len(found)} {kind}" for found, kind in counts if found) or "nothing on this Docker host"
    gone = sorted(missing.data_volumes(session) - {str(volume.name) for volume in left.volumes})
    said = f"gone, with what was in it: {', '.join(gone)}" if gone else "the data is whole"
    wrong = f"was interrupted, and stopped where it was; left: {there}; {said}"
    back = "makes the stack anew, around what is left" if gone else "brings the stack back with its data"
    mend = f"{_make('destroy', session)}, which finishes it; {_make('up', session)} {back}"
    return FailedError("destroy", session.stack, wrong, mend)


def _not_removed(session: Session, left: Mapping[str, str], held: list[holders.Holder]) -> FailedError:
    """The word on what is still there, and on who holds it."""
    said = "; ".join(map(str, held)) or "; ".join(left.values())
    wrong = f"{', '.join(left)} could not be removed, the rest is gone: {said}"
    return FailedError("destroy", session.stack, wrong, holders.mend(held, _make("destroy", session)))


def _make(target: str, session: Session) -> str:
    return f"make {target}" if session.stack == "dev" else f"make {target} STACK={session.stack}"


def _nothing_known(session: Session, objects: Objects) -> int:
    """What to say of a stack that this state has nothing of.

    Raises:
        RefusedError: There are objects of a stack of this name: another checkout's, which are not ours to delete.
    """
    names = [str(found.name) for found in (*objects.containers, *objects.volumes, *objects.networks)]
    if names:
        raise RefusedError(
            f"stack {session.stack}",
            ", ".join(names),
            "bear its labels, but this state does not know them: they are another checkout's, or their state is lost",
            "run this in that checkout; or, if nobody needs them, docker rm, docker volume rm, docker network rm",
        )
    say(f"stack {session.stack}: nothing of it is there")
    return DONE


def _confirm(session: Session, objects: Objects, *, yes: bool) -> None:
    """Have the user agree to the loss.

    Raises:
        RefusedError: Nobody can be asked, or the answer is no.
    """
    if not objects.containers and not objects.volumes:
        say(f"stack {session.stack}: no data of it is left on this Docker host; the rest goes, its state too")
        return
    say(f"stack {session.stack}: this deletes {contents.look(objects)}, for good")
    if yes or os.environ.get("YES") == "1":
        return
    mend = f"make destroy STACK={session.stack} YES=1"
    if not sys.stdin.isatty():
        raise RefusedError("destroy", session.stack, "nobody is here to confirm it", mend)
    _offer_backup(session, objects)
    say(f"Type the stack's name ({session.name}) to go on:")
    if sys.stdin.readline().strip() != session.name:
        raise RefusedError("destroy", session.stack, "was not confirmed; nothing was touched", mend)


def _offer_backup(session: Session, objects: Objects) -> None:
    """Let the user have a backup first; one that fails ends the command, with nothing destroyed.

    Raises:
        ToolchainError: The backup that the user wanted could not be made.
    """
    from toolchain.backup import stores  # noqa: PLC0415 - used where somebody is there to be asked

    if not stores.are_up(objects):
        say("  (no backup can be made of it: its stores do not run)")
        return
    say("A backup first? Type a folder for it, or nothing for none:")
    folder = sys.stdin.readline().strip()
    if folder:
        backup.run(session, folder)


def _drop_pending(session: Session, state: Deployment, objects: Objects) -> None:
    """Put aside operations that were interrupted: a container that is half made holds networks and volumes."""
    if state.pending:
        heal.settle(state, objects)
        raw = dict(state.raw)
        del raw["pending_operations"]
        deployment.store(session, Deployment(raw))


def _known(state: Deployment) -> set[str]:
    """The names and ids that a state has, of what is only half made, too."""
    resources = [*state.resources, *(operation.resource for operation in state.pending)]
    return {known for resource in resources for known in (resource.name, resource.id) if known}


def _sweep(state: Deployment, objects: Objects) -> dict[str, str]:
    """Remove what bears the stack's labels and the names that its state knew.

    Returns:
        The networks and volumes that are still there, by name, each with Docker's reason.
    """
    from docker.errors import APIError, NotFound  # noqa: PLC0415 - see docker_objects.connect()

    known = _known(state)
    left: dict[str, str] = {}
    for container in objects.containers:
        with suppress(NotFound):
            if container.name in known or role(container) in JOBS:
                container.remove(force=True, v=True)
                say(f"  removed: container {container.name}")
    for kind, found in (("network", objects.networks), ("volume", objects.volumes)):
        for item in found:
            if item.name not in known:
                continue
            try:
                item.remove()
            except NotFound:
                continue
            except APIError as error:
                left[str(item.name)] = str(error.explanation)
                say(f"  {kind} {item.name}: could not be removed: {error.explanation}")
            else:
                say(f"  removed: {kind} {item.name}")
    return left


def _forget(session: Session, left: Collection[str]) -> None:
    """Take out of the state what is gone: all of it, what was inside of servers, too; or all but what is left.

    Then the images stay in it as well, for the destroy that ends well to remove.
    """
    state = deployment.load(session)
    gone = [found for found in state.resources if found.id and not _stays(found, left)]
    raw = dict(state.without(gone).raw) if left else {**state.raw, "resources": []}
    raw.pop("pending_operations", None)
    deployment.store(session, Deployment(raw))


def _stays(resource: Resource, left: Collection[str]) -> bool:
    if resource.type in (deployment.NETWORK, deployment.VOLUME):
        return resource.name in left
    return resource.type in (deployment.IMAGE, deployment.REMOTE_IMAGE) or resource.type.startswith("pulumi:")
