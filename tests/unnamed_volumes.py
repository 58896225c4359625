"""Counts the unnamed volumes that a run leaves on the Docker host: who removes a container has to remove its own, too.

Only told, no failure: whoever else uses the Docker host may have left them.
"""

from __future__ import annotations

import re

import docker
import pytest
from docker.errors import DockerException

_UNNAMED = re.compile(r"[0-9a-f]{64}")
_BEFORE = pytest.StashKey[frozenset[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember which are there."""
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_BEFORE] = _unused()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell how many there are more."""
    left = _unused() - config.stash.get(_BEFORE, frozenset())
    if left:
        terminalreporter.write_line(
            f"docker: {len(left)} unnamed volumes more than before this run; where nobody else was at work, a test or "
            f"a command left them, such as {min(left)}",
            yellow=True,
        )


def _unused() -> frozenset[str]:
    try:
        client = docker.from_env(timeout=10)
        found = client.volumes.list(filters={"dangling": True})
    except (DockerException, OSError):
        return frozenset()  # no Docker: no volumes
    return frozenset(str(volume.name) for volume in found if _UNNAMED.fullmatch(str(volume.name)))
