"""What a measurement gives: figures, each with the two sides it compares and the target it should meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

#: What this project switches off that the compose arrangement has on, and what turns it on.
JOB_RUNNER_OFF = "job runner off here: pulumi config set jobRunner true"
ACCESS_LOG_OFF = "access log off here: MLFLOW_STACK_ACCESS_LOG=true of the MLflow image; no key of the stack"


@dataclass(frozen=True, slots=True)
class Target:
    """The ratio, ours over theirs, that a figure should meet.

    Attributes:
        limit: The ratio.
        kind: Whether the ratio should be at most or at least that.
        aim: The ratio that would be better still.
    """

    limit: float
    kind: Literal["at most", "at least"] = "at most"
    aim: float | None = None

    def met_by(self, ratio: float) -> bool:
        """Whether a ratio meets it."""
        return ratio <= self.limit if self.kind == "at most" else ratio >= self.limit

    def __str__(self) -> str:
        sign = "≤" if self.kind == "at most" else "≥"
        return f"{sign} {self.limit:.2f}" + (f" (aim {self.aim:.2f})" if self.aim is not None else "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One comparison.

    Attributes:
        measurement: Which measurement it came from: `start`, `memory`, …
        name: What was measured.
        against: What the other side was.
        unit: Unit of both sides.
        ours: Samples of this stack.
        theirs: Samples of the other side.
        target: What the ratio should be; None where the figure only informs.
        paired: Whether the samples of a round belong together, taken one right after the other. Then the ratio is the
            median of the rounds' ratios, from which drifts of the machine fall out.
        notes: What is switched off on one side and not on the other, and how to read the figure.
    """

    measurement: str
    name: str
    against: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    target: Target | None = None
    paired: bool = False
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def our_median(self) -> float:
        """Median of this stack's samples."""
        return median(self.ours)

    @property
    def their_median(self) -> float:
        """Median of the other side's samples."""
        return median(self.theirs)

    @property
    def ratio(self) -> float:
        """Ours over theirs, of the medians unless they are paired; infinite where theirs is nothing."""
        if self.paired:
            return median(_ratio(ours, theirs) for ours, theirs in zip(self.ours, self.theirs, strict=True))
        return _ratio(self.our_median, self.their_median)


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else float("inf")
