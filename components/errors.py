"""How this program says no: one line a problem, with the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input or with the machine.

    Attributes:
        key: The setting, or the part of the machine, that is wrong.
        value: What it is now; never the value of a secret.
        wrong: What is wrong with it, and the limit it breaks.
        mend: The command that mends it.
    """

    key: str
    value: str
    wrong: str
    mend: str

    def __str__(self) -> str:
        """The line a user reads."""
        return f"{self.key}: {self.value}: {self.wrong}. mend: {self.mend}"


class Refusal(pulumi.RunError):
    """The program declines before anything is touched.

    It derives from Pulumi's `RunError`, which the language host prints without a traceback.
    """

    def __init__(self, problems: list[Problem]) -> None:
        """Keep every problem found, so that a user mends them in one go."""
        self.problems = problems
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> list[str]:
        """One line a problem."""
        return [str(problem) for problem in self.problems]


class Failure(pulumi.RunError):
    """A step ran and failed; what had been done before it stands, and the next `up` goes on from there."""
