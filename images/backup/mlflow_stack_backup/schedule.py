"""When: a schedule as cron knows it, in UTC.

Five fields: minute, hour, day of the month, month, day of the week (0 to 7, Sunday is both). Each is `*`, a number, a
range `a-b`, any of these with a step `/n`, or a list of them. As with cron, where both days are limited either will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

_LIMITS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_SUNDAY: Final = 7
#: No schedule is silent for longer: the 29th of February comes after eight years at the latest.
_DAYS: Final = 8 * 366 + 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule.

    Attributes:
        minutes: Minutes of the hour.
        hours: Hours of the day.
        days: Days of the month.
        months: Months.
        weekdays: Days of the week, Monday is 1 and Sunday 7; None where they are not limited.
        any_day: Whether days of the month are not limited.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int] | None
    any_day: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one.

        Raises:
            ValueError: It is none, or never comes.
        """
        fields = text.split()
        if len(fields) != len(_LIMITS):
            raise ValueError(f"{text!r} has {len(fields)} fields instead of {len(_LIMITS)}")
        minutes, hours, days, months, weekdays = (
            _values(field, *limits) for field, limits in zip(fields, _LIMITS, strict=True)
        )
        limited = None if fields[4].startswith("*") else frozenset(day or _SUNDAY for day in weekdays)
        made = cls(minutes, hours, days, months, limited, fields[2].startswith("*"))
        made.after(datetime(2000, 1, 1, tzinfo=UTC))
        return made

    def after(self, moment: datetime) -> datetime:
        """The first time after a moment.

        Raises:
            ValueError: There is none, as for the 31st of February.
        """
        start = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for number in range(_DAYS):
            day = start + timedelta(days=number)
            if not self._is_on(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    found = day.replace(hour=hour, minute=minute)
                    if found >= start:
                        return found
        raise ValueError("it never comes")

    def _is_on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_month = day.day in self.days
        if self.weekdays is None:
            return by_month
        by_week = day.isoweekday() in self.weekdays
        return by_week if self.any_day else by_month or by_week


def _values(field: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = int(begin)
            last = int(end) if dash else high if step else first
        each = int(step) if step else 1
        if not low <= first <= last <= high or each < 1:
            raise ValueError(f"{part!r} is not within {low} to {high}")
        found.update(range(first, last + 1, each))
    return frozenset(found)
