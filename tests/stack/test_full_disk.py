"""A full disk, and a store that stands still: the client gets errors or waits; nothing acknowledged is lost."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest
import requests

from tests.stack.harness import Stack, wait_until
from tests.stack.ledger import Ledger, under_load

if TYPE_CHECKING:
    from tests.stack.conftest import Disks
    from tests.stack.small_disk import SmallDisk

#: Bytes of a tag, and tags of a run: what is logged until a disk is full.
_TAG, _TAGS = 8000, 100


def _stuff(ledger: Ledger, disk: SmallDisk, role: str) -> requests.Response:
    """Log large things until the store takes no more, and give the answer that says so."""
    disk.fill()
    for _ in range(200):
        answer = ledger.log_large(_TAG, _TAGS) if role == "postgres" else ledger.put_large(16 * 1024**2)
        if not answer.ok:
            return answer
        disk.fill()
    pytest.fail(f"a full disk of {role} takes everything")


@pytest.mark.at_most(5)
@pytest.mark.parametrize("role", ["postgres", "minio"])
def test_a_full_disk_is_told_loses_nothing_and_is_over_when_there_is_room(
    drilled: Stack, drill_ledger: Ledger, disks: Disks, role: str, random_drill: str
) -> None:
    disk: SmallDisk = getattr(disks, role)
    drill_ledger.log(3)
    try:
        refused = _stuff(drill_ledger, disk, role)
        assert refused.status_code >= 500, refused.text
        for command in ("status", "doctor"):
            told = drilled.checkout.toolchain(command, stack=drilled.name)
            assert told.code == 1, told.text
            assert f"disk: mlflow-{drilled.name}-{role}-data: " in told.stdout, told.text
            assert f"{role} takes no more" in told.stdout, told.text
            assert "mend: docker system df" in told.stdout, told.text
    finally:
        disk.make_room()
    wait_until(drill_ledger.acknowledges, "the stack acknowledges again by itself", 120)
    wait_until(drilled.is_healthy, "every container is healthy again", 60)
    assert drill_ledger.missing() == []
    drilled.assert_no_changes()


@pytest.mark.at_most(4)
def test_a_store_that_stands_still_loses_and_doubles_nothing(
    drilled: Stack, drill_ledger: Ledger, random_drill: str, pytestconfig: pytest.Config
) -> None:
    role = random.Random(random_drill).choice(["postgres", "minio"])  # noqa: S311 - to be repeated, not to be secret
    seconds = int(pytestconfig.option.still_seconds)
    print(f"{role} stands still for {seconds} s")
    container = drilled.container(role)
    with under_load(drill_ledger) as load:
        load.acknowledged(2)
        container.pause()
        try:
            threading.Event().wait(seconds)  # how long it stands still is what the drill is about
        finally:
            container.unpause()
        load.acknowledged(2)
    wait_until(drilled.is_healthy, "every container is healthy again", 60)
    assert drill_ledger.missing() == []
    assert drill_ledger.doubled() == []
    drilled.assert_no_changes()
