"""The tracking server, the one that writes: stopped while data is copied, and started again as it was."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from components.naming import Naming, Role
from components.upgrade.found import container

if TYPE_CHECKING:
    from docker import DockerClient

_GRACE = 30
_STAYS_STOPPED: Any = {"Name": "no"}
_STARTS_AGAIN: Any = {"Name": "always"}  # as components/service.py makes it
_WELL_WITHIN = 180.0


def stop(naming: Naming, client: DockerClient) -> None:
    """Stop it, and keep Docker from starting it again by itself.

    Whatever starts it all the same while its schema is another one ends at once: it refuses to serve.
    """
    server = container(naming, client, "server")
    if server is not None:
        server.update(restart_policy=_STAYS_STOPPED)
        server.stop(timeout=_GRACE)


def start(naming: Naming, client: DockerClient, role: Role = "server") -> bool:
    """Start what was stopped, and wait until it is healthy.

    Returns:
        Whether it is.
    """
    from docker.errors import APIError, NotFound  # noqa: PLC0415 - see components.preflight

    stopped = container(naming, client, role)
    if stopped is None:
        return False
    try:
        stopped.update(restart_policy=_STARTS_AGAIN)
        stopped.start()
        deadline = time.monotonic() + _WELL_WITHIN
        while time.monotonic() < deadline:
            stopped.reload()
            state: dict[str, Any] = stopped.attrs["State"]
            if state["Status"] == "running" and state.get("Health", {}).get("Status") == "healthy":
                return True
            time.sleep(0.2)
    except (APIError, NotFound):
        return False
    return False


def go_on(naming: Naming, client: DockerClient) -> None:
    """Start the server where it is stopped by an upgrade that needs no new one, or was cut off."""
    server = container(naming, client, "server")
    if server is None:
        return
    policy: dict[str, Any] = server.attrs["HostConfig"].get("RestartPolicy") or {}
    if policy.get("Name") == "no":
        with suppress(Exception):
            start(naming, client)
