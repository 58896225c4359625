"""The cache: an entry is there whole or not at all."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import paths, store

_MAKE_SLOWLY = """
import sys, time
from pathlib import Path
from toolchain import store

def make(folder):
    with open(sys.argv[2], "a") as counter:
        counter.write("x")
    time.sleep(0.3)
    (folder / "whole").touch()

store.entry(Path(sys.argv[1]), make)
"""


def test_two_processes_that_want_the_same_make_it_once(tmp_path: Path) -> None:
    entry, counter = tmp_path / "entry", tmp_path / "counter"
    command = [sys.executable, "-c", _MAKE_SLOWLY, str(entry), str(counter)]
    both = [subprocess.Popen(command, cwd=paths.PROJECT_DIR) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (entry / "whole").exists()
    assert counter.read_text(encoding="utf-8") == "x", "made twice"


def test_one_that_was_killed_leaves_nothing_that_counts(tmp_path: Path) -> None:
    entry, counter = tmp_path / "entry", tmp_path / "counter"
    process = subprocess.Popen([sys.executable, "-c", _MAKE_SLOWLY, str(entry), str(counter)], cwd=paths.PROJECT_DIR)
    while not counter.exists():
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not entry.exists()
    store.entry(entry, lambda folder: (folder / "whole").touch())
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["entry"], "rests were swept up"


def test_one_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the one that was raised
        store.entry(tmp_path / "entry", fail)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_written_file_has_its_rights_from_the_start(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    store.write(secret, "a")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert store.read(secret) == "a"
    assert store.read(tmp_path / "none") is None


def test_a_key_changes_with_each_part_and_where_they_end() -> None:
    assert store.key("ab", "c") != store.key("a", "bc")
    assert store.key("ab") == store.key(b"ab")
