"""`verify-backup`: restore a backup into a stack of its own, compare, and take that away again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.commands import init
from toolchain.commands.prepare import prepare
from toolchain.errors import DONE

if TYPE_CHECKING:
    from toolchain.backup.restoring import Wanted


def run(stack: str, wanted: Wanted) -> int:
    """Run the command.

    Args:
        stack: The stack whose backup key is tried; it is not touched.
        wanted: The backup.

    Raises:
        RefusedError: The set is not as it was made, or can't be read by this program or with this key.
        FailedError: It can't be restored.
    """
    from toolchain.backup import restoring, verifying  # noqa: PLC0415 - slow to import

    session = prepare(stack)
    init.initialise(session)
    found = restoring.check(session, wanted, "verify-backup")
    model = verifying.verify(session, found)
    tables, objects = found.manifest["database"]["tables"], found.manifest["objects"]
    print(
        f"verified {found.id}: restored into a stack of its own; {len(tables)} tables have the rows of the backup, "
        f"{objects['count']} objects their content" + (f"; a model was read back: {model}" if model else "")
    )
    return DONE
