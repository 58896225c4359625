"""How a mode ends that can't go on: one line that a person can act on, and an exit code."""

from __future__ import annotations

FAILED = 1
REFUSED = 2


class Problem(Exception):  # noqa: N818 - it is one, whether it is an error or a refusal
    """An end with a reason; the caller gives it on as its own.

    Attributes:
        exit_code: `REFUSED` when nothing had been touched yet, else `FAILED`.
        parts: Key, value, what is wrong, and the command that mends it; never a secret.
    """

    exit_code = FAILED

    def __init__(self, key: str, value: str, wrong: str, mend: str) -> None:
        super().__init__(f"{key}: {value}: {wrong}. mend: {mend}")
        self.parts = (key, value, wrong, mend)


class Refusal(Problem):
    """Declined before anything was touched."""

    exit_code = REFUSED
