"""Runs tests side by side, in the groups of `tests/groups.py`."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.groups import place, rank
from tests.unnamed_volumes import pytest_sessionstart, pytest_terminal_summary

__all__ = ["pytest_sessionstart", "pytest_terminal_summary"]  # hooks


class _Groups(LoadScopeScheduling):
    """Hands out groups, in the order in which the tests were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return place(nodeid)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Groups:
    """Run tests in groups."""
    config.option.loadscopereorder = False
    return _Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the groups in order, where tests run side by side."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))
