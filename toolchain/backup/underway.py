"""A restore on its way into a stack, and what is to be done where it was cut off.

What MLflow keeps encrypted in the database can be read with one pair of keys alone, and a restore brings a database
with a pair of its own. So the stack file keeps the stack's keys until that database is there: until then the backup's
are in a file in `.local`. The transaction that brings the database has it say which attempt it is of. Wherever all of
this is cut off, the database itself tells whose keys are the right ones.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from toolchain import paths, stack_file, store
from toolchain.commands import init
from toolchain.docker_objects import BACKUP, Objects
from toolchain.errors import RefusedError
from toolchain.say import say
from toolchain.session import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker.models.containers import Container

    from toolchain.session import Session

#: Under what name the job works in the database (see `mlflow_stack_backup.database`).
_JOB: Final = "mlflow-stack-restore"

#: Milliseconds that a session of a job that is gone gets to end: a transaction may be at its very end.
_ENDS_WITHIN: Final = 60_000


@dataclass(frozen=True, slots=True)
class Underway:
    """A restore that was begun, and is not well yet.

    Attributes:
        set: The set.
        mark: What the database says of itself once it is that of the set; empty where that is known to be so.
        keys: The keys to take then, as the stack file names and encrypts them: those that it has others of.
    """

    set: str
    mark: str = ""
    keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class Marker:
    """Says which set is on its way into a stack; there from the first change until all is well."""

    def __init__(self, stack: str) -> None:
        self._path = paths.local_dir() / f"restore-{stack}"

    @property
    def underway(self) -> Underway | None:
        """The restore; None where none is on its way."""
        try:
            return Underway(**json.loads(store.read(self._path) or "null"))
        except (ValueError, TypeError):
            return None

    @property
    def set(self) -> str | None:
        """Its set."""
        underway = self.underway
        return None if underway is None else underway.set

    def write(self, underway: Underway) -> None:
        """Before the first change."""
        held = {"set": underway.set, "mark": underway.mark, "keys": dict(underway.keys)}
        store.write(self._path, f"{json.dumps(held)}\n")

    def remove(self) -> None:
        """When all is well."""
        self._path.unlink(missing_ok=True)


def begin(session: Session, set_id: str, keys: Mapping[str, str]) -> Underway:
    """Write down that a set is on its way, before the first change.

    Args:
        session: The stack.
        set_id: The set.
        keys: What is in its database is encrypted with: config key → value.
    """
    other = other_keys(session, keys)
    begun = Underway(set_id, f"restored from {set_id}, attempt {secrets.token_hex(8)}", init.encrypted(session, other))
    Marker(session.name).write(begun)
    return begun


def other_keys(session: Session, keys: Mapping[str, str]) -> dict[str, str]:
    """Those of some keys of which the stack has another value."""
    config = session.config(secrets=True)
    return {key: value for key, value in keys.items() if str(config.get(key, {}).get("value", "")) != value}


def take_keys(session: Session, begun: Underway) -> None:
    """Have the stack read what is encrypted in the set's database, which is there; other credentials stay its own.

    As with a rotation, the stack file keeps the value before until a deployment has taken the new one.
    """
    from components.settings import OLD  # noqa: PLC0415 - slow to import

    if begun.keys:
        now = stack_file.secrets(session.stack_file)
        before: dict[str, str | None] = {
            f"{name}{OLD}": now[name] for name in begun.keys if f"{name}{OLD}" not in now and name in now
        }
        stack_file.change_secrets(session.stack_file, {**before, **begun.keys})
        names = ", ".join(name.removeprefix(f"{PROJECT}:") for name in begun.keys)
        say(f"  {names}: those of the backup, kept encrypted in {session.stack_file.name}")
    Marker(session.name).write(Underway(begun.set))


def settle(session: Session, objects: Objects) -> bool:
    """After a restore that was cut off, have the stack file hold the keys of the database that is there.

    Where PostgreSQL does not answer, nothing is decided, and nothing is lost: a later call does it.

    Returns:
        Whether the stack file got other keys.
    """
    marker = Marker(session.name)
    begun = marker.underway
    if begun is None or not begun.mark:
        return False
    objects.forget_containers()
    postgres, job = objects.container("postgres"), objects.container(BACKUP)
    if postgres is None or postgres.status != "running" or (job is not None and job.status == "running"):
        return False
    is_there = _is_there(postgres, begun.mark)
    if is_there is None:
        return False
    if not is_there:
        marker.remove()
        say(
            f"  a restore of {begun.set} was cut off before it reached the database, which is as it was, with its own "
            "keys; some objects may be the backup's. To have all of it: make restore, again"
        )
        return False
    say(f"  a restore of {begun.set} was cut off when its database was there; to compare the rest: make restore, again")
    take_keys(session, begun)
    return bool(begun.keys)


def refuse_unsettled(session: Session) -> None:
    """Decline what needs to know whose keys the database is encrypted with.

    Raises:
        RefusedError: A restore was cut off, and that is not decided yet.
    """
    begun = Marker(session.name).underway
    if begun is not None and begun.mark:
        wrong = "was cut off, and whose keys the database is encrypted with is not decided yet"
        raise RefusedError("restore", begun.set, wrong, f"make up STACK={session.stack}")


def _is_there(postgres: Container, mark: str) -> bool | None:
    """Whether a database says of itself that it is of an attempt; None where PostgreSQL does not answer.

    The job is gone, but its last word to PostgreSQL may be on its way still: so its sessions end first.
    """
    from components.upgrade import psql  # noqa: PLC0415 - imports the SDK

    end = f"SELECT pg_terminate_backend(pid, {_ENDS_WITHIN}) FROM pg_stat_activity WHERE application_name = '{_JOB}'"  # noqa: S608 - names of ours
    those = f"FROM pg_database WHERE shobj_description(oid, 'pg_database') = '{mark}'"
    try:
        psql.run(postgres, end)
        said = psql.ask(postgres, f"SELECT EXISTS (SELECT {those})").strip()
    except psql.SqlError:
        return None
    return {"t": True, "f": False}.get(said)
