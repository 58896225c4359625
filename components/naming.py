"""The names and labels that the outside world sees: fixed, so that people and scripts can rely on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.settings import PROJECT

Role = Literal["postgres", "minio", "migration", "server", "gateway", "gc", "backup"]

#: The containers that stay in every stack; `migration` runs once and ends, `gc` is there with `gcSchedule`.
SERVICES: tuple[Role, ...] = ("postgres", "minio", "server", "gateway")

#: Aliases under which the services of the usual compose set-up find each other, kept here.
BACKEND_STORE_ALIAS = "mlflow-backend-store"
ARTIFACT_STORE_ALIAS = "mlflow-artifact-store"
TRACKING_SERVER_ALIAS = "mlflow-server"

#: Where a container finds the files that are given to it: credentials, scripts, configuration.
FILES_PATH = "/run/mlflow-stack"

POSTGRES_ADMIN = "postgres"
POSTGRES_OWNER = "mlflowowner"
POSTGRES_RUNTIME = "mlflowuser"
MINIO_ROOT = "mlflow-root"
BUCKET_USER = "mlflow-bucket"
CONSOLE_USER = "mlflow-console"
MLFLOW_ADMIN = "admin"

#: Variable of MinIO that names the file with the key of its objects; it is there where they are encrypted.
OBJECT_KEY_VARIABLE = "MINIO_KMS_SECRET_KEY_FILE"


@dataclass(frozen=True, slots=True)
class Naming:
    """The names of one stack's Docker objects."""

    stack: str

    def container(self, role: Role) -> str:
        """Name of a role's container."""
        return f"mlflow-{self.stack}-{role}"

    def data_volume(self, role: Role) -> str:
        """Name of the volume that holds a store's data."""
        return f"mlflow-{self.stack}-{role}-data"

    def files_volume(self, role: Role) -> str:
        """Name of the volume that holds the files given to a role's container."""
        return f"mlflow-{self.stack}-{role}-files"

    def files_container(self, role: Role) -> str:
        """Name of the container, never started, through which a role's files are written."""
        return f"mlflow-{self.stack}-{role}-files"

    def scratch_volume(self, role: Role) -> str:
        """Name of the volume for a role's temporary files that are too large for memory."""
        return f"mlflow-{self.stack}-{role}-scratch"

    @property
    def protection_volume(self) -> str:
        """Name of the volume, always empty, that a protected stack refuses to be destroyed by."""
        return f"mlflow-{self.stack}-protection"

    def network(self, part: str) -> str:
        """Name of a network; `part` says what it joins."""
        return f"mlflow-{self.stack}-{part}"

    def labels(self, role: str, **more: str) -> dict[str, str]:
        """The labels of a Docker object of this stack.

        Sorted by name: the Docker provider keeps the order that it is given.
        """
        labels = {
            f"{PROJECT}.project": PROJECT,
            f"{PROJECT}.stack": self.stack,
            f"{PROJECT}.role": role,
            **{f"{PROJECT}.{key}": value for key, value in more.items()},
        }
        return dict(sorted(labels.items()))
