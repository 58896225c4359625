"""Which of the tests that take longest `make test` runs: some, drawn anew for every commit.

They are the random drills, and those marked `sampled`: each takes from ten to forty seconds, and goes a way that
another test goes, too, up to what is particular about it.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest


def drawn(kinds: Iterable[str], count: int, seed: str) -> frozenset[str]:
    """So many of the kinds; the same ones for the same seed."""
    every = sorted(set(kinds))
    return frozenset(random.Random(seed).sample(every, min(count, len(every))))  # noqa: S311 - to be repeated


def left_out(items: Sequence[pytest.Item], count: int, seed: str) -> list[pytest.Item]:
    """Those that are not of so many kinds; a kind is a test, whatever its parameters."""
    long = [item for item in items if _is_drawn(item)]
    chosen = drawn(map(_kind, long), count, seed)
    return [item for item in long if _kind(item) not in chosen]


def commit(repository: Path) -> str:
    """The commit that is checked out; empty where there is none."""
    asked = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    return subprocess.run(asked, cwd=repository, check=False, capture_output=True, text=True).stdout.strip()


def _is_drawn(item: pytest.Item) -> bool:
    """What takes minutes is left alone: only `make soak` runs it."""
    fixtures = set(getattr(item, "fixturenames", ()))
    is_drill = fixtures & {"random_drill", "takes_minutes"} == {"random_drill"}
    return is_drill or item.get_closest_marker("sampled") is not None


def _kind(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
