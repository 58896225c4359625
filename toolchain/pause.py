"""How long nobody could use the stack, measured at its front door while something is done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from toolchain.session import Session

if TYPE_CHECKING:
    from components.front_door_client import FrontDoorClient

#: Seconds between two questions.
_INTERVAL: Final = 0.1


@dataclass
class Pause:
    """What was seen.

    Attributes:
        longest: The longest time without a good answer, in seconds.
    """

    longest: float = 0.0


@contextmanager
def measured(client: FrontDoorClient) -> Generator[Pause]:
    """Ask the server for its health all the time that the block takes."""
    pause, stop = Pause(), threading.Event()

    def ask() -> None:
        last_good = time.monotonic()
        while not stop.is_set():
            try:
                good = client.status("GET", "/health") == HTTPStatus.OK
            except OSError:
                good = False
            now = time.monotonic()
            pause.longest = max(pause.longest, now - last_good)
            if good:
                last_good = now
            stop.wait(_INTERVAL)

    watcher = threading.Thread(target=ask, daemon=True)
    watcher.start()
    try:
        yield pause
    finally:
        stop.set()
        watcher.join()


def front_door(session: Session) -> FrontDoorClient:
    """A client of the stack's front door, without a login: its health wants none."""
    from components.front_door import FrontDoor  # noqa: PLC0415 - slow to import
    from components.front_door_client import FrontDoorClient  # noqa: PLC0415
    from components.naming import Naming  # noqa: PLC0415
    from components.settings import Settings  # noqa: PLC0415

    config = session.config(secrets=False)
    plain = {key: entry["value"] for key, entry in config.items() if entry.get("value") and not entry.get("secret")}
    return FrontDoorClient(FrontDoor(Settings.model_validate(plain), Naming(session.name)))
