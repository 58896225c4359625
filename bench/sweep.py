"""Take away what the measurements made on the Docker host, by label, on both sides."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import docker
from docker.errors import APIError, NotFound

from bench.compose import LABEL
from tests.stack.harness import STACK_LABEL

#: A provider that was stopped in the middle may still finish what it had begun: nothing may be left for this long.
_QUIET_SECONDS = 2.0
_PATIENCE = 60.0


def left_over(client: docker.DockerClient, label: str) -> list[Any]:
    """Containers, volumes and networks that bear a label, in the order in which they can be removed."""
    wanted: dict[str, str | list[str] | bool] = {"label": label}
    return [
        *client.containers.list(all=True, filters=wanted, ignore_removed=True),
        *client.volumes.list(filters=wanted),
        *client.networks.list(filters=wanted),
    ]


def sweep_compose(client: docker.DockerClient, key: str = "") -> None:
    """Remove one arrangement, or all of them; their volumes too."""
    _sweep(client, f"{LABEL}={key}" if key else LABEL)


def sweep_stack(client: docker.DockerClient, stack: str) -> None:
    """Remove what is left of the stack that was measured, once nothing makes more of it."""
    label = f"{STACK_LABEL}={stack}"
    end = time.monotonic() + _PATIENCE
    quiet_since = time.monotonic()
    while time.monotonic() < min(end, quiet_since + _QUIET_SECONDS):
        if _sweep(client, label):
            quiet_since = time.monotonic()
        time.sleep(0.2)


def _sweep(client: docker.DockerClient, label: str) -> bool:
    found = left_over(client, label)
    for item in found:
        remove: Callable[..., object] = item.remove
        with suppress(NotFound, APIError):  # somebody else removed it, or another pass will
            remove(**({"force": True, "v": True} if hasattr(item, "kill") else {}))
    return bool(found)
