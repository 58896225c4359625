"""A command that is run in a container, and all that it printed.

Once a command has ended, Docker waits two seconds for what it has printed and then drops the rest (moby,
`daemon/monitor.go`): on a machine that is busy enough, a command that went well seems to have printed nothing. Who
decides by an answer must not take that for one. So a mark is printed last, with the exit code, which Docker may not
know yet when the output ends; and what comes without it does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from docker.models.containers import Container

_MARK: Final = "[mlflow-stack: that is all] "
_MARKED: Final = 'mark=$1; shift; "$@"; code=$?; printf "\\n%s%d" "$mark" "$code"; exit "$code"'

#: How often a command is run until its output comes whole.
_ATTEMPTS: Final = 5


class CutOffError(Exception):
    """The command went well, and what it printed was lost."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended.

    Attributes:
        code: Its exit code.
        out: What it printed, without white space at both ends.
        error: What it printed on stderr, likewise.
    """

    code: int
    out: str
    error: str


def run(container: Container, command: Sequence[str], *, user: str = "") -> Said:
    """Run a command once. The container must have a shell.

    Args:
        container: A running one.
        command: The command and its arguments.
        user: Who runs it; the container's own user by default.

    Raises:
        CutOffError: It went well, and what it printed was lost.
        docker.errors.APIError: It can't be run there.
    """
    answer: Any = container.exec_run(["sh", "-c", _MARKED, "sh", _MARK, *command], user=user, demux=True)
    out, error = ((part or b"").decode(errors="replace") for part in answer.output or (b"", b""))
    printed, mark, code = out.rpartition(_MARK)
    if mark and code.isdigit():
        return Said(int(code), printed.strip(), error.strip())
    if answer.exit_code:
        return Said(int(answer.exit_code), out.strip(), error.strip())
    raise CutOffError(f"Docker lost what {command[0]} printed in {container.name}")


def ask(container: Container, command: Sequence[str], *, user: str = "") -> Said:
    """Run a command that does no harm when it is run again, which it is where its output was lost.

    Raises:
        CutOffError: It went well each time, and what it printed was lost each time.
        docker.errors.APIError: It can't be run there.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return run(container, command, user=user)
        except CutOffError:
            continue
    return run(container, command, user=user)
