"""A container that Docker starts again and again is told from one that somebody starts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from docker.models.containers import Container

from tests.toolchain.boxes import Boxes, eventually
from toolchain.starts import LastStart


@pytest.fixture
def failing(boxes: Boxes, built: Mapping[str, str]) -> Container:
    """One that ends soon after it was started, and that Docker starts again after a pause."""
    command = ["sh", "-c", "sleep 0.5; exit 1"]
    return boxes.run(built["debianImage"], command, restart_policy={"Name": "unless-stopped"})


def _look(container: Container) -> LastStart:
    container.reload()
    found = LastStart.of(container)
    assert found is not None
    return found


def _pauses(container: Container) -> bool:
    container.reload()
    return bool(container.attrs["State"]["Restarting"])


def test_a_start_by_docker_is_nobodys_even_when_it_was_about_to_come(failing: Container) -> None:
    eventually(lambda: _pauses(failing) and failing.attrs["RestartCount"] >= 3, "its fourth pause")
    before = LastStart.of(failing)
    assert before is not None
    eventually(lambda: _look(failing).at != before.at, "another start")
    assert not _look(failing).is_somebodys_after(before)


def test_a_start_by_somebody_is_told(failing: Container) -> None:
    eventually(lambda: _pauses(failing) and failing.attrs["RestartCount"] >= 3, "its fourth pause")
    before = _look(failing)
    failing.restart(timeout=0)
    assert _look(failing).is_somebodys_after(before)


def test_the_first_start_of_all_is_somebodys_and_none_where_there_is_no_container(failing: Container) -> None:
    assert LastStart.of(None) is None
    assert _look(failing).is_somebodys_after(None)
