"""The mode `backup`: one consistent set, while the stack serves.

The database first, as it is at one moment; then the objects. What the dump refers to was stored before its row was
written, so it is in the bucket by then; objects that came later do no harm. The manifest is written last, when all of
the set was read back: a set without one is none.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from mlflow_stack_backup import database, manifest, objects, rclone, sets
from mlflow_stack_backup.errors import Problem
from mlflow_stack_backup.request import Request


def run(request: Request, kept: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Make a set; return its name, sizes in bytes and seconds.

    Args:
        request: What is asked.
        kept: More files that go encrypted into the set.

    Raises:
        Refusal: The target is not this stack's, or another backup works there; or another job is at work on the stack.
        Problem: Something of it can't be had; the sets before are as they were.
    """
    began, made = time.monotonic(), datetime.now(UTC)
    about = request.about
    sets.claim(str(about["project"]), str(about["stack"]))
    earlier, all_ = sets.whole(), sets.begun()
    set_id = sets.new(all_)
    sets.clear([name for name in all_ if name not in earlier])
    files: list[dict[str, Any]] = []

    def keep(name: str, content: Iterable[bytes], remote: str = sets.TARGET, ending: str = "") -> None:
        """Write a file of the set, and read it back."""
        place = sets.path(set_id, name).removeprefix(sets.TARGET)
        written = _Sum(content)
        rclone.run("rcat", f"{remote}{place}", stdin=written)
        if rclone.digest(f"{remote}{place}") != written.result:
            raise Problem("target", place, "reads back otherwise than it was written", "make backup TO=ANOTHER_PLACE")
        size, digest = rclone.digest(f"{sets.TARGET}{place}{ending}") if ending else written.result
        files.append({"path": f"{name}{ending}", "size": size, "sha256": digest})

    _say("the database")
    database.configure(_required(request.database))
    with database.alone("backup"):
        with database.moment() as moment:
            rows, revisions, size, version = moment.rows(), moment.revisions(), moment.size(), moment.version()
            keep(sets.DUMP, moment.dump())
        dumped = time.monotonic()
        _say("the objects")
        gathered = objects.gather(sets.TARGET, set_id, _before(earlier))
    found, copied = gathered.objects, gathered.copied
    keep(sets.LIST, objects.written(found))
    stored = time.monotonic()
    for name, text in {**request.keys, **(kept or {})}.items():
        keep(f"keys/{name}", [text.encode()], "keys:", ".bin")
    new_bytes = sum(found[path].size for path in copied if path in found)
    content: dict[str, Any] = {
        "format": manifest.FORMAT,
        "set": set_id,
        "made": made.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
        "versions": {**about["versions"], "postgresql": version, "schema": revisions},
        "counts": {
            name: rows.get(table, 0)
            for name, table in (("runs", "runs"), ("experiments", "experiments"), ("models", "registered_models"))
        },
        "database": {"bytes": size, "tables": rows},
        "objects": {
            "count": len(found),
            "bytes": sum(one.size for one in found.values()),
            "new": len(copied),
            "newBytes": new_bytes,
            "spoilt": len(gathered.spoilt),
        },
        "seconds": {"database": round(dumped - began, 1), "objects": round(stored - dumped, 1)},
        "key": manifest.key_id(request.key),
        "files": files,
    }
    os.sync()  # before the manifest says that all of it is there
    unfinished = sets.path(set_id, f"{manifest.NAME}.new")
    text = manifest.written(content)
    rclone.run("rcat", unfinished, stdin=[text])
    if rclone.text(unfinished).encode() != text:
        raise Problem("target", unfinished, "reads back otherwise than it was written", "make backup TO=ANOTHER_PLACE")
    rclone.run("moveto", unfinished, sets.path(set_id, manifest.NAME))
    os.sync()
    return {
        "set": set_id,
        "seconds": round(time.monotonic() - began, 1),
        "counts": content["counts"],
        "objects": content["objects"],
        "databaseBytes": size,
        "bytes": sum(entry["size"] for entry in files) + content["objects"]["bytes"],
        "key": content["key"],
    }


def _before(earlier: list[str]) -> dict[str, objects.Object]:
    """The objects of the newest set; what can't be read of it is copied and read anew."""
    if not earlier:
        return {}
    try:
        return objects.read(sets.path(earlier[-1], sets.LIST))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return {}


class _Sum:
    """Pieces on their way, and the size and SHA-256 of what has passed."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content, self._size, self._hash = content, 0, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._content:
            self._size += len(piece)
            self._hash.update(piece)
            yield piece

    @property
    def result(self) -> tuple[int, str]:
        """Size and SHA-256."""
        return self._size, self._hash.hexdigest()


def _required(value: Any) -> Any:  # noqa: ANN401 - given back as it is
    if value is None:
        raise Problem("request", "database", "is not in it", "make doctor")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
