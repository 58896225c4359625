"""The bucket's objects, and the pool in the target that every set shares.

An object is copied once. A set lists the objects that it is made of, each with its SHA-256; one that was overwritten
since is kept for the older sets, in `replaced/` under the name of the set that came with the newer one.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mlflow_stack_backup import rclone
from mlflow_stack_backup.errors import Problem

BUCKET: Final = "bucket:"
POOL: Final = "objects"
REPLACED: Final = "replaced"

#: Times that objects are tried which were overwritten or deleted while they were copied.
_ROUNDS: Final = 4


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


def listed(remote: str) -> dict[str, Object]:
    """Every object or file of a place, by its path; none where there is no such place.

    Raises:
        Problem: The place can't be read, or a name in it can't be carried.
    """
    found: dict[str, Object] = {}
    # What the store keeps of times is enough, and costs no request for each object.
    options = ("--recursive", "--files-only", "--no-mimetype", "--fast-list", "--use-server-modtime")
    for line in rclone.lines("lsjson", remote, *options, missing_is_empty=True):
        if not line.startswith("{"):
            continue
        entry = json.loads(line.rstrip(","))
        path = str(entry["Path"])
        if "\n" in path or "\r" in path:
            wrong = "has a line break in its name, and can't be carried into a backup"
            raise Problem("object", repr(path), wrong, "rename it")
        found[path] = Object(int(entry["Size"]), str(entry["ModTime"]))
    return found


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


def gather(target: str, set_id: str, before: Mapping[str, Object]) -> tuple[dict[str, Object], set[str]]:
    """Bring the pool up to what is in the bucket now.

    Args:
        target: The place of the sets.
        set_id: The set that is made.
        before: The objects of the set before.

    Returns:
        The objects of this set, each of which is in the pool and was read back; and the paths of those that were
        copied for it.

    Raises:
        Problem: An object can't be had; it is named.
    """
    wanted, pool = listed(BUCKET), listed(f"{target}{POOL}")
    done: dict[str, Object] = {}
    for path, found in wanted.items():
        known = before.get(path)
        same = known is not None and (known.size, known.modified) == (found.size, found.modified)
        if known is not None and same and path in pool and pool[path].size == found.size:
            done[path] = known
    pool.clear()
    pending = wanted.keys() - done.keys()
    copied = set(pending)
    for attempt in range(_ROUNDS):
        if not pending:
            break
        if attempt:
            now = listed(BUCKET)
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
    return done, copied


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
    present = listed(BUCKET)
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
