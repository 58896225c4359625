"""What is remembered of the credentials in use: whether they are those of the config, and none of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.in_use_memory import Memory, forget
from components.naming import Naming

PLAIN = {"minioRootPassword": "the password of a root user", "kekPassphrase": "what encrypts the other ones"}


@dataclass
class _Host:
    """What a Docker host lists."""

    ids: dict[str, str] = field(default_factory=lambda: {"minio": "1a", "server": "2b"})

    @property
    def api(self) -> Any:
        listed = [{"Names": [name], "Id": identity} for name, identity in self.ids.items()]
        return SimpleNamespace(containers=lambda **_: listed)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The toolchain's folder."""
    tmp_path.joinpath("local").mkdir()
    return tmp_path / "local"


def _memory(local: Path, host: _Host, plain: dict[str, str] = PLAIN, stack: str = "dev") -> Memory:
    made = Memory.of(Naming(stack), host, plain)  # pyright: ignore[reportArgumentType] - all that it is asked
    return Memory(made.naming, made.plain, made.digest, local)


def test_what_was_compared_is_known_until_a_container_or_a_credential_is_another(local: Path) -> None:
    host = _Host()
    assert _memory(local, host).recall() is None
    _memory(local, host).keep(PLAIN)
    assert _memory(local, host).recall() == PLAIN
    assert _memory(local, _Host({"minio": "1a", "server": "3c"})).recall() is None, "the server was made anew"
    assert _memory(local, _Host({"minio": "1a"})).recall() is None, "the server is gone"
    assert _memory(local, host, {**PLAIN, "kekPassphrase": "another"}).recall() is None
    assert _memory(local, host, {**PLAIN, "kekPassphraseOld": "the one before"}).recall() is None
    assert _memory(local, host, stack="other").recall() is None


def test_a_credential_in_use_that_the_config_does_not_have_is_never_taken_for_known(local: Path) -> None:
    _memory(local, _Host()).keep({**PLAIN, "kekPassphrase": "the one before"})
    assert _memory(local, _Host()).recall() is None


def test_only_its_user_may_read_it_and_there_is_no_credential_in_it(local: Path) -> None:
    memory = _memory(local, _Host())
    memory.keep(PLAIN)
    assert memory.file.stat().st_mode & 0o777 == 0o600
    assert memory.file.parent.stat().st_mode & 0o777 == 0o700
    assert not [value for value in PLAIN.values() if value in memory.file.read_text(encoding="utf-8")]
    assert [path.name for path in memory.file.parent.iterdir()] == ["dev"], "nothing is left beside it"


def test_a_file_that_is_spoiled_is_as_none(local: Path) -> None:
    memory = _memory(local, _Host())
    memory.keep(PLAIN)
    for content in (b"", b"\xff\xfe", f"{memory.digest} flaskSecret".encode()):
        memory.file.write_bytes(content)
        assert memory.recall() is None, content


def test_where_the_toolchain_has_no_folder_nothing_is_kept(tmp_path: Path) -> None:
    memory = _memory(tmp_path / "none", _Host())
    memory.keep(PLAIN)
    assert not (tmp_path / "none").exists()


def test_nothing_is_kept_of_a_stack_that_is_gone(local: Path) -> None:
    memory = _memory(local, _Host())
    memory.keep(PLAIN)
    forget("dev", local)
    forget("dev", local)
    assert memory.recall() is None
