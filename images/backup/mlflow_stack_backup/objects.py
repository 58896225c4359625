"""The bucket's objects, and the pool in the target that every set shares.

An object is copied once. A set lists the objects that it is made of, each with its SHA-256; one that was overwritten
since is kept for the older sets, in `replaced/` under the name of the set that came with the newer one.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from mlflow_stack_backup import rclone
from mlflow_stack_backup.errors import Problem

BUCKET: Final = "bucket:"
POOL: Final = "objects"
REPLACED: Final = "replaced"

#: Times that objects are tried which were overwritten or deleted while they were copied.
_ROUNDS: Final = 4

#: Days in which each object of the pool has its turn to be read again. A prime: a schedule of any other rhythm comes to
#: all of them, too.
TURNS: Final = 31


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a set.

    Attributes:
        size: Its length in bytes.
        modified: When the store took it, as the store says.
        sha256: Of its content, in hex.
    """

    size: int
    modified: str
    sha256: str = ""


def listed(remote: str, *, missing_is_empty: bool = True) -> dict[str, Object]:
    """Every object or file of a place, by its path.

    Args:
        remote: The place.
        missing_is_empty: There is nothing where there is no such place.

    Raises:
        Problem: The place can't be read, or a name in it can't be carried.
    """
    found: dict[str, Object] = {}
    # What the store keeps of times is enough, and costs no request for each object.
    options = ("--recursive", "--files-only", "--no-mimetype", "--fast-list", "--use-server-modtime")
    for line in rclone.lines("lsjson", remote, *options, missing_is_empty=missing_is_empty):
        if not line.startswith("{"):
            continue
        entry = json.loads(line.rstrip(","))
        path = str(entry["Path"])
        if "\n" in path or "\r" in path:
            wrong = "has a line break in its name, and can't be carried into a backup"
            raise Problem("object", repr(path), wrong, "rename it")
        found[path] = Object(int(entry["Size"]), str(entry["ModTime"]))
    return found


def stored() -> dict[str, Object]:
    """Every object of the bucket, by its path.

    Raises:
        Problem: It can't be read; or it is gone, which is not to have no objects.
    """
    try:
        return listed(BUCKET, missing_is_empty=False)
    except rclone.Missing:
        wrong = "is not there, and its objects are not either"
        mend = "make up, which makes an empty one, and make restore FROM=FOLDER OVERWRITE=1"
        raise Problem("artifact store", "bucket", wrong, mend) from None


