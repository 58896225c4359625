"""What every measurement gets."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import docker

from bench.compose import Compose, Images, Variant
from bench.ours import Ours
from bench.sweep import sweep_compose


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: How often each side is measured; the median counts.
        idle_seconds: How long an idle side is watched.
        settle_seconds: How long it is left alone before that.
        load_seconds: How long a side is under load in a round.
    """

    rounds: int = 3
    idle_seconds: float = 60
    settle_seconds: float = 30
    load_seconds: float = 20


@dataclass(frozen=True, slots=True)
class Context:
    """The two sides, and how much is measured.

    Attributes:
        ours: This stack; down unless the measurement before it left it up.
        secure: This stack with logins and HTTPS, beside the other one; down likewise.
        images: What both sides run.
        plan: How much is measured.
    """

    ours: Ours
    secure: Ours
    images: Images
    plan: Plan

    @property
    def docker(self) -> docker.DockerClient:
        """The Docker host."""
        return self.ours.client

    @contextmanager
    def compose(self, variant: Variant) -> Generator[Compose]:
        """An arrangement that is not up yet; gone afterwards."""
        try:
            yield Compose(self.docker, self.images, variant)
        finally:
            sweep_compose(self.docker, variant.key)

    @contextmanager
    def ours_up(self) -> Generator[Ours]:
        """This stack, up; gone afterwards."""
        with _up(self.ours):
            yield self.ours

    @contextmanager
    def secure_up(self) -> Generator[Ours]:
        """This stack with logins and HTTPS, up; gone afterwards."""
        with _up(self.secure):
            yield self.secure


@contextmanager
def _up(side: Ours) -> Generator[None]:
    side.up()
    try:
        yield
    finally:
        side.destroy()


def progress(text: str) -> None:
    """Tell on stderr what is going on."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stderr.flush()
