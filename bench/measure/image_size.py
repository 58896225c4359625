"""Size of the MLflow image, beside one that a plain `pip install` makes on the same base."""

from __future__ import annotations

import hashlib
import io
import json

import docker
from docker.errors import ImageNotFound

from bench.cgroups import MIB
from bench.figures import Figure, Target
from bench.measure.context import Context, progress
from components.settings import DEFAULT_MLFLOW_VERSION
from components.vendor_images import VENDOR_IMAGES
from tests.stack.harness import PROJECT, PROJECT_LABEL, REPOSITORY

#: The vendor's image has pip; Debian's Python wants a virtual environment, which costs the same everywhere. No pip
#: cache: that would be a size that nobody keeps.
_DOCKERFILE = """
FROM {base}
RUN python3 -m venv /opt/mlflow \
 && if test -f /etc/ssl/certs/ca-certificates.crt; then export PIP_CERT=/etc/ssl/certs/ca-certificates.crt; fi \
 && /opt/mlflow/bin/pip install --no-cache-dir --quiet mlflow=={version} psycopg2-binary boto3
"""


def measure(context: Context) -> list[Figure]:
    """Build the plain image, unless it is there, and compare.

    It stays on the Docker host under a tag of its own, since building it takes a minute or two.
    """
    client = context.docker
    base = _base_image()
    plain = _plain_image(client, base)
    base_size = _size(client, base)
    ours, theirs = _size(client, context.images.mlflow), _size(client, plain)
    progress(f"image: {ours:.0f} MiB, plain {theirs:.0f} MiB, both on a base of {base_size:.0f} MiB")
    against = "plain `pip install`"
    return [
        Figure("image", "MLflow image", against, "MiB", [ours], [theirs], Target(0.75)),
        Figure("image", "MLflow image without its base", against, "MiB", [ours - base_size], [theirs - base_size]),
    ]


def _base_image() -> str:
    file = REPOSITORY / ".local" / "images.json"
    found: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found.get("pythonImage", VENDOR_IMAGES["pythonImage"])


def _plain_image(client: docker.DockerClient, base: str) -> str:
    text = _DOCKERFILE.format(base=base, version=DEFAULT_MLFLOW_VERSION)
    digest = hashlib.sha256((text + str(client.images.get(base).id)).encode()).hexdigest()[:12]
    tag = f"local/mlflow-stack/plain:{DEFAULT_MLFLOW_VERSION}-{digest}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        progress("image: building the plain one")
        client.images.build(
            fileobj=io.BytesIO(text.encode()), tag=tag, rm=True, forcerm=True, labels={PROJECT_LABEL: PROJECT}
        )
    return tag


def _size(client: docker.DockerClient, image: str) -> float:
    return int(client.images.get(image).attrs["Size"]) / MIB
