"""The schema revisions that a version of MLflow knows, as its lock file lists them: before its image is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from components.builds import PROJECT_DIR
from components.settings import version_numbers

_LOCKS = PROJECT_DIR / "images" / "mlflow" / "locks"
_HEAD = re.compile(r"^# Schema revision: (\S+)$", re.MULTILINE)
_KNOWN = re.compile(r"^# Schema revisions before: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Revisions:
    """The revisions of one version of MLflow.

    Attributes:
        head: The one that it needs.
        known: Those that it can migrate from, and `head`.
    """

    head: str
    known: frozenset[str]


def of(version: str, locks: Path = _LOCKS) -> Revisions | None:
    """Read them; None where there is no lock, or one from before locks listed them."""
    path = locks / f"mlflow-{version}.txt"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    head = _HEAD.search(text)
    if head is None:
        return None
    return Revisions(head[1], frozenset([head[1], *(name for line in _KNOWN.findall(text) for name in line.split())]))


def earliest_with(revision: str, locks: Path = _LOCKS) -> str | None:
    """The earliest version with a lock that knows a revision; None where none does."""
    versions = sorted((path.stem.removeprefix("mlflow-") for path in locks.glob("mlflow-*.txt")), key=version_numbers)
    return next((each for each in versions if (known := of(each, locks)) and revision in known.known), None)
