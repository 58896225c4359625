"""The mode `gc-schedule`: collect by the clock, and be unhealthy from a failure to the next success.

Each collection is a process of its own: its memory is given back, and nothing of it can end the clock. A moment that
was missed, because the machine slept or the collection before took long, is made up for once.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlflow_stack_server.errors import RefusedError
from mlflow_stack_server.garbage import age

if TYPE_CHECKING:
    from collections.abc import Callable

WELL: Final = Path("/tmp/mlflow-stack-gc-well")  # noqa: S108 - in the container's own memory
"""There while the last collection went well; the container's health is asked by it."""

WAIT: Final = 3600
"""Seconds that a collection waits for a backup or another job to end."""

_MINUTE: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=1)
"""What was missed longer ago is not made up for."""


def run(schedule: str, older_than: str) -> None:
    """Go on until stopped.

    Args:
        schedule: Five fields of cron; the clock is UTC.
        older_than: How long ago something must have been deleted.

    Raises:
        RefusedError: Either has another form.
    """
    age.parse(older_than)
    is_due = matcher(schedule)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    WELL.touch()
    _say(f"at '{schedule}' (UTC), what was deleted {older_than} before")
    # The minute in which it starts counts.
    seen = _minute(datetime.now(UTC)) - _MINUTE
    while not stop.is_set():
        now = datetime.now(UTC)
        if due(is_due, seen, now):
            _collect(older_than, stop)
        seen = max(seen, _minute(now))
        stop.wait(max(0.0, (seen + _MINUTE - datetime.now(UTC)).total_seconds()))


def matcher(schedule: str) -> Callable[[datetime], bool]:
    """Give the function that says whether a minute is one of the schedule.

    Raises:
        RefusedError: The schedule has another form.
    """
    from huey import crontab  # noqa: PLC0415  (MLflow brings it, for the jobs of its server)

    try:
        minute, hour, day, month, weekday = schedule.split()
        return crontab(minute, hour, day, month, weekday, strict=True)
    except ValueError as error:
        message = f"gcSchedule: {schedule}: {error}. mend: pulumi config set gcSchedule '30 3 * * *'"
        raise RefusedError(message) from None


def due(is_due: Callable[[datetime], bool], seen: datetime, now: datetime) -> bool:
    """Say whether the schedule names a minute after `seen`, up to `now`."""
    minute = max(seen + _MINUTE, _minute(now) - _LONGEST)
    while minute <= now:
        if is_due(minute):
            return True
        minute += _MINUTE
    return False


def _collect(older_than: str, stop: threading.Event) -> None:
    command = [sys.executable, "-sP", "-m", "mlflow_stack_server", "gc", older_than, "--wait", str(WAIT)]
    process = subprocess.Popen(command)
    while process.poll() is None:
        if stop.wait(0.5):
            process.terminate()
            process.wait()
            return
    if process.returncode:
        WELL.unlink(missing_ok=True)
        _say(f"failed with exit code {process.returncode}; the schedule tries again, and so does: make gc")
    else:
        WELL.touch()


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _say(text: str) -> None:
    sys.stdout.write(f"gc-schedule: {text}\n")
    sys.stdout.flush()
