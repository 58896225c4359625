"""Objects and sets in a target of backups, by the backup's own code, with a real MinIO and a folder."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import minio
import pytest
from minio.credentials.providers import StaticProvider
from mlflow_stack_backup import manifest, objects, rclone, sets
from mlflow_stack_backup.errors import Problem
from mlflow_stack_backup.objects import Gathered, Object

from tests.toolchain.servers import Server

_NAMES = tuple(f"1/{number}/artifacts/value.txt" for number in range(6))
_NAME = _NAMES[0]
_FIRST_DAY = date(2026, 11, 1)


@dataclass(frozen=True, slots=True)
class Places:
    """A bucket, and a folder for its backups.

    Attributes:
        client: Of the store, with all rights.
        bucket: The bucket's name.
        target: The folder.
    """

    client: minio.Minio
    bucket: str
    target: Path

    def empty(self) -> None:
        """Remove every object."""
        for found in self.client.list_objects(bucket_name=self.bucket, recursive=True):
            self.client.remove_object(bucket_name=self.bucket, object_name=str(found.object_name))

    def pool(self, path: str) -> Path:
        """The file of an object in the pool."""
        return self.target / objects.POOL / path

    def keep(self, set_id: str, gathered: Gathered) -> None:
        """Make a set of what was gathered."""
        folder = self.target / "sets" / set_id
        folder.mkdir(parents=True)
        (folder / sets.LIST).write_bytes(b"".join(objects.written(gathered.objects)))
        content = {"format": manifest.FORMAT, "set": set_id, "objects": {"count": len(gathered.objects)}}
        (folder / manifest.NAME).write_bytes(manifest.written(content))


@pytest.fixture
def places(
    rclone_program: Path, minio_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Places]:
    """A bucket with a few objects, and an empty folder, by the names that the backup has for them."""
    endpoint, name, target = (
        f"{minio_server.host}:{minio_server.port}",
        f"pool-{secrets.token_hex(4)}",
        tmp_path / "sets",
    )
    target.mkdir()
    administrator = StaticProvider(minio_server.user, minio_server.password)
    client = minio.Minio(endpoint=endpoint, credentials=administrator, secure=False)
    client.make_bucket(bucket_name=name)
    made = Places(client, name, target)
    for path in _NAMES:
        content = f"the content of {path}".encode()
        client.put_object(bucket_name=name, object_name=path, data=io.BytesIO(content), length=len(content))
    monkeypatch.setenv("PATH", f"{rclone_program.parent}:{os.environ['PATH']}")
    config = tmp_path / "rclone.conf"
    monkeypatch.setattr(rclone, "CONFIG", config)
    options: Sequence[str] = rclone._OPTIONS  # pyright: ignore[reportPrivateUsage] - elsewhere the container's own memory
    monkeypatch.setattr(rclone, "_OPTIONS", (f"--config={config}", *options[1:]))
    monkeypatch.setattr(rclone, "_NAMES", tmp_path / "names")
    rclone.configure(
        {
            "bucket-server": {
                "type": "s3",
                "provider": "Minio",
                "endpoint": f"http://{endpoint}",
                "access_key_id": minio_server.user,
                "secret_access_key": minio_server.password,
                "no_check_bucket": "true",
            },
            "bucket": {"type": "alias", "remote": f"bucket-server:{name}"},
            "target": {"type": "alias", "remote": str(target)},
        },
        "",
    )
    yield made
    if client.bucket_exists(bucket_name=name):
        made.empty()
        client.remove_bucket(bucket_name=name)


def _set(day: date) -> str:
    return f"{day:%Y%m%d}T030000Z"


def _days() -> list[date]:
    return [_FIRST_DAY + timedelta(days=number) for number in range(1, objects.TURNS + 1)]


def _gather(day: date, before: Gathered | None = None) -> Gathered:
    known: dict[str, Object] = dict(before.objects) if before else {}
    return objects.gather(sets.TARGET, _set(day), known)


def _flip(path: Path) -> bytes:
    """Change a bit of a file whose size and time stay, as a disk does it; what it was before."""
    was, about = path.read_bytes(), path.stat()
    path.write_bytes(bytes([was[0] ^ 1]) + was[1:])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    return was


def test_each_object_has_one_day_of_a_month_on_which_it_is_read_again() -> None:
    for path in _NAMES:
        assert [objects.in_turn(_set(day), path) for day in _days()].count(True) == 1


def test_an_object_that_is_spoilt_in_the_pool_is_copied_again_on_its_day_for_older_sets_too(places: Places) -> None:
    first = _gather(_FIRST_DAY)
    assert first.copied == set(_NAMES)
    was = _flip(places.pool(_NAME))
    (own,) = (day for day in _days() if objects.in_turn(_set(day), _NAME))
    other = next(day for day in _days() if not any(objects.in_turn(_set(day), path) for path in _NAMES))
    assert _gather(other, first).spoilt == set(), "on another day only its size is looked at"
    again = _gather(own, first)
    assert (again.spoilt, again.copied) == ({_NAME}, {_NAME})
    assert places.pool(_NAME).read_bytes() == was
    assert dict(again.objects) == dict(first.objects)
    assert list(objects.check(sets.TARGET, _set(_FIRST_DAY), first.objects)) == [], "the older set means it, too"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["missing", "cut off"])
def test_an_object_that_the_pool_lacks_is_copied_again_on_any_day(places: Places, spoil: object) -> None:
    assert callable(spoil)
    first = _gather(_FIRST_DAY)
    spoil(places.pool(_NAME))
    day = next(day for day in _days() if not objects.in_turn(_set(day), _NAME))
    again = _gather(day, first)
    assert (again.spoilt, again.copied) == ({_NAME}, {_NAME})
    assert list(objects.check(sets.TARGET, _set(_FIRST_DAY), first.objects)) == [], "the older set means it, too"


def test_a_bucket_that_is_gone_fails_a_backup_and_an_empty_one_does_not(places: Places) -> None:
    places.empty()
    assert dict(_gather(_FIRST_DAY).objects) == {}
    places.client.remove_bucket(bucket_name=places.bucket)
    with pytest.raises(Problem, match="artifact store: bucket: is not there") as gone:
        _gather(_FIRST_DAY + timedelta(days=1))
    assert "make up" in str(gone.value)


def test_the_last_set_with_objects_stays_when_the_bucket_was_emptied(places: Places) -> None:
    one, two, three, four = (_FIRST_DAY + timedelta(days=number) for number in range(4))
    for day in (one, two):
        places.keep(_set(day), _gather(day))
    places.empty()
    for day in (three, four):
        places.keep(_set(day), _gather(day))
    assert sets.prune(1) == [_set(one), _set(three)]
    assert sets.whole() == [_set(two), _set(four)]
    assert all(places.pool(path).exists() for path in _NAMES)


def test_sets_beyond_the_number_go_with_the_objects_that_no_other_means(places: Places) -> None:
    one, two = _FIRST_DAY, _FIRST_DAY + timedelta(days=1)
    places.keep(_set(one), _gather(one))
    places.client.remove_object(bucket_name=places.bucket, object_name=_NAME)
    places.keep(_set(two), _gather(two))
    assert sets.prune(1) == [_set(one)]
    assert [path for path in _NAMES if not places.pool(path).exists()] == [_NAME]
