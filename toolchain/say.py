"""What a command tells its user while it works: on stderr, so that stdout holds results alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from toolchain.errors import FailedError

_EVERY_SECONDS: Final = 10.0
_TAIL_LINES: Final = 25
_SHOWN: Final = 100


def say(text: str) -> None:
    """Tell one line."""
    print(text, file=sys.stderr, flush=True)


class Step:
    """A long step: says now and then how long it has been running and what it is at."""

    def __init__(self, what: str) -> None:
        """Start the clock.

        Args:
            what: The step, as a user would call it.
        """
        self._what = what
        self._start = self._last = time.monotonic()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        say(f"  {what} …")

    @property
    def tail(self) -> str:
        """The last lines that the step said."""
        return "\n".join(self._tail)

    def line(self, text: str) -> None:
        """Take a line of the step's own output."""
        text = text.rstrip()
        if not text:
            return
        self._tail.append(text)
        self.beat(text)

    def beat(self, text: str = "") -> None:
        """Tell that the step lives, if it is time to."""
        now = time.monotonic()
        if now - self._last >= _EVERY_SECONDS:
            self._last = now
            say(f"  {self._what}: {now - self._start:.0f} s{': ' if text else ''}{text[:_SHOWN]}")

    def done(self) -> None:
        """Say that the step has ended well."""
        say(f"  {self._what}: done in {time.monotonic() - self._start:.1f} s")


def run_step(
    what: str, command: Sequence[str], mend: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a command to its end, as a step.

    Args:
        what: The step, as a user would call it.
        command: Program and arguments; no secret among them.
        mend: What the user can do when it fails.
        env: The whole environment; None for this process's own.
        cwd: Where to run it.

    Raises:
        FailedError: It ended with another exit code than 0; the end of its output is told before.
    """
    step = Step(what)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=None if env is None else dict(env),
        cwd=cwd,
    ) as process:
        try:
            for line in process.stdout or ():
                step.line(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        say(step.tail)
        raise FailedError(what, f"exit code {process.returncode}", "the lines above tell why", mend)
    step.done()
