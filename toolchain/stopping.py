"""Wait in the main thread until the process is to end."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection


class Stopping:
    """Whether this process is to end, because of a signal or of something that a thread found out.

    Python runs a signal's handler in the main thread, and the kernel may give the signal to any thread: a main thread
    that waits for a lock then goes on waiting. What it waits for here is a pipe, into which the signal itself writes.
    """

    def __init__(self, signals: Collection[signal.Signals]) -> None:
        """Take over some signals; in the main thread."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: None)

    def tell(self) -> None:
        """Have the process end; in any thread."""
        os.write(self._writer, b"\0")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is to end, or until the time is over; tell which."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        return bool(ready)


def engine_is_gone() -> bool:
    """Whether the engine has ended: it holds the other end of the stdin of each process that it starts.

    Its process id does not tell that to one that it ended before: whoever takes its children over has another one.
    """
    ends = select.poll()
    ends.register(0, 0)
    return any(event & select.POLLHUP for _, event in ends.poll(0))
