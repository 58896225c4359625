"""Who started a container last: Docker by itself, after it ended, or somebody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker.models.containers import Container


@dataclass(frozen=True, slots=True)
class LastStart:
    """A container's last start.

    Attributes:
        at: When it was, as Docker tells it.
        by_docker: How many starts up to this one were Docker's own; it counts from nought when somebody starts it.
    """

    at: str
    by_docker: int

    @classmethod
    def of(cls, container: Container | None) -> LastStart | None:
        """What was known when the container was looked at; None where there is none."""
        if container is None:
            return None
        state: dict[str, Any] = container.attrs["State"]
        # Docker counts when the container ends, and starts it after a pause (moby, daemon/monitor.go).
        to_come = 1 if state.get("Restarting") else 0
        return cls(str(state["StartedAt"]), int(container.attrs["RestartCount"]) - to_come)

    def is_somebodys_after(self, before: LastStart | None) -> bool:
        """Whether somebody started it since an earlier look."""
        return before is None or (self.at != before.at and self.by_docker <= before.by_docker)
