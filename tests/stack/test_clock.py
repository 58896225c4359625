"""Clocks of client and server ten minutes apart: no effect, or an error that says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.harness import Stack

#: Logs what a client logs, and reads it back.
_CLIENT = """
import mlflow
from mlflow.tracking import MlflowClient
mlflow.set_experiment("clock")
with mlflow.start_run() as run:
    mlflow.log_metric("value", 1.5)
    mlflow.log_text("kept", "value.txt")
found = MlflowClient().get_run(run.info.run_id)
assert found.data.metrics == {"value": 1.5} and found.info.status == "FINISHED", found
assert mlflow.artifacts.load_text(found.info.artifact_uri + "/value.txt") == "kept"
"""

#: Stores an object and reads it back with a key, as a client does with `artifactAccess: direct`.
_WITH_A_KEY = """
import os, boto3
s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"], region_name="us-east-1")
s3.put_object(Bucket="mlflow", Key="clock/value", Body=b"kept")
assert s3.get_object(Bucket="mlflow", Key="clock/value")["Body"].read() == b"kept"
s3.delete_object(Bucket="mlflow", Key="clock/value")
"""


def _run(command: list[str], clock: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a client by another clock; how long a second is stays the same."""
    return subprocess.run(
        ["faketime", "-f", clock, *command],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "FAKETIME_DONT_FAKE_MONOTONIC": "1", **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("clock", ["+10m", "-10m"])
def test_a_client_whose_clock_is_ten_minutes_off_works_as_any(stack: Stack, tmp_path: Path, clock: str) -> None:
    done = _run([sys.executable, "-c", _CLIENT], clock, tmp_path, MLFLOW_TRACKING_URI=stack.tracking_uri)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(("clock", "words"), [("+10m", ""), ("-10m", ""), ("+20m", "RequestTimeTooSkewed")])
def test_a_client_with_a_key_is_told_when_its_clock_is_too_far_off(
    stack: Stack, tmp_path: Path, clock: str, words: str
) -> None:
    done = _run(
        [sys.executable, "-c", _WITH_A_KEY],
        clock,
        tmp_path,
        MLFLOW_S3_ENDPOINT_URL=f"http://127.0.0.1:{stack.settings['minioApiPort']}",
        AWS_ACCESS_KEY_ID="mlflow-bucket",
        AWS_SECRET_ACCESS_KEY=stack.credentials()["bucketUserSecret"],
    )
    assert (done.returncode == 0) is (not words), f"{done.stdout}\n{done.stderr}"
    assert words in done.stderr
