"""What is asked for. The toolchain writes it into a file beside the credentials of the source: no secret is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/tmp/import")  # noqa: S108 - a volume of the job's own
"""Where the toolchain puts the order, and what it says beside it; and where there is room for a copy of a database."""

DATABASE = Path("/source/database")
FILES = Path("/source/artifacts")
"""Where folders of the Docker host are to be read."""


@dataclass(frozen=True)
class Order:
    """What is to be brought in.

    Attributes:
        kind: `sqlite`, `files` or `server` (a database server).
        name: File name of the SQLite database.
        url: SQLAlchemy URL of the database server, without a password.
        artifacts: What `mlflow-artifacts:/` meant there: `s3://bucket/prefix`, or the path that the folder in `FILES`
            had; empty where everything says itself where it is.
        s3_endpoint: URL of the source's S3; empty for Amazon's.
    """

    kind: str
    name: str = ""
    url: str = ""
    artifacts: str = ""
    s3_endpoint: str = ""

    @property
    def s3_credentials(self) -> Path:
        """A credentials file of S3 for the source; it may be missing."""
        return FOLDER / "source-aws-credentials"


def read() -> Order:
    """Read the order."""
    return Order(**json.loads((FOLDER / "order.json").read_text(encoding="utf-8")))
