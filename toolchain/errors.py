"""How the toolchain says no: one line, with the command that mends it."""

from __future__ import annotations

from typing import Final

#: Exit codes of every command.
DONE: Final = 0
FAILED: Final = 1
REFUSED: Final = 2

#: What stands between an error and the command that mends it.
MEND: Final = ". mend: "


class ToolchainError(Exception):
    """A command can't go on.

    Attributes:
        exit_code: `REFUSED` when nothing had been touched yet, else `FAILED`.
    """

    exit_code = FAILED

    def __init__(self, key: str, value: str, wrong: str, mend: str) -> None:
        """Make the line that a user reads on stderr.

        Args:
            key: The setting, or the part of the machine, that is wrong.
            value: What it is now; never the value of a secret.
            wrong: What is wrong with it, and the limit it breaks.
            mend: The command that mends it.
        """
        super().__init__(f"{key}: {value}: {wrong}{MEND}{mend}")


class RefusedError(ToolchainError):
    """The command declines before anything was touched."""

    exit_code = REFUSED


class FailedError(ToolchainError):
    """A step ran and failed; what was done before it stands, and the next run goes on from there."""


def repeated(line: str, *, refused: bool) -> RefusedError | FailedError | None:
    """Give the error that a program of ours said in a container, which has the same shape; None where it has not.

    Args:
        line: What it said.
        refused: Whether it declined before anything was touched.
    """
    kind = RefusedError if refused else FailedError
    try:
        key, value, rest = line.split(": ", 2)
    except ValueError:
        return None
    wrong, mends, mend = rest.partition(MEND)
    return kind(key, value, wrong, mend) if mends else None
