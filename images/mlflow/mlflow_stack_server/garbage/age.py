"""How long ago something must have been deleted, in the form that `mlflow gc --older-than` takes."""

from __future__ import annotations

import re
from datetime import timedelta

from mlflow_stack_server.errors import RefusedError

_FORM = re.compile(
    r"(?:(?P<days>\d{1,5})d)?(?:(?P<hours>\d{1,5})h)?(?:(?P<minutes>\d{1,5})m)?(?:(?P<seconds>\d{1,6})s)?"
)


def parse(text: str) -> timedelta:
    """Give the time that a text like `30d` or `1d12h` means.

    Raises:
        RefusedError: It has another form.
    """
    found = _FORM.fullmatch(text)
    if not text or found is None:
        message = (
            f"OLDER_THAN: {text or '(empty)'}: must be days, hours, minutes or seconds, such as 30d or 1d12h. "
            "mend: make gc OLDER_THAN=30d"
        )
        raise RefusedError(message)
    return timedelta(**{unit: int(number) for unit, number in found.groupdict().items() if number})
