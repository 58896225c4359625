"""From nothing running to the first logged run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from bench.client import waiting_client
from bench.compose import AS_SHIPPED, FAST, FAST_JOBS_OFF, JOBS_OFF, Variant
from bench.figures import JOB_RUNNER_OFF, Figure, Target
from bench.measure.context import Context, progress

_VARIANTS = (AS_SHIPPED, JOBS_OFF, FAST, FAST_JOBS_OFF)
_CLIENT_COUNTS = "the client's own start counts on this side"
_NAME = "nothing running to first logged run"


def measure(context: Context) -> list[Figure]:
    """Start each side from nothing, in turn, and have a client log a run with an artifact.

    The client has loaded MLflow before the clock starts, and gets the address when the command that starts the side
    has returned. On this side that is `pulumi up`, check at its end included; images are built, as they are there.
    """
    ours: list[float] = []
    made: list[float] = []
    secure: list[float] = []
    theirs: dict[Variant, list[float]] = defaultdict(list)
    for number in range(context.plan.rounds):
        ours.append(_ours(context, context.ours.up))
        progress(f"start {number + 1}: pulumi up and first run: {ours[-1]:.1f} s")
        for variant in _VARIANTS:
            theirs[variant].append(_theirs(context, variant))
            progress(f"start {number + 1}: {variant.title}: {theirs[variant][-1]:.1f} s")
        secure.append(_secure(context))
        progress(f"start {number + 1}: with logins and HTTPS: {secure[-1]:.1f} s")
        made.append(_ours(context, context.ours.make_up))
        progress(f"start {number + 1}: make up and first run: {made[-1]:.1f} s")
    target = Target(0.40, aim=0.30)
    return [
        *(
            Figure(
                "start",
                _NAME,
                variant.title,
                "s",
                ours,
                theirs[variant],
                target if variant is AS_SHIPPED else None,
                notes=(JOB_RUNNER_OFF,) if variant.job_runner else (),
            )
            for variant in _VARIANTS
        ),
        Figure(
            "start",
            f"{_NAME}, by the whole of `make up`",
            AS_SHIPPED.title,
            "s",
            made,
            theirs[AS_SHIPPED],
            notes=(JOB_RUNNER_OFF,),
        ),
        Figure(
            "start",
            f"{_NAME}, with logins and HTTPS",
            AS_SHIPPED.title,
            "s",
            secure,
            theirs[AS_SHIPPED],
            notes=(JOB_RUNNER_OFF, _CLIENT_COUNTS),
        ),
    ]


def _ours(context: Context, up: Callable[[], float]) -> float:
    try:
        return _first_run({}, up, context.ours.uri)
    finally:
        context.ours.destroy()


def _secure(context: Context) -> float:
    """With logins the client can be started only when there is a password and a root to trust: that counts, too."""
    side = context.secure
    try:
        begin = time.monotonic()
        side.up()
        with waiting_client(side.client_environment) as client:
            client.log_first_run(side.uri)
            return time.monotonic() - begin
    finally:
        side.destroy()


def _theirs(context: Context, variant: Variant) -> float:
    with context.compose(variant) as compose:
        return _first_run(compose.client_environment, compose.up, compose.uri)


def _first_run(environment: Mapping[str, str], up: Callable[[], object], uri: str) -> float:
    with waiting_client(environment) as client:
        begin = time.monotonic()
        up()
        client.log_first_run(uri)
        return time.monotonic() - begin
