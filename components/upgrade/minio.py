"""Another MinIO on the objects that are there: a later one reads them as they are, an earlier one may not.

MinIO upgrades what it keeps when it starts, and its vendor supports no way back (MinIO documentation, "Upgrade"). A
release is a date, so it can be compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from components.builds import PROJECT_DIR
from components.naming import Naming
from components.problem import Problem
from components.upgrade.found import container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import DockerClient

_RELEASE = re.compile(r"RELEASE\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")
_SOURCE = PROJECT_DIR / "images" / "minio" / "Dockerfile"


def refuse_earlier(image: str | None, naming: Naming, client: DockerClient) -> list[Problem]:
    """Decline a release before the one that has served.

    Args:
        image: The setting `minioImage`; None where MinIO is built from source.
        naming: The stack's names.
        client: The Docker host.
    """
    served = container(naming, client, "minio")
    before = None if served is None else release(served.labels, str(served.attrs["Config"]["Image"]))
    wanted = release({}, _SOURCE.read_text(encoding="utf-8")) if image is None else _of_image(image, client)
    if before is None or wanted is None or wanted >= before or served is None:
        return []
    wrong = f"is {wanted}, and {before} has served the objects, which an earlier one may not read; nothing was touched"
    mend = f"pulumi config set minioImage {served.attrs['Config']['Image']}"
    return [Problem("minioImage", image or "(from source)", wrong, mend)]


def release(labels: Mapping[str, str], text: str) -> str | None:
    """The release that an image's labels tell, else a text about it."""
    found = _RELEASE.search("\n".join((*labels.values(), text)))
    return None if found is None else found[0]


def _of_image(image: str, client: DockerClient) -> str | None:
    from docker.errors import ImageNotFound  # noqa: PLC0415 - see components.preflight

    try:
        labels: dict[str, str] = client.images.get(image).labels
    except ImageNotFound:
        labels = {}
    return release(labels, image)
