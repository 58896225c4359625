"""`logs`: what a role's container said."""

from __future__ import annotations

import sys
from typing import Any

from toolchain import engine
from toolchain.docker_objects import ROLES, Objects, role
from toolchain.errors import DONE, RefusedError
from toolchain.session import Session


def run(session: Session, wanted: str, lines: int, *, follow: bool) -> int:
    """Run the command.

    Args:
        session: The stack.
        wanted: The role; empty for the tracking server.
        lines: How many of the last lines.
        follow: Go on until Ctrl-C.

    Raises:
        RefusedError: There is no such role, or it has no container.
    """
    engine.require()
    objects = Objects(session.name)
    name = wanted or "server"
    if name not in ROLES:
        raise RefusedError("ROLE", name, f"must be one of {', '.join(ROLES)}", "make logs ROLE=server")
    container = objects.container(name)
    if container is None:
        there = ", ".join(role(found) for found in objects.containers) or "none"
        wrong = f"stack {session.stack} has no such container (there: {there})"
        raise RefusedError("ROLE", name, wrong, f"make up STACK={session.stack}")
    said: Any = container.logs(stream=True, follow=follow, tail=lines, timestamps=True)
    for chunk in said:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return DONE
