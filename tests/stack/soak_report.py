"""The report of `make soak`: which drills, how many of each, from which seed, and how they ended."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest


@dataclass
class Drills:
    """The runs of one drill.

    Attributes:
        numbers: Which, of those that ended well.
        failed: Which did not.
        seconds: How long they took, all together.
    """

    numbers: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])
    seconds: float = 0.0


class SoakReport:
    """Collects how the drills end, and writes a table when all have."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._seed = path, seed
        self._drills: dict[str, Drills] = defaultdict(Drills)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one in."""
        found = re.search(r"::test_(\w+)\[(.*)\]$", report.nodeid)
        if found is None:
            return
        name, number = found[1].replace("_", " "), found[2]
        drills = self._drills[name]
        drills.seconds += report.duration
        if report.failed:
            drills.failed.append(number)
        elif report.when == "call" and report.passed:
            drills.numbers.append(number)

    def pytest_sessionfinish(self) -> None:
        """Write the table."""
        lines = [
            f"Seed {self._seed}, {datetime.now(UTC):%Y-%m-%d}.",
            "",
            "| drill | well | failed | minutes |",
            "| --- | --- | --- | --- |",
        ]
        for name, drills in sorted(self._drills.items()):
            failed = ", ".join(sorted(set(drills.failed))) or "none"
            lines.append(f"| {name} | {len(drills.numbers)} | {failed} | {drills.seconds / 60:.1f} |")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("\n".join(lines) + "\n", encoding="utf-8")
