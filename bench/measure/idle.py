"""Memory and CPU of a side that nobody uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from docker.models.containers import Container

from bench import cgroups, engine_cpu
from bench.client import waiting_client
from bench.compose import AS_SHIPPED, JOBS_OFF, Variant
from bench.figures import JOB_RUNNER_OFF, Figure, Target
from bench.measure.context import Context, progress

_VARIANTS = (AS_SHIPPED, JOBS_OFF)


@dataclass(frozen=True, slots=True)
class _Idle:
    """What an idle side takes: memory in MiB, the rest in per cent of one core."""

    memory: float
    containers: float
    engine: float
    host: float


def measure(context: Context) -> list[Figure]:
    """Watch each side alone, after its first run, and the machine with neither."""
    nothing = _watch(context, ())
    progress(f"idle: neither side: engine {nothing.engine:.2f} %, machine {nothing.host:.2f} % of a core")
    with context.ours_up() as ours:
        with waiting_client({}) as client:
            client.log_first_run(ours.uri)
        mine = _watch(context, ours.containers)
    progress(f"idle: ours: {_line(mine)}")
    figures: list[Figure] = []
    for variant in _VARIANTS:
        with context.compose(variant) as compose:
            compose.up()
            with waiting_client(compose.client_environment) as client:
                client.log_first_run(compose.uri)
            other = _watch(context, compose.containers)
        progress(f"idle: {variant.title}: {_line(other)}")
        figures += _compare(variant, mine, other, nothing)
    return figures


def _watch(context: Context, containers: Sequence[Container]) -> _Idle:
    time.sleep(context.plan.settle_seconds)
    begin = time.monotonic()
    before = _used(containers)
    time.sleep(context.plan.idle_seconds)
    seconds = time.monotonic() - begin
    inside, engine, host = (100 * (now - was) / seconds for was, now in zip(before, _used(containers), strict=True))
    return _Idle(sum(map(cgroups.memory_mib, containers)), inside, engine, host)


def _used(containers: Sequence[Container]) -> tuple[float, float, float]:
    """CPU seconds so far: in the containers, of the engine for them, of the whole machine."""
    return (
        sum(map(cgroups.cpu_seconds, containers)),
        engine_cpu.shims_seconds(containers) + engine_cpu.daemons_seconds(),
        engine_cpu.host_seconds(),
    )


def _line(side: _Idle) -> str:
    return (
        f"{side.memory:.0f} MiB; containers {side.containers:.2f} %, engine {side.engine:.2f} %, "
        f"machine {side.host:.2f} % of a core"
    )


def _compare(variant: Variant, mine: _Idle, other: _Idle, nothing: _Idle) -> list[Figure]:
    shipped = variant is AS_SHIPPED
    notes = (JOB_RUNNER_OFF,) if shipped else ()
    unit = "% of a core"
    return [
        Figure(
            "memory",
            "idle memory",
            variant.title,
            "MiB",
            [mine.memory],
            [other.memory],
            Target(0.45, aim=0.35) if shipped else None,
            notes,
        ),
        Figure(
            "cpu",
            "idle CPU, containers",
            variant.title,
            unit,
            [mine.containers],
            [other.containers],
            Target(1.0) if shipped else None,
            notes,
        ),
        Figure(
            "cpu",
            "idle CPU, containers and Docker engine",
            variant.title,
            unit,
            [max(0.0, mine.containers + mine.engine - nothing.engine)],
            [max(0.0, other.containers + other.engine - nothing.engine)],
            None,
            (*notes, "less what the engine took without either side"),
        ),
        Figure(
            "cpu",
            "idle CPU, whole machine",
            variant.title,
            unit,
            [max(0.0, mine.host - nothing.host)],
            [max(0.0, other.host - nothing.host)],
            None,
            (*notes, "less what the machine took without either side; means nothing on a busy machine"),
        ),
    ]