def hashes(remote: str, paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 by path, of content that is read for it; what can't be read is missing."""
    with rclone.names(paths) as only:
        found: dict[str, str] = {}
        try:
            for line in rclone.lines("hashsum", "sha256", remote, "--download", "--no-traverse", only):
                digest, _, path = line.partition("  ")
                if len(digest) == 64:  # noqa: PLR2004 - SHA-256 in hex
                    found[path] = digest
        except Problem as problem:
            print(problem, file=sys.stderr)
        return found


@dataclass(frozen=True, slots=True)
class Gathered:
    """The objects of a set.

    Attributes:
        objects: Each of them, in the pool.
        copied: The paths of those that were copied for it.
        spoilt: Those of which the pool had another content than was once copied, or none.
    """

    objects: Mapping[str, Object]
    copied: set[str]
    spoilt: set[str]


def in_turn(set_id: str, path: str) -> bool:
    """Whether a set's day is that of an object, on which it is read though it is not new."""
    day = date.fromisoformat(set_id[:8]).toordinal()
    return zlib.crc32(path.encode()) % TURNS == day % TURNS


def _kept(target: str, set_id: str, known: Mapping[str, Object]) -> dict[str, Object]:
    """Which objects the pool has as they were copied into it: all by their size, those whose turn it is by content."""
    pool = listed(f"{target}{POOL}")
    there = {path: one for path, one in known.items() if path in pool and pool[path].size == one.size}
    turn = {path for path in there if in_turn(set_id, path)}
    read = hashes(f"{target}{POOL}", turn) if turn else {}
    return {path: one for path, one in there.items() if path not in turn or read.get(path) == one.sha256}


def gather(target: str, set_id: str, before: Mapping[str, Object]) -> Gathered:
    """Bring the pool up to what is in the bucket now; each new object is read back from it.

    Args:
        target: The place of the sets.
        set_id: The set that is made.
        before: The objects of the set before.

    Raises:
        Problem: An object can't be had; it is named.
    """
    wanted = stored()
    known = {
        path: one
        for path, one in before.items()
        if path in wanted and (one.size, one.modified) == (wanted[path].size, wanted[path].modified)
    }
    done = _kept(target, set_id, known)
    spoilt = known.keys() - done.keys()
    if spoilt:
        print(f"objects: {len(spoilt)} are not in the backup as they were copied: again", file=sys.stderr, flush=True)
        with rclone.names(spoilt) as only:
            # In their place, and not put aside: older sets mean what is in the bucket, and not what has become of it.
            rclone.tried("copy", BUCKET, f"{target}{POOL}", "--no-traverse", "--ignore-times", only)
    pending = wanted.keys() - done.keys()
    copied = set(pending)
    for attempt in range(_ROUNDS):
        if not pending:
            break
        if attempt:
            now = stored()
            copied -= pending - now.keys()
            pending &= now.keys()  # deleted meanwhile: no business of this set
            wanted |= {path: now[path] for path in pending}
        print(f"objects: {len(pending)} new of {len(wanted)}", file=sys.stderr, flush=True)
        with rclone.names(pending) as only:
            backup = f"--backup-dir={target}{REPLACED}/{set_id}"
            rclone.tried("copy", BUCKET, f"{target}{POOL}", "--no-traverse", backup, only)
        there, here = hashes(BUCKET, pending), hashes(f"{target}{POOL}", pending)
        for path in list(pending):
            if path in here and there.get(path) == here[path]:
                done[path] = Object(wanted[path].size, wanted[path].modified, here[path])
                pending.discard(path)
    if pending:
        wrong = f"could not be copied ({len(pending)} objects could not), or changes all the time"
        raise Problem("object", min(pending), wrong, "make backup, again; make logs ROLE=minio")
    return Gathered(done, copied, spoilt)


def written(objects: Mapping[str, Object]) -> Iterator[bytes]:
    """The list of a set's objects: a line of JSON for each."""
    for path, found in sorted(objects.items()):
        line = {"key": path, "size": found.size, "sha256": found.sha256, "modified": found.modified}
        yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def read(path: str) -> dict[str, Object]:
    """The list of a set's objects.

    Raises:
        Problem: It can't be read.
    """
    found: dict[str, Object] = {}
    for line in rclone.lines("cat", path):
        try:
            entry = json.loads(line)
            found[str(entry["key"])] = Object(int(entry["size"]), str(entry["modified"]), str(entry["sha256"]))
        except (ValueError, KeyError, TypeError):
            raise Problem("file", path, "is no list of objects", "use another set") from None
    return found


def places(target: str, set_id: str, paths: Iterable[str]) -> dict[str, list[str]]:
    """Where the objects of a set are: place → paths.

    Each is in the pool, unless a later set found it overwritten: then the first of those has put it aside.
    """
    aside: dict[str, str] = {}
    for path in sorted(listed(f"{target}{REPLACED}"), reverse=True):
        later, _, key = path.partition("/")
        if later > set_id:
            aside[key] = later  # sorted from the newest on, so the earliest is what stays
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[f"{target}{REPLACED}/{aside[path]}" if path in aside else f"{target}{POOL}"].append(path)
    return found


def check(target: str, set_id: str, objects: Mapping[str, Object]) -> Iterator[str]:
    """What is wrong with the objects of a set: by their paths in the target."""
    for place, paths in places(target, set_id, objects).items():
        found = hashes(place, paths)
        for path in paths:
            name = f"{place.removeprefix(target)}/{path}"
            if path not in found:
                yield f"{name}: is missing"
            elif found[path] != objects[path].sha256:
                yield f"{name}: is damaged: its content is not that of the backup"


def put(target: str, set_id: str, objects: Mapping[str, Object]) -> list[str]:
    """Bring a set's objects into the bucket, and read them back there.

    Returns:
        The paths of those that are not there as they should be.
    """
    present = stored()
    wrong: list[str] = []
    for place, paths in places(target, set_id, objects).items():
        # What an interrupted run has brought is read all the same, below.
        missing = [path for path in paths if path not in present or present[path].size != objects[path].size]
        if missing:
            with rclone.names(missing) as only:
                rclone.tried("copy", place, BUCKET, "--no-traverse", "--ignore-times", only)
        found = hashes(BUCKET, paths)
        unlike = [path for path in paths if found.get(path) != objects[path].sha256]
        if unlike:
            with rclone.names(unlike) as only:
                rclone.tried("copy", place, BUCKET, "--no-traverse", "--ignore-times", only)
            found = hashes(BUCKET, unlike)
            wrong += [path for path in unlike if found.get(path) != objects[path].sha256]
    return wrong


def remove(paths: Iterable[str]) -> None:
    """Delete objects from the bucket.

    Raises:
        Problem: One can't be.
    """
    with rclone.names(paths) as only:
        rclone.run("delete", BUCKET, only)
