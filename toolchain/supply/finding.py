"""A known flaw in an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A known flaw.

    Attributes:
        kind: `deb`, `python` or `go`.
        package: What has it.
        installed: The version that is in the image.
        fixed: The version that has it no more; empty where there is none.
        id: Its id in the source that knows it, and the other names that it goes by.
    """

    kind: str
    package: str
    installed: str
    fixed: str
    id: str


class NotCheckedError(Exception):
    """A source of knowledge could not be asked; the text says why."""
