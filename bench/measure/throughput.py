"""Requests per second under load, and the memory that is left in use after it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack

from docker.models.containers import Container

from bench import cgroups, load
from bench.client import waiting_client
from bench.compose import AS_SHIPPED, JOBS_OFF, QUIET
from bench.figures import ACCESS_LOG_OFF, JOB_RUNNER_OFF, Figure, Target
from bench.measure.context import Context, progress

_CLIENTS = 16
_WARM_UP = 3.0

#: A window differs from the next by a tenth or two on a virtual machine, so more of them are taken.
_LEAST_ROUNDS = 5
_VARIANTS = (AS_SHIPPED, JOBS_OFF, QUIET)
_OURS = "ours"
_SECURE = "ours, with logins and HTTPS"
_STEADIER = "hardly depends on what else the machine does, unlike requests per second"


def measure(context: Context) -> list[Figure]:
    """Load the sides in turn, all of them up and only one under load at a time.

    This side is reached through its front door, the gateway; the other directly.
    """
    rates: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        sides = {_OURS: context.ours_up(), _SECURE: context.secure_up()}
        ways: dict[str, load.Access] = {}
        containers: dict[str, list[Container]] = {}
        for key, side in sides.items():
            ours = stack.enter_context(side)
            ways[key], containers[key] = ours.access, ours.containers
        for variant in _VARIANTS:
            compose = stack.enter_context(context.compose(variant))
            compose.up()
            with waiting_client(compose.client_environment) as client:
                client.log_first_run(compose.uri)
            ways[variant.key], containers[variant.key] = load.Access(compose.uri), compose.containers
        for number in range(max(context.plan.rounds, _LEAST_ROUNDS)):
            for key, way in ways.items():
                before = _cpu(containers[key])
                window = load.run(way, _CLIENTS, context.plan.load_seconds, _WARM_UP)
                costs[key].append(1000 * (_cpu(containers[key]) - before) / window.answered)
                rates[key].append(window.rate)
                progress(
                    f"rps {number + 1}: {key}: {window.rate:.1f}/s, median {window.percentile(0.5):.0f} ms, "
                    f"99 of 100 within {window.percentile(0.99):.0f} ms, CPU {costs[key][-1]:.1f} ms each"
                )
        time.sleep(context.plan.settle_seconds)
        memory = {key: sum(map(cgroups.memory_mib, side)) for key, side in containers.items()}
    figures: list[Figure] = []
    for variant in _VARIANTS:
        notes = (
            *((JOB_RUNNER_OFF,) if variant.job_runner else ()),
            *((ACCESS_LOG_OFF,) if variant.access_log else ()),
        )
        figures += [
            Figure(
                "rps",
                f"log-metric, {_CLIENTS} clients{_with(key)}",
                variant.title,
                "requests/s",
                rates[key],
                rates[variant.key],
                Target(1.0, "at least") if variant is AS_SHIPPED and key == _OURS else None,
                paired=True,
                notes=notes,
            )
            for key in (_OURS, _SECURE)
        ]
    figures += [
        Figure(
            "rps",
            f"CPU time of a request, all containers{_with(key)}",
            variant.title,
            "ms",
            costs[key],
            costs[variant.key],
            paired=True,
            notes=(_STEADIER, *((JOB_RUNNER_OFF,) if variant.job_runner else ())),
        )
        for variant in _VARIANTS
        for key in (_OURS, _SECURE)
    ]
    figures += [
        Figure(
            "rps",
            f"memory after that load{_with(key)}",
            variant.title,
            "MiB",
            [memory[key]],
            [memory[variant.key]],
            notes=(JOB_RUNNER_OFF,) if variant.job_runner else (),
        )
        for variant in (AS_SHIPPED, JOBS_OFF)
        for key in (_OURS, _SECURE)
    ]
    return figures


def _with(key: str) -> str:
    return key.removeprefix(_OURS)


def _cpu(containers: Sequence[Container]) -> float:
    return sum(map(cgroups.cpu_seconds, containers))
