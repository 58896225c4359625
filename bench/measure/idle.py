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
_SECURE = ", with logins and HTTPS"


#: Per cent of a core that the machine may use with neither side up, for the figures that take that off.
_QUIET = 25.0
_BUSY = "the Docker daemons' and the machine's own CPU are left out: the machine was busy with something else"


@dataclass(frozen=True, slots=True)
class _Idle:
    """What an idle side takes: memory in MiB, the rest in per cent of one core.

    Attributes:
        memory: Of all containers.
        containers: CPU of the processes in the containers.
        shims: CPU of what the engine runs beside each container, the start of its health probes included.
        daemons: CPU of the Docker daemons, whoever they work for.
        host: CPU of the whole machine.
    """

    memory: float
    containers: float
    shims: float
    daemons: float
    host: float


def measure(context: Context) -> list[Figure]:
    """Watch each side alone, after its first run, and the machine with neither."""
    nothing = _watch(context, ())
    progress(f"idle: neither side: {_line(nothing)}")
    with context.ours_up() as ours:
        with waiting_client({}) as client:
            client.log_first_run(ours.uri)
        mine = _watch(context, ours.containers)
    progress(f"idle: ours: {_line(mine)}")
    with context.secure_up() as secure_side:
        with waiting_client(secure_side.client_environment) as client:
            client.log_first_run(secure_side.uri)
        secure = _watch(context, secure_side.containers)
    progress(f"idle: ours, with logins and HTTPS: {_line(secure)}")
    figures: list[Figure] = []
    for variant in _VARIANTS:
        with context.compose(variant) as compose:
            compose.up()
            with waiting_client(compose.client_environment) as client:
                client.log_first_run(compose.uri)
            other = _watch(context, compose.containers)
        progress(f"idle: {variant.title}: {_line(other)}")
        figures += _compare(variant, mine, other, nothing)
        if variant is AS_SHIPPED:
            figures += [
                Figure("memory", f"idle memory{_SECURE}", variant.title, "MiB", [secure.memory], [other.memory]),
                Figure(
                    "cpu",
                    f"idle CPU, containers{_SECURE}",
                    variant.title,
                    "% of a core",
                    [secure.containers],
                    [other.containers],
                ),
            ]
    return figures


def _watch(context: Context, containers: Sequence[Container]) -> _Idle:
    time.sleep(context.plan.settle_seconds)
    begin = time.monotonic()
    apart = [cgroups.cpu_seconds(container) for container in containers]
    before = _engine(containers)
    time.sleep(context.plan.idle_seconds)
    seconds = time.monotonic() - begin
    inside = [
        100 * (cgroups.cpu_seconds(container) - was) / seconds for container, was in zip(containers, apart, strict=True)
    ]
    memory = [cgroups.memory_mib(container) for container in containers]
    for container, used, resident in zip(containers, inside, memory, strict=True):
        progress(f"idle: {container.name}: {resident:.0f} MiB, {used:.2f} % of a core")
    around = (100 * (now - was) / seconds for was, now in zip(before, _engine(containers), strict=True))
    return _Idle(sum(memory), sum(inside), *around)


def _engine(containers: Sequence[Container]) -> tuple[float, float, float]:
    """CPU seconds so far: of the containers' shims, of the Docker daemons, of the whole machine."""
    return engine_cpu.shims_seconds(containers), engine_cpu.daemons_seconds(), engine_cpu.host_seconds()


def _line(side: _Idle) -> str:
    return (
        f"{side.memory:.0f} MiB; containers {side.containers:.2f} %, shims {side.shims:.2f} %, "
        f"daemons {side.daemons:.2f} %, machine {side.host:.2f} % of a core"
    )


def _compare(variant: Variant, mine: _Idle, other: _Idle, nothing: _Idle) -> list[Figure]:
    shipped = variant is AS_SHIPPED
    notes = (JOB_RUNNER_OFF,) if shipped else ()

    def cpu(name: str, our: float, their: float, target: Target | None = None, *more: str) -> Figure:
        return Figure("cpu", name, variant.title, "% of a core", [our], [their], target, notes=(*notes, *more))

    figures = [
        Figure(
            "memory",
            "idle memory",
            variant.title,
            "MiB",
            [mine.memory],
            [other.memory],
            Target(0.45, aim=0.35) if shipped else None,
            notes=notes,
        ),
        cpu("idle CPU, containers", mine.containers, other.containers, Target(1.0) if shipped else None),
    ]
    with_shims = "idle CPU, containers and the start of their probes"
    busy = nothing.host > _QUIET
    figures.append(
        cpu(
            with_shims,
            mine.containers + mine.shims,
            other.containers + other.shims,
            None,
            *([_BUSY] if busy else []),
        )
    )
    if not busy:
        less = "less what it took with neither side up"
        figures.append(cpu("idle CPU, whole machine", mine.host - nothing.host, other.host - nothing.host, None, less))
    return figures
