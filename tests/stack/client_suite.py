"""What a user of MLflow does, as plain functions: log, read back, compare.

Runs from wherever a client can stand, with nothing but `MLFLOW_TRACKING_URI` set:

    MLFLOW_TRACKING_URI=http://127.0.0.1:5001 python client_suite.py --json out.json

The file imports the standard library and MLflow only, so that it can be copied to any machine or container.
Every step raises `AssertionError` when something does not come back as it went in, and prints its seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn as mlflow_sklearn
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

MIB = 1024 * 1024
CHUNK = 4 * MIB

#: Sizes in MiB of the single-file artifacts of a full run: below and above the 500 MiB from which MLflow's client
#: goes from one request to a multipart upload.
ARTIFACT_SIZES_MIB = (64, 1024)
SMALL_FILES = 200
BATCH = 1000


def make_file(path: Path, size: int, seed: int) -> str:
    """Write `size` bytes that no compression can shrink, and give their sha256.

    Args:
        path: The file to write.
        size: Its length in bytes.
        seed: Makes the content repeatable.
    """
    block = random.Random(seed).randbytes(CHUNK)  # noqa: S311 - test data, not a key
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(0, size, CHUNK):
            # A running number in each block: a block that is lost, doubled or moved changes the hash.
            piece = (number.to_bytes(8, "big") + block[8:])[: size - number]
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def expect(actual: object, expected: object, what: str) -> None:
    """Compare, and say what was compared.

    Raises:
        AssertionError: The two differ.
    """
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, read back {actual!r}")


class Timer:
    """Records and prints the seconds that a `with` block took; nothing where it failed."""

    def __init__(self, step: str, times: dict[str, float]) -> None:
        self._step, self._times, self._begin = step, times, 0.0

    def __enter__(self) -> None:
        """Start the clock."""
        self._begin = time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        """Stop it."""
        if kind is None:
            self._times[self._step] = round(time.monotonic() - self._begin, 3)
            print(f"{self._step:32} {self._times[self._step]:8.2f} s", flush=True)


class Suite:
    """The client's steps against one tracking server; each step's seconds are in `times`."""

    def __init__(self, name: str, work: Path) -> None:
        self.work = work
        self.client = MlflowClient()
        self.times: dict[str, float] = {}
        self.experiment_name = name
        self.experiment = mlflow.set_experiment(name)
        self.run_id = self.client.create_run(self.experiment.experiment_id, run_name="everything").info.run_id

    def timed(self, step: str) -> Timer:
        """Record and print the seconds of a step."""
        return Timer(step, self.times)

    def params_metrics_and_tags(self) -> None:
        """Log one of each kind and read them back, with a metric's history in order."""
        with self.timed("params, metrics, tags"):
            self.client.log_param(self.run_id, "learning_rate", "0.1")
            self.client.log_param(self.run_id, "süß/Schlüssel", "Grüße ✓")
            for step in range(10):
                self.client.log_metric(self.run_id, "loss", 1 / (step + 1), step=step)
            self.client.set_tag(self.run_id, "purpose", "client suite")
            run = self.client.get_run(self.run_id)
        expect(run.data.params, {"learning_rate": "0.1", "süß/Schlüssel": "Grüße ✓"}, "the params")
        expect(run.data.metrics["loss"], 0.1, "the last value of the metric")
        expect(run.data.tags["purpose"], "client suite", "the tag")
        history = [(point.step, point.value) for point in self.client.get_metric_history(self.run_id, "loss")]
        expect(history, [(step, 1 / (step + 1)) for step in range(10)], "the history of the metric")

    def batch_of_metrics(self) -> None:
        """Log 1,000 metrics in one request, the most that MLflow takes, and read them back."""
        now = int(time.time() * 1000)
        metrics = [Metric("batch", float(step), now + step, step) for step in range(BATCH)]
        with self.timed(f"a batch of {BATCH} metrics"):
            self.client.log_batch(
                self.run_id, metrics=metrics, params=[Param("batched", "1")], tags=[RunTag("batched", "yes")]
            )
            history = self.client.get_metric_history(self.run_id, "batch")
        read_back = [(point.step, point.value, point.timestamp) for point in history]
        expect(read_back, [(m.step, m.value, m.timestamp) for m in metrics], "the batch of metrics")

    def nested_run(self) -> None:
        """Log a run inside the run and find it by its parent."""
        child = ""
        with self.timed("a nested run"):
            with (
                mlflow.start_run(run_id=self.run_id),
                mlflow.start_run(nested=True, run_name="child") as nested,
            ):
                mlflow.log_metric("inner", 1.5)
                child = nested.info.run_id
            found = self.client.search_runs(
                [self.experiment.experiment_id], f"tags.mlflow.parentRunId = '{self.run_id}'"
            )
        expect([run.info.run_id for run in found], [child], "the nested run")
        expect(found[0].data.metrics, {"inner": 1.5}, "the nested run's metric")

    def model(self) -> None:
        """Log a model, register it, give it an alias, load it back by that alias and let it predict."""
        from sklearn.linear_model import LinearRegression  # noqa: PLC0415 - slow to import, used here only

        name = f"{self.experiment_name}-model"
        fitted: Any = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        version = ""
        with self.timed("a model, logged and registered"), mlflow.start_run(run_id=self.run_id):
            info: Any = mlflow_sklearn.log_model(
                fitted,
                name="model",
                registered_model_name=name,
                # Given, so that the client does not spend its time on inferring them.
                pip_requirements=["scikit-learn"],
            )
            version = str(info.registered_model_version)
        with self.timed("the model, by alias, loaded back"):
            self.client.set_registered_model_alias(name, "champion", version)
            expect(self.client.get_model_version_by_alias(name, "champion").version, version, "the alias")
            loaded: Any = mlflow_sklearn.load_model(f"models:/{name}@champion")
        expect(pickle.dumps(loaded.coef_), pickle.dumps(fitted.coef_), "the model's coefficients")
        expect(round(float(loaded.predict([[10.0]])[0]), 6), 21.0, "the loaded model's prediction")

    def trace(self) -> None:
        """Log a trace with two spans and read it back."""

        @mlflow.trace(name="outer")
        def outer(number: int) -> int:
            with mlflow.start_span(name="inner") as span:
                span.set_inputs({"number": number})
                span.set_outputs({"doubled": number * 2})
            return number * 2

        with self.timed("a trace"):
            expect(outer(21), 42, "the traced function")
            mlflow.flush_trace_async_logging()
            trace_id = mlflow.get_last_active_trace_id()
            if trace_id is None:
                raise AssertionError("the client says that it logged no trace")
            trace: Any = self.client.get_trace(trace_id)
        expect(sorted(span.name for span in trace.data.spans), ["inner", "outer"], "the trace's spans")
        inner: Any = next(span for span in trace.data.spans if span.name == "inner")
        expect(inner.outputs, {"doubled": 42}, "the inner span's outputs")

    def directory(self) -> None:
        """Log a directory of 200 small files and read all of them back."""
        source = self.work / "many"
        for number in range(SMALL_FILES):
            path = source / f"part-{number % 7}" / f"file {number:03}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"content of file {number}\n" * (number + 1))
        with self.timed(f"a directory of {SMALL_FILES} files, up"):
            self.client.log_artifacts(self.run_id, str(source), "many")
        target = self.work / "many-back"
        target.mkdir()
        with self.timed(f"a directory of {SMALL_FILES} files, down"):
            back = Path(self.client.download_artifacts(self.run_id, "many", str(target)))
        expect(tree(back), tree(source), "the directory of small files")

    def artifact(self, size_mib: int) -> None:
        """Log one file, read it back and compare its sha256.

        Args:
            size_mib: The file's length in MiB.
        """
        source = self.work / f"{size_mib}-mib.bin"
        digest = make_file(source, size_mib * MIB, seed=size_mib)
        with self.timed(f"{size_mib} MiB, up"):
            self.client.log_artifact(self.run_id, str(source), "big")
        source.unlink()
        target = self.work / "big-back"
        target.mkdir(exist_ok=True)
        with self.timed(f"{size_mib} MiB, down"):
            back = Path(self.client.download_artifacts(self.run_id, f"big/{source.name}", str(target)))
        expect(sha256(back), digest, f"the sha256 of the {size_mib} MiB artifact")
        back.unlink()
        listed = {item.path: item.file_size for item in self.client.list_artifacts(self.run_id, "big")}
        expect(listed.get(f"big/{source.name}"), size_mib * MIB, f"the listed size of the {size_mib} MiB artifact")

    def end(self) -> None:
        """End the run, and see that the server took it."""
        self.client.set_terminated(self.run_id)
        expect(self.client.get_run(self.run_id).info.status, "FINISHED", "the status of the ended run")


