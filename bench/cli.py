"""The command line of the measurements."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import docker
from docker.errors import DockerException

from bench import compose, machine, report
from bench.cgroups import CannotMeasureError
from bench.figures import Figure
from bench.measure import idle, image_size, no_change, start, throughput
from bench.measure.context import Context, Plan, progress
from bench.ours import Ours
from bench.sweep import left_over, sweep_compose, sweep_stack
from tests.stack.harness import REPOSITORY, STACK_LABEL

RESULTS: Final = REPOSITORY / "bench" / "results.json"

_MEASUREMENTS: Final[dict[str, Callable[[Context], list[Figure]]]] = {
    "start": start.measure,
    "idle": idle.measure,
    "rps": throughput.measure,
    "no-change": no_change.measure,
    "image": image_size.measure,
}
_PORTS: Final = ("mlflowPort", "minioApiPort", "minioConsolePort", "postgresPort")


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and write `bench/results.json`.

    Returns:
        0 when everything was measured, whatever the figures; 2 when something is in the way and nothing was touched;
        1 when a measurement failed.
    """
    options = _parser().parse_args(arguments)
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        return _refuse("docker", "not running", str(error), "./mlflow-stack prepare")
    if options.clean:
        _sweep(client, options.stack)
        return 0
    stacks = (options.stack, f"secure-{options.stack}")
    labels = [*(f"{STACK_LABEL}={name}" for name in stacks), compose.LABEL]
    left = [found for label in labels for found in left_over(client, label)]
    if left:
        wrong = f"{left[0].name} is there: left by a run that was killed, or a stack of yours"
        return _refuse("--stack", options.stack, wrong, f"python -m bench --clean --stack {options.stack}")
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with _sides(client, options) as context:
            described = machine.describe(context.ours)
            context.ours.destroy()
            figures: list[Figure] = []
            for name in options.only or _MEASUREMENTS:
                figures += _MEASUREMENTS[name](context)
    except CannotMeasureError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 1
    report.write(options.results, figures, described)
    cores, plugins = described["cores"], described["providers"]
    print(
        f"\n{cores} cores, Pulumi {described['pulumi']}, provider plugins: {plugins}; all samples: {options.results}\n"
    )
    print(report.table(figures))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(_MEASUREMENTS), help="measure this alone; repeatable")
    parser.add_argument("--rounds", type=int, default=Plan().rounds, help="how often each side is measured")
    parser.add_argument("--stack", default="bench", help="name of the stack that is made and taken away")
    parser.add_argument("--ports", type=int, nargs=len(_PORTS), metavar=_PORTS, help="instead of random free ones")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the samples are written, as JSON")
    parser.add_argument("--clean", action="store_true", help="only remove what a killed run left behind")
    return parser


@contextmanager
def _sides(client: docker.DockerClient, options: argparse.Namespace) -> Generator[Context]:
    """The two sides, with everything built and this one up; nothing of either is left afterwards."""
    ports: dict[str, int] = dict(zip(_PORTS, options.ports, strict=True)) if options.ports else {}
    folder = Path(tempfile.mkdtemp(prefix="mlflow-stack-bench-"))
    try:
        ours = Ours(folder / "project", options.stack, ports)
        secure = Ours(
            folder / "secure", f"secure-{options.stack}", {}, auth="basic", tls="internal", publicHost="localhost"
        )
        progress("bringing the stack up once, which builds what is not built yet")
        ours.make_up()
        yield Context(ours, secure, ours.images, Plan(rounds=options.rounds))
    finally:
        # A second Ctrl-C must not leave containers behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _sweep(client, options.stack)
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _sweep(client: docker.DockerClient, stack: str) -> None:
    sweep_compose(client)
    for name in (stack, f"secure-{stack}"):
        sweep_stack(client, name)


def _refuse(key: str, value: str, wrong: str, mend: str) -> int:
    print(f"{key}: {value}: {wrong}. mend: {mend}", file=sys.stderr)
    return 2


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
