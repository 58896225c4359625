"""How this program says no: errors that the language host prints without a traceback, one line a problem."""

from __future__ import annotations

import pulumi

from components.problem import Problem


class Refusal(pulumi.RunError):
    """The program declines before anything is touched, for the problems that it found, all at once."""

    def __init__(self, problems: list[Problem]) -> None:
        """Name every problem found, so that a user mends them in one go."""
        super().__init__("\n".join(map(str, problems)))


class Failure(pulumi.RunError):
    """A step ran and failed; what had been done before it stands, and the next `up` goes on from there."""
