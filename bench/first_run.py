"""The client of the start measurement: `python -m bench.first_run`.

It imports MLflow, says `ready`, and waits for a line with a tracking URI. Then it asks the server's health until the
answer is 200, logs a run with an artifact, and prints the run's id. What it needs beside the URI is in its environment.
"""

from __future__ import annotations

import importlib
import sys
import time
import urllib.error
import urllib.request

#: Seconds between two questions to a server that does not answer yet, and until giving up.
_PAUSE = 0.05
_PATIENCE = 180

#: What MLflow would load in the middle of the measurement otherwise.
_LOADED_LATER = ("boto3", "mlflow.store.artifact.mlflow_artifacts_repo", "mlflow.store.artifact.s3_artifact_repo")


def main() -> int:
    """Do it."""
    import mlflow  # noqa: PLC0415 - before it says that it is ready, and not when its functions are imported

    for part in _LOADED_LATER:
        importlib.import_module(part)

    _say("ready")
    uri = sys.stdin.readline().strip()
    if not uri:
        return 1
    _wait(uri)
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as run:
        mlflow.log_param("optimizer", "adam")
        mlflow.log_metric("accuracy", 0.9)
        mlflow.log_text("the first artifact", "note.txt")
    _say(str(run.info.run_id))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _wait(uri: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:  # noqa: S310 - always http
                if answer.status == 200:  # noqa: PLR2004
                    return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(_PAUSE)
    raise TimeoutError(f"{uri}: no healthy server within {_PATIENCE} s")


if __name__ == "__main__":
    sys.exit(main())
