"""`gc`: what users deleted long ago leaves database and bucket, for good."""

from __future__ import annotations

import re
from typing import Final

from toolchain import engine, jobs
from toolchain.docker_objects import GC_JOB, Objects
from toolchain.errors import DONE, RefusedError
from toolchain.session import Session

#: What is not said otherwise: long enough to notice that something was deleted by mistake.
OLDER_THAN: Final = "30d"

_FORM: Final = re.compile(r"(?=\d)(?:\d{1,5}d)?(?:\d{1,5}h)?(?:\d{1,5}m)?(?:\d{1,6}s)?")


def run(session: Session, older_than: str, *, dry: bool) -> int:
    """Run the command.

    Args:
        session: The stack.
        older_than: How long ago something must have been deleted.
        dry: Only say what would go.

    Raises:
        RefusedError: The time has another form, the server does not run, or another job is at work.
        FailedError: Something could not be removed.
    """
    engine.require()
    if not _FORM.fullmatch(older_than):
        wrong = "must be days, hours, minutes or seconds, such as 30d or 1d12h"
        raise RefusedError("OLDER_THAN", older_than or "(empty)", wrong, f"make gc OLDER_THAN={OLDER_THAN}")
    command = ["gc", older_than, *(["--dry"] if dry else [])]
    with jobs.created(Objects(session.name), GC_JOB, command) as container:
        jobs.run_to_its_end(container, "gc")
    return DONE
