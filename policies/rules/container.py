"""What several rules read from a Docker container."""

from __future__ import annotations

from typing import Final

from rules.resource import Resource

CONTAINER: Final = "docker:index/container:Container"

#: The label that says which part of a stack an object is.
_ROLE: Final = "mlflow-stack.role"


def environment(container: Resource) -> dict[str, str]:
    """The variables that are known already."""
    known = [entry for entry in container.listed("envs") if isinstance(entry, str)]
    return {name: value for name, _, value in (entry.partition("=") for entry in known)}


def role(resource: Resource) -> str:
    """Which part of the stack a container or a volume is, by its label; empty if it does not say."""
    labels = [entry for entry in resource.listed("labels") if isinstance(entry, dict)]
    return next((str(entry.get("value")) for entry in labels if entry.get("label") == _ROLE), "")
