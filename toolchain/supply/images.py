"""The images that a stack runs, known by its containers: what really runs, whatever a tag means by now."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.docker_objects import ROLES, Objects, role
from toolchain.errors import RefusedError


@dataclass(frozen=True, slots=True)
class StackImage:
    """An image and who runs it.

    Attributes:
        roles: The roles of its containers.
        reference: The name by which they were made.
        id: Its id on the Docker host.
    """

    roles: tuple[str, ...]
    reference: str
    id: str

    @property
    def title(self) -> str:
        """Its roles and its reference, for people."""
        return f"{', '.join(self.roles)}: {self.reference}"


def of(objects: Objects) -> list[StackImage]:
    """The images of a stack, each once, in the order of the stack's parts.

    Raises:
        RefusedError: The stack runs nothing.
    """
    found: dict[str, StackImage] = {}
    for container in objects.containers:
        # In the order of the stack's parts; a helper of a part comes after all of them and bears that part's image.
        key, name = str(container.attrs["Image"]), str(container.attrs["Config"]["Image"])
        before = found[key].roles if key in found else ()
        if not before or role(container) in ROLES:
            found[key] = StackImage((*before, role(container)), name, key)
    if not found:
        raise RefusedError(
            "STACK", objects.stack, "it has no containers, so it runs no images", f"make up STACK={objects.stack}"
        )
    return list(found.values())
