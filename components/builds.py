"""Which images there are: those that are taken as they are, and those that are built, with what goes into them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.build_context import build_hash
from components.settings import Settings
from components.vendor_images import VENDOR_IMAGES

PROJECT_DIR = Path(__file__).parent.parent

#: Written by the toolchain where it had to make base images from packages; absent elsewhere.
_SOURCES_FILE = PROJECT_DIR / ".local" / "images.json"


@dataclass(frozen=True, slots=True)
class BaseImages:
    """References of the images that the stack runs as they are or builds upon."""

    postgres: str
    gateway: str
    python: str
    golang: str
    debian: str


def base_images(settings: Settings, sources_file: Path = _SOURCES_FILE) -> BaseImages:
    """Choose the base images: what the user set, else what the toolchain found, else the vendor's.

    Args:
        settings: The stack's settings.
        sources_file: Where the toolchain wrote what this machine can have.
    """
    found: dict[str, str] = json.loads(sources_file.read_text(encoding="utf-8")) if sources_file.exists() else {}
    had = {**VENDOR_IMAGES, **found}
    return BaseImages(
        postgres=settings.postgres_image or had["postgresImage"],
        gateway=settings.gateway_image or had["gatewayImage"],
        python=settings.python_image or had["pythonImage"],
        golang=had["goImage"],
        debian=had["debianImage"],
    )


@dataclass(frozen=True, slots=True)
class Build:
    """An image that this project builds.

    Attributes:
        name: Its name below `local/mlflow-stack`, and its folder below `images/`.
        version: Version of what is in it; first part of the tag.
        args: Build arguments, base images among them.
    """

    name: str
    version: str
    args: Mapping[str, str]

    @property
    def context(self) -> str:
        """Build context, relative to the project, so that the state does not depend on where a clone lies."""
        return f"images/{self.name}"

    @property
    def reference(self) -> str:
        """The tag: it changes when, and only when, something that goes into the image changes."""
        digest = build_hash(PROJECT_DIR / self.context, self.args)
        return f"local/mlflow-stack/{self.name}:{self.version}-{digest}"


def mlflow_build(settings: Settings, bases: BaseImages) -> Build:
    """The tracking server's image."""
    return Build(
        "mlflow",
        settings.mlflow_version,
        {"PYTHON_IMAGE": bases.python, "MLFLOW_VERSION": settings.mlflow_version},
    )


def minio_build(bases: BaseImages) -> Build:
    """MinIO's image; the version is pinned in its Dockerfile."""
    return Build("minio", "source", {"GO_IMAGE": bases.golang, "RUNTIME_IMAGE": bases.debian})


def backup_build(bases: BaseImages, *, postgres: str | None = None) -> Build:
    """What makes and restores backups, on top of the PostgreSQL image that the stack runs.

    Args:
        bases: The base images.
        postgres: The image of a PostgreSQL that is there; None takes the one that a deployment would take.
    """
    return Build("backup", "1", {"PYTHON_IMAGE": bases.python, "POSTGRES_IMAGE": postgres or bases.postgres})
