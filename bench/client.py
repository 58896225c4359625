"""A client process that has loaded MLflow and waits for a server to log its first run to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.cgroups import CannotMeasureError

_REPOSITORY = Path(__file__).resolve().parent.parent
_FOREIGN_VARIABLES = re.compile(r"^(MLFLOW_|AWS_|.*_PROXY$|.*_proxy$)")


@dataclass(frozen=True, slots=True)
class Client:
    """The waiting process."""

    process: subprocess.Popen[str]

    def log_first_run(self, uri: str) -> str:
        """Have it log its run and give the run's id.

        Raises:
            CannotMeasureError: It failed; what it complained about is on the terminal.
        """
        pipe = _opened(self.process.stdin)
        pipe.write(uri + "\n")
        pipe.flush()
        run_id = _opened(self.process.stdout).readline().strip()
        if not run_id:
            raise CannotMeasureError(f"{uri}: the client could not log a run")
        return run_id


@contextmanager
def waiting_client(environment: Mapping[str, str]) -> Generator[Client]:
    """A client that is ready, with nothing but these variables of MLflow's and S3's.

    Raises:
        CannotMeasureError: It could not load MLflow.
    """
    own = {name: value for name, value in os.environ.items() if not _FOREIGN_VARIABLES.match(name)}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.first_run"],
        cwd=_REPOSITORY,
        env={**own, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which then ends the client
        text=True,
    )
    try:
        if _opened(process.stdout).readline().strip() != "ready":
            raise CannotMeasureError("the client could not load MLflow")
        yield Client(process)
    finally:
        process.kill()
        process.communicate()


def _opened(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "it was asked for when the process was started"  # noqa: S101
    return pipe
