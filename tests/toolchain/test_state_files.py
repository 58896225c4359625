"""What a killed Pulumi left half written of its state is told from what a living one is just writing."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from toolchain.state_files import half_written


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A state folder with a stack that is whole, and one beside it that is not."""
    root = tmp_path / ".pulumi"
    for name in ("stacks/mine/dev.json", "stacks/mine/other.json", "history/mine/dev/dev-1.history.json", "meta.yaml"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
        path.with_name(f"{path.name}.attrs").write_text('{"md5": ""}', encoding="utf-8")
    (root / "locks" / "organization" / "mine" / "dev").mkdir(parents=True)
    (root / "stacks" / "mine" / "other.json.attrs").write_text("", encoding="utf-8")
    return root


def test_a_whole_state_is_left_alone(root: Path) -> None:
    assert half_written(root.parent, "mine", "dev") == []


@pytest.mark.parametrize(
    "name",
    [
        "meta.yaml.attrs",
        "stacks/mine/dev.json.attrs",
        "stacks/mine/dev.json.18eb.tmp",
        "locks/organization/mine/dev/1.json.18eb.tmp",
        "locks/organization/mine/dev/1.json.attrs",
        "history/mine/dev/dev-1.history.json.attrs",
    ],
)
def test_what_was_cut_off_is_found(root: Path, name: str) -> None:
    (root / name).write_text("", encoding="utf-8")
    os.utime(root / name, (0, 0))
    assert half_written(root.parent, "mine", "dev") == [root / name]


def test_what_is_just_being_written_is_waited_for(root: Path) -> None:
    path = root / "stacks" / "mine" / "dev.json.attrs"
    path.write_text("", encoding="utf-8")

    def fill() -> None:
        time.sleep(0.2)  # as long as nobody should take to fill it
        path.write_text('{"md5": ""}', encoding="utf-8")

    writer = threading.Thread(target=fill)
    writer.start()
    assert half_written(root.parent, "mine", "dev") == []
    writer.join()
