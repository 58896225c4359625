"""`status`: health, versions, sizes and URLs at a glance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import filterfalse
from typing import Any

from toolchain import contents, deployment, engine, room
from toolchain.backup import status as backup_status
from toolchain.docker_objects import Objects, health, holds_files, is_well, output, role
from toolchain.errors import DONE, FAILED
from toolchain.room import Room
from toolchain.session import Session


def run(session: Session) -> int:
    """Run the command; its exit code is 1 when something is not well."""
    engine.require()
    objects = Objects(session.name)
    if not objects.containers:
        print(f"stack {session.stack} is not up. To bring it up: make up STACK={session.stack}")
        return FAILED
    print(f"stack {session.stack}")
    for container in filterfalse(holds_files, objects.containers):
        image = container.attrs["Config"]["Image"]
        print(f"  {role(container):<16} {health(container):<12} {container.name:<32} {image}")
    rooms = list(room.look(objects))
    told = (
        *_versions(objects),
        *_sizes(objects, rooms),
        *_addresses(deployment.load(session).outputs),
        *_backups(objects),
    )
    for name, text in told:
        print(f"  {name:<16} {text}")
    ill = [container for container in objects.containers if not is_well(container)]
    if ill:
        print(f"not well: {', '.join(role(container) for container in ill)}. mend: make doctor STACK={session.stack}")
    full = [found for found in rooms if found.is_full]
    for found in full:
        print(f"disk: {found.volume}: {contents.size(found.free)} free: {found.role} takes no more. mend: {room.MEND}")
    return FAILED if ill or full else DONE


def _versions(objects: Objects) -> list[tuple[str, str]]:
    postgres = output(objects.container("postgres"), ["postgres", "--version"])
    minio = output(objects.container("minio"), ["minio", "--version"])
    caddy = output(objects.container("gateway"), ["caddy", "version"])
    return [
        ("MLflow", _mlflow_version(objects) or "does not answer"),
        ("PostgreSQL", postgres.rpartition(" ")[2] if postgres else "does not answer"),
        ("MinIO", minio.split()[2] if minio else "does not answer"),
        ("Caddy", caddy.split()[0] if caddy else "does not answer"),
    ]


def _mlflow_version(objects: Objects) -> str | None:
    """The version of a server that answers its own probe."""
    server = objects.container("server")
    if server is None or output(server, ["mlflow-stack-probe"]) is None:
        return None
    return str(server.labels.get("org.opencontainers.image.version", "unknown"))


def _sizes(objects: Objects, rooms: Sequence[Room]) -> list[tuple[str, str]]:
    held = contents.look(objects)
    found = [
        ("runs", "unknown" if held.runs is None else str(held.runs)),
        ("database", contents.size(held.database_bytes)),
        ("artifacts", contents.size(held.artifact_bytes)),
    ]
    left = ", ".join(f"{each.role}: {contents.size(each.free)}" for each in rooms)
    return [*found, ("room left", left)] if rooms else found


def _backups(objects: Objects) -> list[tuple[str, str]]:
    """How the backups are that the stack makes by itself."""
    told = backup_status.ask(objects)
    if told is None:
        return []
    last = f"{told['last']}, {contents.size(told['bytes'])}" if told["last"] else "none yet"
    return [("last backup", last), ("next backup", told["next"])] + (
        [("BACKUP", told["trouble"])] if told["trouble"] else []
    )


def _addresses(outputs: dict[str, Any]) -> list[tuple[str, str]]:
    keys = ("trackingUri", "minioConsoleUrl", "minioApiUrl")
    found = [(key, str(outputs[key])) for key in keys if key in outputs]
    client = outputs.get("clientEnv")
    return [*found, ("clientEnv", json.dumps(client))] if client else found
