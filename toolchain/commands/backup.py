"""`backup`: a consistent set of everything, while the stack serves."""

from __future__ import annotations

from typing import Any

from toolchain import contents, engine
from toolchain.docker_objects import Objects
from toolchain.errors import DONE
from toolchain.session import Session


def run(session: Session, to: str, s3_file: str = "") -> int:
    """Run the command.

    Args:
        session: The stack.
        to: Where its sets are kept: a folder, or `s3://BUCKET/PREFIX`; empty for where the stack keeps them by itself.
        s3_file: For an S3: a file with an AWS profile; empty for none.

    Raises:
        RefusedError: Nothing was written.
        FailedError: It could not be made; the sets before are as they were.
    """
    from toolchain.backup import making, stores  # noqa: PLC0415 - imports the SDK

    engine.require()
    if to:
        made = making.make(session, to, s3_file)
    else:
        made = making.have_made(Objects(session.name))
        to = str(stores.settings(session).backup_target)
    print(_summary(session, to, made))
    return DONE


def _summary(session: Session, to: str, made: dict[str, Any]) -> str:
    objects, counts = made["objects"], made["counts"]
    chosen = "" if session.stack == "dev" else f" STACK={session.stack}"
    spoilt = objects["spoilt"]
    warning = f"""\
warning          {spoilt} objects in the backup were not as they were once copied, and were copied again: look at what
                   keeps {to}, and try the whole of it: make verify-backup FROM={to}{chosen}
"""
    return f"""
{warning if spoilt else ""}\
backup           {made["set"]} in {to}; what is new was read back and compared
holds            {counts["runs"]} runs, {counts["experiments"]} experiments, {counts["models"]} models
size             {contents.size(made["bytes"])}: {objects["count"]} objects, {objects["new"]} of them new \
({contents.size(objects["newBytes"])})
took             {made["seconds"]} s
to restore it    make restore FROM={to}{chosen}; to try that: make verify-backup FROM={to}{chosen}
its key          decrypts the keys in it, and is not in it: keep a copy elsewhere (id {made["key"]}). To read it:
                   eval "$(make env{chosen})" && pulumi config get backupKey
"""
