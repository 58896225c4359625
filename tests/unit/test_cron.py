"""Schedules: what every reader of them knows passes, everything else is refused with the field that is wrong."""

from __future__ import annotations

import pytest

from components import cron
from components.problem import InvalidConfigError
from components.settings import load
from tests.unit.recording import dummy_secrets


@pytest.mark.parametrize("text", ["* * * * *", "30 3 * * 0", "*/5 0-6 1,15 1-12/2 7", "59 23 31 12 1-5"])
def test_five_fields_are_a_schedule(text: str) -> None:
    assert cron.problem(text) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("* * * *", "five fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of the month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of the week"),
        ("* * * * */2", "day of the week"),
        ("*/0 * * * *", "minute"),
        ("5/2 * * * *", "minute"),
        ("a * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
    ],
)
def test_anything_else_is_refused_with_the_field_that_is_wrong(text: str, word: str) -> None:
    assert word in str(cron.problem(text))


def test_a_schedule_that_is_none_is_refused_with_a_line_to_type() -> None:
    with pytest.raises(InvalidConfigError) as refusal:
        load({**dummy_secrets(), "gcSchedule": "daily"})
    (line,) = refusal.value.lines
    assert line.startswith("gcSchedule: daily: must have five fields")
    assert line.endswith("mend: pulumi config set gcSchedule '30 3 * * *'")


@pytest.mark.parametrize("text", ["30", "d", "1y", "-1d", "1h1d"])
def test_a_time_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfigError) as refusal:
        load({**dummy_secrets(), "gcOlderThan": text})
    assert "mend: pulumi config set gcOlderThan 30d" in refusal.value.lines[0]


def test_a_schedule_is_refused_for_an_mlflow_whose_image_can_not_read_it() -> None:
    with pytest.raises(InvalidConfigError) as refusal:
        load({**dummy_secrets(), "gcSchedule": "30 3 * * 0", "mlflowVersion": "2.22.5"})
    assert "needs MLflow 3.10.0 or newer" in refusal.value.lines[0]
