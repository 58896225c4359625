"""Runs tests side by side, in the groups of `tests/groups.py`, with a sample of those that take longest."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import sample
from tests.groups import place, rank
from tests.unnamed_volumes import pytest_sessionstart, pytest_terminal_summary

# Each process collects two thousand tests: with Python's own 700 a third of that goes into looking for garbage.
gc.set_threshold(50_000)

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many of the tests that take longest are run."""
    parser.addoption("--sample", type=int, help="so many of the longest tests, drawn by the commit (default: all)")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say by what the sample was drawn, if it was."""
    count: int | None = config.getoption("--sample")
    if count is None:
        return None
    return f"of the longest tests: {count}, drawn by commit {sample.commit(config.rootpath) or '(none)'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave some of the longest tests out, if asked to; put the groups in order, where tests run side by side."""
    count: int | None = config.getoption("--sample")
    if count is not None:
        left_out = sample.left_out(items, count, sample.commit(config.rootpath))
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))
