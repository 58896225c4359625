"""Which kinds of random drills `make test` runs: a few, drawn anew for every commit, since all of them take minutes."""

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
    """The drills that are not of so many kinds; a kind is a test, whatever its parameters.

    What takes minutes is left alone: only `make soak` runs it.
    """
    drills = [item for item in items if _fixtures(item) & {"random_drill", "takes_minutes"} == {"random_drill"}]
    chosen = drawn(map(_kind, drills), count, seed)
    return [item for item in drills if _kind(item) not in chosen]


def commit(repository: Path) -> str:
    """The commit that is checked out; empty where there is none."""
    asked = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    return subprocess.run(asked, cwd=repository, check=False, capture_output=True, text=True).stdout.strip()


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _kind(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
