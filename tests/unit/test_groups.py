"""Tests that share a stack are run by one process: else each process would have one of its own."""

from __future__ import annotations

import pytest

from tests.groups import GROUPS, place
from tests.sample import drawn


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


def test_a_sample_is_the_same_for_a_commit_and_another_one_for_others() -> None:
    kinds = [f"kind {number}" for number in range(14)]
    samples = [drawn(kinds, 5, f"commit {number}") for number in range(50)]
    assert samples == [drawn(reversed(kinds), 5, f"commit {number}") for number in range(50)]
    assert {len(sample) for sample in samples} == {5}
    assert frozenset().union(*samples) == set(kinds), "a kind that no commit draws"
    assert drawn(kinds, 99, "any") == set(kinds)
