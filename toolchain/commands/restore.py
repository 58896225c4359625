"""`restore`: bring a backup into a stack, after every check and never over data without being told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.commands import init
from toolchain.commands.prepare import prepare
from toolchain.errors import DONE

if TYPE_CHECKING:
    from toolchain.backup.restoring import Wanted


def run(stack: str, wanted: Wanted, *, overwrite: bool) -> int:
    """Run the command.

    Args:
        stack: The stack; it is brought up where it is not.
        wanted: The backup.
        overwrite: Whether what is in the stack may be lost.

    Raises:
        RefusedError: Nothing was touched.
        FailedError: It could not be finished; the same command goes on from there.
    """
    from toolchain.backup import restoring  # noqa: PLC0415 - slow to import

    session = prepare(stack)
    init.initialise(session)
    found = restoring.check(session, wanted, "restore")
    restoring.into(session, found, overwrite=overwrite)
    counts, objects = found.manifest["counts"], found.manifest["objects"]
    print(
        f"restored {found.id}: {counts['runs']} runs, {counts['experiments']} experiments, {counts['models']} models, "
        f"{objects['count']} objects: every table has the rows of the backup, every object its content"
    )
    return DONE
