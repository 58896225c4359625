"""When a backup is due: cron's own words for it, and the same limits in the settings and in the container."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from mlflow_stack_backup.schedule import Schedule

from components.problem import InvalidConfigError
from components.settings import load
from tests.unit.recording import dummy_secrets

#: A Wednesday.
_NOW = datetime(2026, 11, 25, 22, 17, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("* * * * *", "2026-11-25T22:18"),
        ("17 22 * * *", "2026-11-26T22:17"),
        ("0 3 * * *", "2026-11-26T03:00"),
        ("*/20 * * * *", "2026-11-25T22:20"),
        ("5-50/15 22,23 * * *", "2026-11-25T22:20"),
        ("0 0 1 * *", "2026-12-01T00:00"),
        ("30 2 * * 0", "2026-11-29T02:30"),
        ("30 2 * * 7", "2026-11-29T02:30"),
        ("30 2 * * 1-5", "2026-11-26T02:30"),
        ("0 4 13 * 5", "2026-11-27T04:00"),  # as with cron, either day will do
        ("0 4 29 2 *", "2028-02-29T04:00"),
    ],
)
def test_the_next_time_is_cron_s(schedule: str, due: str) -> None:
    assert Schedule.parse(schedule).after(_NOW).isoformat(timespec="minutes").removesuffix("+00:00") == due
    assert load({**dummy_secrets(), "backupSchedule": schedule}).backup_schedule == schedule


@pytest.mark.parametrize(
    "schedule",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *", "5-1 * * * *"],
)
def test_what_is_no_schedule_is_refused_by_both(schedule: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Schedule.parse(schedule)
    with pytest.raises(InvalidConfigError):
        load({**dummy_secrets(), "backupSchedule": schedule})


def test_a_time_that_never_comes_is_no_schedule() -> None:
    with pytest.raises(ValueError, match="never"):
        Schedule.parse("0 0 31 2 *")
