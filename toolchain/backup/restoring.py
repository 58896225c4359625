"""Bring a set into a stack.

Everything that can be known to go wrong is looked for first, and nothing is changed until then. From then on the same
command finishes what was interrupted: what is in the bucket already is only read, the database comes in one
transaction, and the stack's keys become those of the set when it is there (see `underway`).
"""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolchain import contents, deployment, heal, rotation, stack_file
from toolchain.backup import image, job, keys, places, stores, underway
from toolchain.backup.underway import Marker
from toolchain.commands import init, up
from toolchain.docker_objects import Objects
from toolchain.errors import DONE, FailedError, RefusedError, repeated
from toolchain.say import Step, say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from components.settings import Settings
    from toolchain.backup.places import Place
    from toolchain.session import Session

#: Rows by table that a stack has from the start: MLflow's default experiment, its first user.
_FROM_THE_START: Final = {"experiments": 1, "users": 1}

#: Table that holds which schema MLflow's own tables have.
_REVISION: Final = "alembic_version"

#: Tables whose rows somebody would miss, and what people call them.
_MISSED: Final = {
    "runs": "runs",
    "experiments": "experiments",
    "registered_models": "models",
    "logged_models": "logged models",
    "trace_info": "traces",
    "users": "users",
    "webhooks": "webhooks",
    "secrets": "secrets of the AI gateway",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which backup a user means.

    Attributes:
        source: The place that it is in: a folder, or `s3://BUCKET/PREFIX`.
        set: Its name; empty for the newest.
        key_file: A file with the key of the set, where the stack has another one; empty for none.
        s3_file: For an S3: a file with an AWS profile; empty for none.
    """

    source: str
    set: str = ""
    key_file: str = ""
    s3_file: str = ""


@dataclass(frozen=True)
class Set:
    """A set that was read whole and is as it was made.

    Attributes:
        place: Where it is.
        id: Its name.
        manifest: What it says of itself.
        keys: What it can't be read without: file → text.
    """

    place: Place
    id: str
    manifest: Mapping[str, Any]
    keys: Mapping[str, str] = field(repr=False)

    @property
    def encrypting(self) -> dict[str, str]:
        """The keys that MLflow has encrypted with what is in the database."""
        known: dict[str, str] = json.loads(self.keys[keys.FILE])
        return {key: known[key] for key in ("kekPassphrase", "webhookKey")}


def check(session: Session, wanted: Wanted, command: str) -> Set:
    """Read a set whole, every byte of it.

    Args:
        session: The stack whose backup key is tried.
        wanted: Which one.
        command: Who asks, for the errors.

    Raises:
        RefusedError: It is not as it was made, or can't be read by this program or with this key.
    """
    objects = Objects(session.name)
    place = places.to_read(objects.client, wanted.source, wanted.s3_file, command)
    key = keys.given(wanted.key_file) or _own_key(session)
    chosen = stores.settings(session)
    reference = image.ensure(objects, chosen)
    step = Step(f"reading the backup in {wanted.source}")

    def ask(key: str) -> dict[str, Any]:
        request = {"key": key, "set": wanted.set}
        return job.run(objects, "check", request, image=reference, place=place, step=step)

    try:
        outcome = ask(key or "none")
    except RefusedError as refusal:
        typed = keys.asked() if str(refusal).startswith("KEY_FILE: ") and not wanted.key_file else None
        if typed is None:
            raise
        outcome = ask(typed)
    step.done()
    return Set(place, outcome["set"], outcome["manifest"], outcome["keys"])


def _own_key(session: Session) -> str:
    if not init.exists(session):
        return ""
    return str(session.config(secrets=True).get(keys.BACKUP_KEY, {}).get("value", ""))


def into(session: Session, found: Set, *, overwrite: bool) -> None:
    """Bring a set into a stack, which is brought up first where it is not.

    Args:
        session: The stack.
        found: The set.
        overwrite: Whether what is in the stack may be lost.

    Raises:
        RefusedError: The set does not fit the stack, or the stack holds data; nothing was touched.
        FailedError: It could not be brought there whole; the same command goes on from there.
    """
    chosen = stores.settings(session)
    _refuse_misfit(session, chosen, found)
    marker = Marker(session.name)
    if rotation.is_at_work(session) and marker.set != found.id:
        raise RefusedError("rotation", session.stack, "was interrupted", f"make rotate STACK={session.stack}")
    is_new = not deployment.load(session).resources
    if is_new:
        _begin_with_keys(session, found)
    else:
        heal.heal(session, Objects(session.name))
    if not stores.are_up(Objects(session.name)) and up.run(session.stack) != DONE:
        raise FailedError("stack", session.stack, "could not be brought up", "make up, then make restore again")
    with told_as_failure() if is_new else nullcontext():
        _refuse_data(session, chosen, found, marker, overwrite=overwrite)
        underway.refuse_unsettled(session)
    with told_as_failure():
        _bring(session, chosen, found)
    marker.remove()


def _bring(session: Session, chosen: Settings, found: Set) -> None:
    """Do it, when nothing speaks against it any more."""
    objects = Objects(session.name)
    begun = underway.begin(session, found.id, found.encrypting)
    _stop_writers(objects)
    step = Step(f"restoring the backup {found.id}")
    request = {
        "set": found.id,
        "mark": begun.mark,
        **stores.reached(chosen, stores.in_use(objects), as_owner=True),
    }
    reference, networks = image.ensure(objects, chosen), stores.networks(objects)
    job.run(objects, "restore", request, image=reference, place=found.place, step=step, networks=networks)
    step.done()
    underway.take_keys(session, begun)
    # The migration and the server were taken away: they are made again, so an older schema is migrated as ever.
    heal.heal(session, Objects(session.name))
    if up.deploy_stack(session) != DONE:
        raise FailedError("stack", session.stack, "has its data, but does not serve yet", "make up, then make doctor")


@contextmanager
def told_as_failure() -> Generator[None]:
    """Let a refusal of a step be what it is to the whole: a failure, since something was touched before.

    Raises:
        FailedError: The block refused.
    """
    try:
        yield
    except RefusedError as refusal:
        raise repeated(str(refusal), refused=False) or refusal from None


def _refuse_misfit(session: Session, chosen: Settings, found: Set) -> None:
    """Refuse a set that this stack can't take.

    Raises:
        RefusedError: It can't.
    """
    refuse_schema(session.stack, chosen, found)
    bucket = found.manifest["bucket"]
    if bucket != chosen.bucket_name:
        wrong = f"the set is of a bucket {bucket}, which addresses in its database may name"
        mend = f"pulumi config set bucketName {bucket} --stack {session.stack}, on a stack that was never up"
        raise RefusedError("bucketName", chosen.bucket_name, wrong, mend)
    auth = found.manifest["settings"]["auth"]
    if auth != chosen.auth:
        say(f"  note: the set was made with auth: {auth}, and this stack has auth: {chosen.auth}")


def refuse_schema(stack: str, chosen: Settings, found: Set) -> None:
    """Refuse a set whose schema the stack's version of MLflow does not know: a schema does not go back.

    Args:
        stack: The stack.
        chosen: Its settings.
        found: The set.

    Raises:
        RefusedError: It does not know it.
    """
    from components.settings import version_numbers  # noqa: PLC0415 - slow to import
    from components.upgrade import revisions  # noqa: PLC0415

    made_by, wanted = str(found.manifest["versions"]["mlflow"]), chosen.mlflow_version
    schema: Mapping[str, str] = found.manifest["versions"].get("schema") or {}
    known, revision = revisions.of(wanted), schema.get(_REVISION, "")
    is_later = version_numbers(made_by) > version_numbers(wanted)
    if known is not None and revision:
        if revision in known.known:
            return
    elif not is_later:
        return
    wrong = f"the set was made by MLflow {made_by}, whose schema this version does not know"
    that_does = revisions.earliest_with(revision) or (made_by if is_later else "VERSION, of a later MLflow")
    mend = f"pulumi config set --stack {stack} mlflowVersion {that_does}"
    raise RefusedError("mlflowVersion", wanted, wrong, mend)


def _refuse_data(session: Session, chosen: Settings, found: Set, marker: Marker, *, overwrite: bool) -> None:
    """Never take the place of data without being told.

    Raises:
        RefusedError: The stack holds some.
    """
    objects = Objects(session.name)
    request = {
        "set": found.id,
        **stores.reached(chosen, stores.in_use(objects), as_owner=False),
    }
    step = Step("looking at what the stack holds")
    held = job.run(
        objects,
        "look",
        request,
        image=image.ensure(objects, chosen),
        place=found.place,
        step=step,
        networks=stores.networks(objects),
    )
    rows: Mapping[str, int] = held["tables"]
    if marker.set == found.id and rows == found.manifest["database"]["tables"]:
        say(f"  a restore of {found.id} was interrupted: it is finished")
        return
    parts = [
        f"{count} {name}"
        for table, name in _MISSED.items()
        if (count := rows.get(table, 0) - _FROM_THE_START.get(table, 0)) > 0
    ]
    if held["objects"]:
        parts.append(f"{held['objects']} other objects ({contents.size(held['bytes'])})")
    if not parts:
        return
    if not overwrite:
        wrong = f"holds {', '.join(parts)}, which the restore would take the place of; nothing was touched"
        mend = f"make backup STACK={session.stack} TO=FOLDER, then make restore … OVERWRITE=1"
        raise RefusedError("stack", session.stack, wrong, mend)
    say(f"  OVERWRITE=1: this is lost: {', '.join(parts)}")


def _begin_with_keys(session: Session, found: Set) -> None:
    """Have a stack that holds nothing yet begin with the keys of the set; other credentials stay its own."""
    other = underway.other_keys(session, found.encrypting)
    if other:
        stack_file.change_secrets(session.stack_file, init.encrypted(session, other))
        say(f"  {', '.join(other)}: those of the backup, kept encrypted in {session.stack_file.name}")


def _stop_writers(objects: Objects) -> None:
    """Take away the server, which writes, and the migration, which is to run again. Data is in the stores."""
    from docker.errors import NotFound  # noqa: PLC0415 - see docker_objects.connect()

    for role in ("server", "migration"):
        container = objects.container(role)
        if container is not None:
            with suppress(NotFound):
                container.stop(timeout=30)
                container.remove(force=True)
