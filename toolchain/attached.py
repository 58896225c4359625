"""Run a program on the user's own terminal and hand on what stops it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: Its exit code; below zero where a signal ended it.
        interrupted: Whether somebody asked it to end before it had.
    """

    code: int
    interrupted: bool


def run(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path, *, quiet: bool = False) -> Ended:
    """Run a program to its end, and tell how it ended.

    Ctrl-C reaches it from the terminal; it ends in its own time, and a second one makes it hurry. A request to this
    process to end (`kill`) is handed on as a Ctrl-C, so that the program can leave things in order.

    Args:
        command: Program and arguments; no secret among them.
        env: The whole environment.
        cwd: Where to run it.
        quiet: Drop what it prints on stdout.
    """
    process = subprocess.Popen(command, env=dict(env), cwd=cwd, stdout=subprocess.DEVNULL if quiet else None)
    asked: list[int] = []

    def wait_for_it(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)

    def hand_on(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)
        process.send_signal(signal.SIGINT)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, wait_for_it),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
        signal.SIGHUP: signal.signal(signal.SIGHUP, hand_on),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Ended(code, interrupted=bool(asked) or code < 0)
