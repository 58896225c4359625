"""Tests that share a stack are run by one process: else each process would have one of its own."""

from __future__ import annotations

import pytest

from tests.groups import GROUPS, place


def test_a_test_that_asks_for_a_shared_stack_is_in_its_group(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.nodeid.startswith("tests/stack/"):
            for fixture in GROUPS.keys() & set(item.fixturenames):
                assert place(item.nodeid)[0] == fixture, f"{item.nodeid} asks for `{fixture}`; see tests/groups.py"


@pytest.mark.parametrize("prefix", [prefix for prefixes in GROUPS.values() for prefix in prefixes])
def test_what_a_group_lists_is_there(request: pytest.FixtureRequest, prefix: str) -> None:
    file, _, function = prefix.partition("::")
    text = (request.config.rootpath / file).read_text(encoding="utf-8")
    assert f"\ndef {function}(" in text or not function