def tree(folder: Path) -> dict[str, str]:
    """Every file under a folder: its relative path and its sha256."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def run(name: str, work: Path, sizes_mib: tuple[int, ...] = ARTIFACT_SIZES_MIB) -> dict[str, Any]:
    """Run every step, and give the names and the seconds.

    Args:
        name: The experiment to log to.
        work: An empty folder with room for twice the largest artifact.
        sizes_mib: Lengths in MiB of the single-file artifacts.

    Raises:
        AssertionError: Something did not come back as it went in.
    """
    begin = time.monotonic()
    suite = Suite(name, work)
    steps: list[Callable[[], None]] = [
        suite.params_metrics_and_tags,
        suite.batch_of_metrics,
        suite.nested_run,
        suite.model,
        suite.trace,
        suite.directory,
    ]
    for step in steps:
        step()
    for size in sizes_mib:
        suite.artifact(size)
    suite.end()
    total = round(time.monotonic() - begin, 3)
    print(f"{'in all':32} {total:8.2f} s", flush=True)
    return {
        "trackingUri": mlflow.get_tracking_uri(),
        "experiment": name,
        "experimentId": suite.experiment.experiment_id,
        "runId": suite.run_id,
        "seconds": {**suite.times, "in all": total},
    }


def main() -> int:
    """Read the command line, run the suite, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write names and seconds to this file")
    parser.add_argument("--name", default=f"client-suite-{os.getpid()}", help="the experiment to log to")
    parser.add_argument("--work", type=Path, help="folder for temporary files (default: a fresh one)")
    parser.add_argument(
        "--sizes", default=",".join(map(str, ARTIFACT_SIZES_MIB)), help="MiB of the artifacts, comma-separated"
    )
    arguments = parser.parse_args()
    if "MLFLOW_TRACKING_URI" not in os.environ:
        parser.error("set MLFLOW_TRACKING_URI, and nothing else")
    sizes = tuple(int(size) for size in arguments.sizes.split(",") if size)
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        result = run(arguments.name, Path(work), sizes)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
