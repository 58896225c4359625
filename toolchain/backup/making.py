"""Make a set while the stack serves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from components import backup
from toolchain.backup import image, job, keys, places, stores, underway
from toolchain.docker_objects import KEEPER, Objects, output
from toolchain.errors import FailedError, RefusedError
from toolchain.images import docker_host
from toolchain.say import Step

if TYPE_CHECKING:
    from toolchain.session import Session


def make(session: Session, to: str, s3_file: str) -> dict[str, Any]:
    """Make a set, and give what the container tells of it.

    Raises:
        RefusedError: Nothing was written: the target is not this stack's, a store does not run, or a restore was cut
            off.
        FailedError: It could not be made; the sets before are as they were.
    """
    from components.naming import Naming  # noqa: PLC0415 - slow to import
    from components.upgrade import found  # noqa: PLC0415

    objects = Objects(session.name)
    stores.require(objects)
    underway.refuse_unsettled(session)
    place = places.to_write(objects.client, to, s3_file)
    chosen, credentials = stores.settings(session), stores.in_use(objects)
    minio = output(objects.container("minio"), ["minio", "--version"])
    config = {key: str(entry.get("value", "")) for key, entry in session.config(secrets=True).items()}
    key = config.get(keys.BACKUP_KEY)
    if not key:
        wrong = "the keys in a backup are encrypted with it, and it is not set"
        raise RefusedError(keys.BACKUP_KEY, "(not set)", wrong, f"make init STACK={session.stack}")
    # The settings may be those of an upgrade to come, before which people make a backup.
    mlflow, _ = found.served(Naming(session.name), objects.client)
    request = {
        "key": key,
        "about": backup.about(session.name, chosen, minio.split()[2] if minio else "unknown", mlflow),
        "keys": keys.of(session, {**config, **credentials}),
        **stores.reached(chosen, credentials, as_owner=False),
    }
    step = Step(f"backup of stack {session.stack} to {to}")
    made = job.run(
        objects,
        "backup",
        request,
        image=image.ensure(objects, chosen),
        place=place,
        step=step,
        networks=stores.networks(objects),
        writes=True,
    )
    step.done()
    return made


def have_made(objects: Objects) -> dict[str, Any]:
    """Have the container that makes backups by itself make one now.

    Raises:
        RefusedError: There is none.
        FailedError: It failed; the sets before are as they were.
    """
    keeper = objects.container(KEEPER)
    if keeper is None or keeper.status != "running":
        wrong = "the folder of the backups must be named, or s3://BUCKET/PREFIX, where the stack makes none by itself"
        raise RefusedError("TO", "(not set)", wrong, "make backup TO=/a/folder, or pulumi config set backupTarget")
    step = Step(f"backup of stack {objects.stack}, by its own container")
    keeper.client = docker_host.connect()  # one that waits as long as it takes
    answer: Any = keeper.exec_run(["python3", "-m", "mlflow_stack_backup", "now"], stderr=False)
    try:
        outcome: dict[str, Any] = json.loads(answer.output.decode().strip().rpartition("\n")[2])
    except ValueError:
        raise FailedError("backup", objects.stack, "gave no answer", "make logs ROLE=backup") from None
    if "problem" in outcome:
        raise FailedError(*outcome["problem"])
    step.done()
    return outcome
