"""Long steps: run them, show that they live, keep the end of what they said for the error."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Report = Callable[[str], None]

_EVERY_SECONDS = 10.0
_TAIL_LINES = 25


class Progress:
    """Says now and then how long a step has been running and what it is at."""

    def __init__(self, what: str, report: Report) -> None:
        """Start the clock.

        Args:
            what: The step, as a user would call it.
            report: Takes one line at a time.
        """
        self._what = what
        self._report = report
        self._start = self._last = time.monotonic()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._start

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
        now = time.monotonic()
        if now - self._last >= _EVERY_SECONDS:
            self._last = now
            self._report(f"  {self._what}: {self.seconds:.0f} s: {text[:90]}")

    def done(self, detail: str = "") -> None:
        """Say that the step has ended well."""
        self._report(f"  {self._what}: done in {self.seconds:.0f} s{f', {detail}' if detail else ''}")


class StepFailedError(Exception):
    """A command ended with another exit code than 0; the text is the end of its output."""


def run(command: Sequence[str], progress: Progress, env: Mapping[str, str], cwd: Path | None = None) -> None:
    """Run a command to its end, feeding its output to a progress line.

    Raises:
        StepFailedError: It ended with another exit code than 0.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(env),
        cwd=cwd,
    ) as process:
        try:
            for line in process.stdout or ():
                progress.line(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise StepFailedError(progress.tail)
