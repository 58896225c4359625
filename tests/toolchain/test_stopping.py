"""A process ends on a signal whichever of its threads the kernel gives it to."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WAITS = """
import signal, sys, threading, time
from toolchain.stopping import Stopping

stopping = Stopping((signal.SIGINT, signal.SIGTERM))

def tell():
    time.sleep(0.2)  # the main thread waits by then; earlier than that would prove less, and never too much
    {how}

threading.Thread(target=tell).start()
sys.exit(0 if stopping.wait(20) else 1)
"""


@pytest.mark.parametrize(
    "how",
    [
        "signal.pthread_kill(threading.get_ident(), signal.SIGINT)",
        "signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)",
        "stopping.tell()",
    ],
    ids=["a signal to another thread", "a signal to the main thread", "a thread that tells it"],
)
def test_it_ends_at_once(how: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _WAITS.format(how=how)], timeout=15, check=False)
    assert ended.returncode == 0


def test_nothing_happens_before() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _WAITS.format(how="pass").replace("wait(20)", "wait(0.5)")], timeout=15, check=False
    )
    assert ended.returncode == 1
