"""`engine-stop`: stop a Docker daemon that this checkout started."""

from __future__ import annotations

from toolchain import engine
from toolchain.errors import DONE
from toolchain.say import say


def run() -> int:
    """Run the command."""
    if engine.stop():
        say("the Docker daemon that was started here is stopped, and with it its containers")
    else:
        say("no Docker daemon was started from here; another one is left alone")
    return DONE
