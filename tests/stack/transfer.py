"""Seconds that one client needs to move one large artifact, against two tracking servers in turn.

    python transfer.py MIB ROUNDS URI [URI ...]

Prints, on the last line, a JSON object: URI → {"up": [seconds, …], "down": [seconds, …]}. The servers take turns in
every round, so that whatever else the machine does meets both alike. What comes back is compared by its sha256.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import client_suite
import mlflow
from mlflow.tracking import MlflowClient


def move(uri: str, source: Path, digest: str, scratch: Path) -> tuple[float, float]:
    """Log a file and read it back.

    Returns:
        Seconds up and seconds down.
    """
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = mlflow.set_experiment("transfer")
    run = client.create_run(experiment.experiment_id).info.run_id
    begin = time.monotonic()
    client.log_artifact(run, str(source))
    up = time.monotonic() - begin
    with tempfile.TemporaryDirectory(dir=scratch) as target:
        begin = time.monotonic()
        back = Path(client.download_artifacts(run, source.name, target))
        down = time.monotonic() - begin
        client_suite.expect(client_suite.sha256(back), digest, f"the sha256 of what came back from {uri}")
    client.set_terminated(run)
    return up, down


def main() -> None:
    """Read the command line, take turns, print the seconds."""
    mib, rounds, uris = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    seconds: dict[str, dict[str, list[float]]] = {uri: {"up": [], "down": []} for uri in uris}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "large.bin"
        digest = client_suite.make_file(source, mib * client_suite.MIB, seed=1)
        for number in range(rounds):
            for uri in uris if number % 2 == 0 else reversed(uris):
                up, down = move(uri, source, digest, Path(folder))
                seconds[uri]["up"].append(up)
                seconds[uri]["down"].append(down)
    # On a line of its own, the last: the client prints where its runs can be seen.
    print("\n" + json.dumps(seconds))


if __name__ == "__main__":
    main()
