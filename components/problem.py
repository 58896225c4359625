"""What is wrong with an input or with the machine, in one line, with the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass


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


class InvalidConfigError(Exception):
    """A stack's config is wrong.

    Attributes:
        problems: All that is wrong with it, so that a user mends it in one go.
    """

    def __init__(self, problems: list[Problem]) -> None:
        """Keep every problem found."""
        self.problems = problems
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> list[str]:
        """One line a problem."""
        return [str(problem) for problem in self.problems]
