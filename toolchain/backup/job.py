"""The container that works on a set: it has no Docker socket, no right beyond the stores', and ends with its command.

What it is to do, and every secret that it needs, is a line on its standard input: neither `docker inspect` nor a file
shows them. It logs nowhere; what it says goes to the command alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from components.backup_place import MOUNT
from toolchain.backup.places import Place
from toolchain.docker_objects import BACKUP, LABEL, NO_RESOLVER, Objects
from toolchain.errors import REFUSED, FailedError, RefusedError
from toolchain.say import Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docker.models.containers import Container

_MEMORY: Final = "1g"
#: For configuration and lists of names; it counts as memory.
_SCRATCH: Final = "rw,noexec,nosuid,nodev,size=512m,mode=1777"
_NOTHING: Final = "rw,noexec,nosuid,nodev,size=1m"
_SECONDS: Final = 60


def run(
    objects: Objects,
    mode: str,
    request: Mapping[str, Any],
    *,
    image: str,
    place: Place,
    step: Step,
    networks: Sequence[str] = (),
    writes: bool = False,
) -> dict[str, Any]:
    """Run a mode of the image to its end, and give its outcome.

    Args:
        objects: The stack it is for.
        mode: See `mlflow_stack_backup`.
        request: What it is asked.
        image: Its image.
        place: Where the sets are.
        step: Takes what it says meanwhile.
        networks: The stack's networks that it needs.
        writes: Whether it changes the target.

    Raises:
        RefusedError: It declined before anything was touched, or another one is at work.
        FailedError: It could not do it.
    """
    objects.remove_jobs()
    if place.folder is None:  # an S3, somewhere: by the one network of the stack that leads outside
        networks = [f"mlflow-{objects.stack}-app", *networks] if networks else ["bridge"]
    container = _create(objects, mode, image, place, writes=writes, first_network=networks[0] if networks else "none")
    try:
        for name in networks[1:]:
            objects.client.networks.get(name).connect(container)
        text = _talk(container, json.dumps({**request, "remotes": place.remotes}), step)
        code = int(container.wait(timeout=_SECONDS)["StatusCode"])
        container.reload()
        killed = bool(container.attrs["State"].get("OOMKilled"))
    finally:
        container.remove(force=True, v=True)
    try:
        outcome: dict[str, Any] = json.loads(text.strip().rpartition("\n")[2])
    except ValueError:
        wrong = "ran out of memory" if killed else f"ended with exit code {code}: {step.tail or 'it said nothing'}"
        raise FailedError(mode, objects.stack, wrong, "the same command, again") from None
    if "problem" in outcome:
        kind = RefusedError if code == REFUSED else FailedError
        raise kind(*outcome["problem"])
    return outcome


def _create(objects: Objects, mode: str, image: str, place: Place, *, writes: bool, first_network: str) -> Container:
    from docker.errors import APIError  # noqa: PLC0415 - see docker_objects.connect()
    from docker.types import LogConfig, Mount  # noqa: PLC0415

    try:
        return objects.client.containers.create(
            image,
            [mode],
            name=f"mlflow-{objects.stack}-{BACKUP}",
            user=_user(place),
            stdin_open=True,
            network=first_network,
            dns=list(NO_RESOLVER) if place.folder else None,
            mounts=[Mount(MOUNT, str(place.folder), type="bind", read_only=not writes)] if place.folder else [],
            # Both in the container's own memory; PostgreSQL's image would make a volume of the second.
            tmpfs={"/tmp": _SCRATCH, "/var/lib/postgresql": _NOTHING},  # noqa: S108
            labels={f"{LABEL}.project": LABEL, f"{LABEL}.stack": objects.stack, f"{LABEL}.role": BACKUP},
            read_only=True,
            mem_limit=_MEMORY,
            memswap_limit=_MEMORY,
            pids_limit=512,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            init=True,
            log_config=LogConfig(type="none"),
        )
    except APIError as error:
        if "Conflict" in str(error):
            raise objects.at_work() from None
        raise FailedError(mode, place.given, str(error.explanation), "make doctor") from None


def _user(place: Place) -> str:
    """Who runs the command: what it writes is theirs, and it can read no more than they can.

    Root has no rights beyond its own in there, so for root it is whose backups these are.
    """
    if os.getuid() == 0 and place.folder is not None:
        mark = place.folder / "target.json"
        owner = (mark if mark.exists() else place.folder).stat()
        return f"{owner.st_uid}:{owner.st_gid}"
    return f"{os.getuid()}:{os.getgid()}"


def _talk(container: Container, request: str, step: Step) -> str:
    """Start it, ask, and give what it printed."""
    socket: Any = container.attach_socket(params={"stdin": 1, "stream": 1})
    output = cast("Iterable[tuple[bytes | None, bytes | None]]", container.attach(stream=True, logs=False, demux=True))
    container.start()
    printed, rest = bytearray(), b""
    try:
        getattr(socket, "_sock", socket).sendall(request.encode() + b"\n")
        for out, said in output:
            printed += out or b""
            *lines, rest = (rest + (said or b"")).split(b"\n")
            for line in lines:
                step.line(line.decode(errors="replace"))
    finally:
        socket.close()
    return printed.decode(errors="replace")
