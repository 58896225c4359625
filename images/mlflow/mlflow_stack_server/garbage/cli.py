"""The arguments of the modes `gc` and `gc-schedule`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mlflow_stack_server.garbage import collect, schedule

if TYPE_CHECKING:
    from mlflow_stack_server.settings import Settings


def main(settings: Settings, mode: str, arguments: list[str]) -> int:
    """Collect as the arguments say; return the exit code.

    Raises:
        LauncherError: See `collect.run` and `schedule.run`.
    """
    parser = argparse.ArgumentParser(prog=f"mlflow-stack-server {mode}", allow_abbrev=False)
    if mode == "gc-schedule":
        parser.add_argument("schedule", help="five fields of cron, UTC")
    parser.add_argument("older_than", help="such as 30d or 1d12h")
    if mode == "gc":
        parser.add_argument("--dry", action="store_true", help="only say what would go")
        parser.add_argument("--wait", type=float, default=0, help="seconds to wait for another job that is at work")
    given = parser.parse_args(arguments)
    if mode == "gc":
        collect.run(settings, given.older_than, dry=given.dry, wait=given.wait)
    else:
        schedule.run(given.schedule, given.older_than)
    return 0
