"""Drills: something is killed at a random moment, and one `make up` later all is well and nothing is missing.

`make test` runs a sample of them, `make soak SEED=1 N=25` as many of each kind as one likes. A drill depends on nothing
but its seed and its number, so one that failed can be run again alone: `make soak SEED=1 ONLY=17`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack.harness import Checkout, Stack, wait_until
from tests.stack.ledger import Ledger
from tests.stack.secure import SETTINGS, Secure

#: Seconds that a warm `make up` takes: of a new stack, and of one whose setting changed; and `make destroy`.
_FIRST, _CHANGE, _DESTROY = 20.0, 12.0, 8.0

#: What Docker starts again by itself, in the order in which they depend on each other.
_ROLES = ("postgres", "minio", "server", "gateway")


@pytest.fixture
def chance(random_drill: str) -> random.Random:
    """What decides over a drill: its seed and its number."""
    return random.Random(random_drill)  # noqa: S311 - to be repeated, not to be secret


@pytest.fixture
def fresh(checkout: Checkout, tag: str, chance: random.Random) -> Iterator[Stack]:
    """A stack that was never up: with default settings, or with logins and HTTPS."""
    stack = Stack.prepare(checkout, f"{tag}first", **chance.choice([{}, SETTINGS]))
    stack.init()
    try:
        yield stack
    finally:
        stack.destroy().ok()
        stack.assert_nothing_left()


def test_a_first_deployment_killed_at_any_moment_is_finished_by_the_next(
    fresh: Stack, chance: random.Random, tmp_path: Path
) -> None:
    _up_killed(fresh, chance.uniform(0, _FIRST))
    _whole_again(fresh)
    kept = _ledger(fresh, tmp_path)
    kept.log()
    assert kept.missing() == []


def test_a_destroy_killed_at_any_moment_is_finished_by_the_next(
    fresh: Stack, chance: random.Random, tmp_path: Path
) -> None:
    fresh.up().ok()
    _killed(fresh, chance.uniform(0, _DESTROY), "destroy", "--yes")
    if chance.random() < 1 / 2:
        fresh.destroy().ok()
        fresh.assert_nothing_left()
    else:
        _whole_again(fresh)
        kept = _ledger(fresh, tmp_path)
        kept.log()
        assert kept.missing() == []


def test_a_change_killed_at_any_moment_loses_nothing(
    drilled: Stack, drill_ledger: Ledger, chance: random.Random
) -> None:
    key, values = chance.choice([("workers", (2, 3)), ("mlflowPort", ()), ("minioConsolePort", ())])
    before = drilled.settings.get(key, "")
    changed = str(int(before) + 1) if before else str(chance.choice(values))
    with _setting(drilled, key, changed, before):
        _up_killed(drilled, chance.uniform(0, _CHANGE))
        _whole_again(drilled)
        drill_ledger.uri = drilled.tracking_uri
        drill_ledger.log()
        assert drill_ledger.missing() == []
    drilled.up().ok()
    drill_ledger.uri = drilled.tracking_uri


def test_a_change_interrupted_by_ctrl_c_leaves_things_in_order(
    drilled: Stack, drill_ledger: Ledger, chance: random.Random
) -> None:
    with _setting(drilled, "workers", "3", ""):
        with drilled.checkout.started("up", stack=drilled.name) as working:
            try:
                working.wait(chance.uniform(1, _CHANGE))
            except TimeoutError:
                working.interrupt()
                code = working.wait(120)
                # One that comes when all is done and said ends the interpreter as it may.
                assert code in (0, 1) or "Log a first run" in working.output(), f"{code}: {working.output()}"
        locks = list((drilled.checkout.root / ".local" / "state").rglob("locks/**/*.json"))
        assert not locks, "it let go of the lock"
        _whole_again(drilled)
        drill_ledger.log()
        assert drill_ledger.missing() == []
    drilled.up().ok()


@pytest.mark.each_of(len(_ROLES))
def test_a_container_killed_under_load_is_back_by_itself(
    drilled: Stack, drill_ledger: Ledger, chance: random.Random, random_drill: str
) -> None:
    seed, _, number = random_drill.partition("-")
    role, moment = _ROLES[(int(seed) + int(number)) % len(_ROLES)], chance.uniform(0, 1)
    print(role)
    container = drilled.container(role)
    deadline = time.monotonic() + moment
    while time.monotonic() < deadline:
        drill_ledger.log()
    # From outside, as the kernel does it when memory is short: `docker kill` would count as wanted.
    os.kill(int(container.attrs["State"]["Pid"]), signal.SIGKILL)
    wait_until(drill_ledger.acknowledges, f"the stack serves again after {role} was killed", 60)
    wait_until(drilled.is_healthy, f"every container is healthy again after {role} was killed", 60)
    assert drill_ledger.missing() == []
    drilled.assert_no_changes()


def _ledger(stack: Stack, folder: Path) -> Ledger:
    if "tls" not in stack.settings:
        return Ledger(stack.tracking_uri)
    secure = Secure(stack, folder)
    return Ledger(secure.url(""), session=secure.session(secure.admin))


def _up_killed(stack: Stack, seconds: float) -> None:
    _killed(stack, seconds, "up")


def _killed(stack: Stack, seconds: float, *command: str) -> None:
    """Start a command and kill all of it some seconds later, unless it has ended well by then."""
    print(f"killed after {seconds:.2f} s")
    with stack.checkout.started(*command, stack=stack.name) as working:
        try:
            code = working.wait(seconds)
        except TimeoutError:
            working.kill()
        else:
            assert code == 0, f"{command[0]} ended with {code} before it was killed\n{working.output()}"


def _whole_again(stack: Stack) -> None:
    stack.up().ok()
    stack.assert_healthy()
    stack.assert_no_changes()


@contextmanager
def _setting(stack: Stack, key: str, value: str, before: str) -> Generator[None]:
    stack.configure(**{key: value})
    try:
        yield
    finally:
        if before:
            stack.configure(**{key: before})
        else:
            stack.forget(key)
