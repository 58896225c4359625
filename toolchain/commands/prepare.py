"""What a machine lacks: the Docker engine and the base images on one side, the CLI and the plugins on the other."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from toolchain import engine
from toolchain.say import say
from toolchain.session import Session, open_session


def prepare(stack: str) -> Session:
    """Have everything that a deployment needs. The two sides wait for different things, so they run side by side.

    Raises:
        RefusedError: This machine can't have one of them; nothing was touched.
        FailedError: One could not be had.
    """
    with ThreadPoolExecutor(1) as pool:
        docker = pool.submit(_docker)
        session = open_session(stack)
        docker.result()
    say(session.cli.why)
    say(session.plugins.why)
    return session


def _docker() -> None:
    from toolchain.images import Mode, resolve  # noqa: PLC0415 - imports a Docker client, a third of a second

    say(engine.ensure())
    resolve(cast("Mode", os.environ.get("IMAGES") or "auto"), say)


def run(stack: str) -> int:
    """Run the command."""
    prepare(stack)
    return 0
