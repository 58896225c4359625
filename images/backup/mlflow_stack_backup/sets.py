"""The sets in a target: which are whole, how a new one is named, and what is wrong with one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mlflow_stack_backup import manifest, objects, rclone
from mlflow_stack_backup.errors import Problem, Refusal
from mlflow_stack_backup.objects import Object

TARGET: Final = "target:"
DUMP: Final = "database.dump"
LIST: Final = "objects.jsonl"
_SETS: Final = "sets"
_MARK: Final = "target.json"
_LOCK: Final = ".lock"
_TIME: Final = "%Y%m%dT%H%M%SZ"


def path(set_id: str, name: str = "") -> str:
    """A file of a set, as rclone knows it."""
    return f"{TARGET}{_SETS}/{set_id}/{name}".rstrip("/")


@contextlib.contextmanager
def locked(folder: str, *, shared: bool) -> Generator[None]:
    """Hold a target that is a folder: a backup for itself, others together. An S3 has nothing to hold.

    Raises:
        Refusal: Another one works there.
    """
    if not folder.startswith("/"):
        yield
        return
    lock = Path(folder) / _LOCK
    if shared and not lock.exists():
        yield
        return
    with lock.open("r" if shared else "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal("target", "in use", "another backup or restore works there", "wait for it to end") from None
        yield


def claim(project: str, stack: str) -> None:
    """Make an empty place a target of this stack.

    Raises:
        Refusal: It is another stack's, or holds something else.
    """
    there = [line for line in rclone.lines("lsf", TARGET, "--max-depth=1", missing_is_empty=True) if line != _LOCK]
    if _MARK not in there:
        if there:
            wrong = "is not empty, and no target of backups"
            raise Refusal("TO", there[0], wrong, "make backup TO=AN_EMPTY_FOLDER")
        mark = {"format": manifest.FORMAT, "project": project, "stack": stack}
        rclone.run("rcat", f"{TARGET}{_MARK}", stdin=[json.dumps(mark).encode() + b"\n"])
        return
    owner = _owner()
    if owner != (project, stack):
        wrong = f"holds the backups of stack {owner[1]}; each stack has a target of its own"
        raise Refusal("TO", stack, wrong, "make backup TO=ANOTHER_FOLDER")


def _owner() -> tuple[str, str]:
    try:
        mark = json.loads(rclone.text(f"{TARGET}{_MARK}"))
        return str(mark["project"]), str(mark["stack"])
    except (ValueError, KeyError, TypeError):
        raise Refusal("target", _MARK, "is damaged: it says whose backups these are", "use another target") from None


def whole() -> list[str]:
    """The sets that are whole, from the oldest to the newest."""
    found = rclone.lines(
        "lsf", f"{TARGET}{_SETS}", "--recursive", "--files-only", f"--include=/*/{manifest.NAME}", missing_is_empty=True
    )
    return sorted(line.partition("/")[0] for line in found)


def begun() -> list[str]:
    """All sets, also those that a kill left unfinished."""
    return sorted(
        line.rstrip("/") for line in rclone.lines("lsf", f"{TARGET}{_SETS}", "--dirs-only", missing_is_empty=True)
    )


def new(taken: list[str]) -> str:
    """A name for a new set: the time, and later than all others whatever the clock says."""
    now = datetime.now(UTC)
    if taken:
        last = datetime.strptime(taken[-1], _TIME).replace(tzinfo=UTC)
        now = max(now, last + timedelta(seconds=1))
    return now.strftime(_TIME)


def clear(unfinished: list[str]) -> None:
    """Remove what sets that never became whole left behind; what they put aside belongs to the sets before them."""
    for set_id in unfinished:
        rclone.run("purge", path(set_id))


def prune(keep: int) -> list[str]:
    """Remove all sets but the newest, and the objects that none of those means.

    Where the newest has no objects, the last one that has some stays, too: it may be all that is left of a bucket that
    somebody emptied.

    Args:
        keep: How many stay.

    Returns:
        The sets that are gone.

    Raises:
        Problem: Something can't be removed; the sets that stay are whole.
    """
    known = whole()
    old, kept = known[:-keep], known[-keep:]
    last = next((set_id for set_id in reversed(known) if _said(set_id)["objects"]["count"]), None) if old else None
    if last in old:
        old.remove(last)
        kept.insert(0, last)
    for set_id in old:
        rclone.run("deletefile", path(set_id, manifest.NAME))  # from here on it is no set, whatever comes between
        rclone.run("purge", path(set_id))
    aside = rclone.lines("lsf", f"{TARGET}{objects.REPLACED}", "--dirs-only", missing_is_empty=True)
    for set_id in (line.rstrip("/") for line in list(aside)):
        if set_id <= kept[0]:  # only older sets could mean what it put aside
            rclone.run("purge", f"{TARGET}{objects.REPLACED}/{set_id}")
    meant: set[str] = set()
    for set_id in kept:
        meant.update(objects.read(path(set_id, LIST)))
    unmeant = [name for name in objects.listed(f"{TARGET}{objects.POOL}") if name not in meant]
    if unmeant:
        with rclone.names(unmeant) as only:
            rclone.run("delete", f"{TARGET}{objects.POOL}", only)
    return old


def _said(set_id: str) -> dict[str, Any]:
    """What a set says of itself.

    Raises:
        Refusal: It is damaged.
    """
    where = path(set_id, manifest.NAME)
    return manifest.read(where.removeprefix(TARGET), rclone.text(where))


@dataclass(frozen=True)
class Found:
    """A set whose files are as its manifest says.

    Attributes:
        id: Its name.
        manifest: What it says of itself.
        objects: Its objects.
    """

    id: str
    manifest: Mapping[str, Any]
    objects: Mapping[str, Object]


def find(wanted: str) -> Found:
    """A set, its files compared with its manifest; its objects are only listed.

    Args:
        wanted: Its name; empty for the newest.

    Raises:
        Refusal: There is none, or it is not as it was made.
    """
    known = whole()
    if wanted and wanted not in known:
        names = ", ".join(known) or "none"
        raise Refusal(
            "SET", wanted, f"there is no such set, or it is not whole (there: {names})", "make restore SET=NAME"
        )
    if not known:
        raise Refusal("FROM", "no set", "there is no whole backup in it", "make backup TO=FOLDER")
    set_id = wanted or known[-1]
    content = _said(set_id)
    for entry in content["files"]:
        name = path(set_id, entry["path"])
        shown = name.removeprefix(TARGET)
        try:
            size, digest = rclone.digest(name)
        except Problem:
            raise Refusal("set", shown, "is missing, or can't be read", "restore another set (SET=)") from None
        if (size, digest) != (entry["size"], entry["sha256"]):
            wrong = "is damaged: its content is not that of the backup"
            raise Refusal("set", shown, wrong, "restore another set (SET=)")
    return Found(set_id, content, objects.read(path(set_id, LIST)))


def check(found: Found) -> None:
    """Read every object of a set.

    Raises:
        Refusal: One is missing or damaged.
    """
    wrong = list(objects.check(TARGET, found.id, found.objects))
    if wrong:
        name, _, what = wrong[0].rpartition(": is ")
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise Refusal("set", name, f"is {what}{more}", "restore another set (SET=)")


def refuse_newer(found: Found) -> None:
    """Refuse a dump that this PostgreSQL can't read: an older one can.

    Raises:
        Refusal: It is of a later major version.
    """
    said = subprocess.run(["pg_restore", "--version"], capture_output=True, text=True, check=True).stdout
    ours, theirs = (int(text.split(".")[0]) for text in (said.split()[2], found.manifest["versions"]["postgresql"]))
    if theirs > ours:
        wrong = f"is of PostgreSQL {theirs}, and this stack has {ours}"
        mend = f"pulumi config set postgresImage AN_IMAGE_OF_POSTGRESQL_{theirs}, on a stack that was never up"
        raise Refusal("set", f"{_SETS}/{found.id}", wrong, mend)


def keys(found: Found, key: str) -> dict[str, str]:
    """The keys of a set, decrypted: file → content.

    Raises:
        Refusal: They were encrypted with another key.
    """
    wanted = found.manifest["key"]
    if manifest.key_id(key) != wanted:
        wrong = f"is another one than the set's keys are encrypted with (that one's id is {wanted})"
        raise Refusal("KEY_FILE", manifest.key_id(key), wrong, "make restore KEY_FILE=FILE (what backupKey was then)")
    names = [entry["path"] for entry in found.manifest["files"] if entry["path"].startswith("keys/")]
    return {
        name.removeprefix("keys/").removesuffix(".bin"): rclone.text(
            f"keys:{_SETS}/{found.id}/{name.removesuffix('.bin')}"
        )
        for name in names
    }
