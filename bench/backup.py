"""How long a backup and a restore take, and how much memory: `python -m bench.backup --runs 10000 --gib 5`.

A stack of its own gets runs with parameters, metrics and an artifact each. Then: a backup of all, one after a hundredth
more was logged, the stack destroyed, and a restore. The memory is that of the container that does the work, sampled.
"""

from __future__ import annotations

import argparse
import json
import secrets
import tempfile
import threading
import time
import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from docker.errors import APIError

from bench.cgroups import CannotMeasureError, memory_mib
from bench.ours import Ours, well
from tests.stack.harness import Stack

_GIB: Final = 1 << 30
_CLIENTS: Final = 8
_SAMPLE: Final = 0.1


@dataclass
class Peak:
    """The most memory that was seen, in MiB."""

    mib: float = 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="runs to begin with (default: %(default)s)")
    parser.add_argument("--gib", type=float, default=5.0, help="GiB of their artifacts (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the files go, twice that size (default: a temporary one)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        _measure(Path(folder), given.runs, int(given.gib * _GIB / given.runs))


def _measure(folder: Path, runs: int, size: int) -> None:
    stack = Ours(folder / "checkout", f"bench{secrets.token_hex(2)}", {}).stack
    target = folder / "sets"
    try:
        well(stack.up())
        begin = time.monotonic()
        _log(stack.tracking_uri, runs, size)
        print(f"{'logged':<22} {time.monotonic() - begin:8.1f} s   {runs} runs, {runs * size / _GIB:.2f} GiB")
        full = _timed(stack, "full backup", target, "backup", str(target))
        _log(stack.tracking_uri, max(1, runs // 100), size)
        one = _timed(stack, "after 1 % more", target, "backup", str(target))
        well(stack.destroy())
        _timed(stack, "destroyed and restored", target, "restore", str(target))
        print(f"objects of the second backup: {one['objects'] / full['objects']:.3f} of the time of the first")
    finally:
        stack.destroy()


def _timed(stack: Stack, what: str, target: Path, *command: str) -> dict[str, float]:
    """Run a command, print its seconds and the memory of its container; give the seconds of the newest set's parts."""
    with _watched(stack) as peak:
        done = well(stack.checkout.toolchain(*command, stack=stack.name))
    newest = max(target.glob("sets/*/manifest.json"))
    seconds: dict[str, float] = json.loads(newest.read_text(encoding="utf-8"))["seconds"]
    parts = f"database {seconds['database']} s, objects {seconds['objects']} s" if command[0] == "backup" else ""
    print(f"{what:<22} {done.seconds:8.1f} s   {peak.mib:.0f} MiB at most   {parts}", flush=True)
    return seconds


@contextmanager
def _watched(stack: Stack) -> Generator[Peak]:
    """Watch the memory of the container that works on the backup, for as long as the block lasts."""
    peak, stop = Peak(), threading.Event()

    def watch() -> None:
        while not stop.wait(_SAMPLE):
            # It is there only for a part of the time.
            with suppress(APIError, CannotMeasureError, KeyError, OSError):
                peak.mib = max(peak.mib, memory_mib(stack.container("backup-job")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def _log(uri: str, runs: int, size: int) -> None:
    """Log runs with ten parameters, ten metrics and an artifact each."""
    local = threading.local()

    def session() -> requests.Session:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        return local.session

    def post(route: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = session().post(f"{uri}/api/2.0/mlflow/{route}", json=body, timeout=120)
        answer.raise_for_status()
        return answer.json()

    experiment = str(post("experiments/create", name=f"bench {uuid.uuid4()}")["experiment_id"])

    def log(number: int) -> None:
        now = int(time.time() * 1000)
        run = str(post("runs/create", experiment_id=experiment, start_time=now)["run"]["info"]["run_id"])
        params = [{"key": f"p{key}", "value": str(number)} for key in range(10)]
        metrics = [{"key": f"m{key}", "value": number, "timestamp": now, "step": 0} for key in range(10)]
        post("runs/log-batch", run_id=run, params=params, metrics=metrics)
        path = f"{uri}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/model.bin"
        session().put(path, data=secrets.token_bytes(size), timeout=120).raise_for_status()

    with ThreadPoolExecutor(_CLIENTS) as pool:
        for _ in pool.map(log, range(runs)):
            pass


if __name__ == "__main__":
    main()
