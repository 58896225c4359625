"""The schema revisions that a version of MLflow knows, as its lock file lists them: before its image is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from components.builds import PROJECT_DIR

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
