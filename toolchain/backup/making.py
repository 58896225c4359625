"""Make a set while the stack serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolchain.backup import image, job, keys, places, stores
from toolchain.docker_objects import Objects, output
from toolchain.errors import RefusedError
from toolchain.say import Step

if TYPE_CHECKING:
    from components.settings import Settings
    from toolchain.session import Session


def make(session: Session, to: str, s3_file: str) -> dict[str, Any]:
    """Make a set, and give what the container tells of it.

    Raises:
        RefusedError: Nothing was written: the target is not this stack's, or a store does not run.
        FailedError: It could not be made; the sets before are as they were.
    """
    objects = Objects(session.name)
    stores.require(objects)
    place = places.to_write(objects.client, to, s3_file)
    chosen, credentials = stores.settings(session), stores.in_use(objects)
    config = {key: str(entry.get("value", "")) for key, entry in session.config(secrets=True).items()}
    key = config.get(keys.BACKUP_KEY)
    if not key:
        wrong = "the keys in a backup are encrypted with it, and it is not set"
        raise RefusedError(keys.BACKUP_KEY, "(not set)", wrong, f"make init STACK={session.stack}")
    request = {
        "key": key,
        "about": about(session.name, chosen, objects),
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


def about(stack: str, chosen: Settings, objects: Objects) -> dict[str, Any]:
    """What the manifest says of a stack: its name, what it depends on for a restore, and its versions."""
    from components.settings import PROJECT  # noqa: PLC0415 - imports the SDK

    minio = output(objects.container("minio"), ["minio", "--version"])
    return {
        "project": PROJECT,
        "stack": stack,
        "bucket": chosen.bucket_name,
        "settings": {
            "auth": chosen.auth,
            "artifactAccess": chosen.artifact_access,
            "databaseName": chosen.database_name,
        },
        "versions": {"mlflow": chosen.mlflow_version, "minio": minio.split()[2] if minio else "unknown"},
    }
