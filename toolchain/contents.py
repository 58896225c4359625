"""How much is in a stack, asked of its servers; where one does not answer, nothing is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from toolchain.docker_objects import Objects, output

_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """What a stack holds; None where its server does not answer.

    Attributes:
        runs: Runs in the backend store.
        database_bytes: Size of its database.
        artifact_bytes: Size of the artifact store, with MinIO's own metadata.
    """

    runs: int | None
    database_bytes: int | None
    artifact_bytes: int | None

    def __str__(self) -> str:
        """What would be lost, in words."""
        runs = "an unknown number of runs (PostgreSQL does not answer)" if self.runs is None else f"{self.runs} runs"
        if self.artifact_bytes is None:
            return f"{runs} and an unknown amount of artifacts (MinIO does not answer)"
        return f"{runs} and {size(self.artifact_bytes)} of artifacts"


def look(objects: Objects, database: str = "mlflow") -> Contents:
    """Ask the servers of a stack."""
    postgres = objects.container("postgres")

    def number(query: str) -> int | None:
        command = ["psql", "--no-psqlrc", "-U", "postgres", "-d", database, "-tAc", query]
        answer = output(postgres, command, user="postgres")
        return int(answer) if answer and answer.isdigit() else None

    du = output(objects.container("minio"), ["du", "-sk", "/data"])
    kib = du.split()[0] if du else ""
    return Contents(
        runs=number("SELECT count(*) FROM runs"),
        database_bytes=number("SELECT pg_database_size(current_database())"),
        artifact_bytes=int(kib) * _KIB if kib.isdigit() else None,
    )


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "unknown"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"
