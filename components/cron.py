"""When something is done again and again: the five fields of cron, as much of them as every reader of them knows."""

from __future__ import annotations

import re
from typing import Final

_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
#: `*`, `*/5`, `3`, `1-5` and `10-50/20`.
_PART: Final = re.compile(
    r"(?:\*(?:/(?P<every>\d{1,2}))?|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2})(?:/(?P<step>\d{1,2}))?)?)"
)


def problem(text: str) -> str | None:
    """Say what is wrong with a schedule; None where nothing is."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return "must have five fields (minute, hour, day of the month, month, day of the week), such as '30 3 * * *'"
    for field, (name, low, high) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            found = _PART.fullmatch(part)
            numbers = [int(found[key]) for key in ("first", "last") if found[key]] if found else []
            steps = [int(found[key]) for key in ("every", "step") if found[key]] if found else []
            # A step over the days of the week means something else to each reader.
            uneven = found is not None and found["every"] and name == "day of the week"
            within = all(low <= number <= high for number in numbers) and numbers == sorted(numbers)
            if found is None or uneven or not within or 0 in steps:
                return (
                    f"{part} is no {name}: it must be a number from {low} to {high}, a range, *, or a step such as */5"
                )
    return None
