"""Where the version of something in an image is decided: what a user changes to mend it."""

from __future__ import annotations

from components.vendor_images import VENDOR_IMAGES
from toolchain.supply.finding import Finding
from toolchain.supply.images import StackImage

_OURS = "local/mlflow-stack/"


def mend(finding: Finding, image: StackImage, *, from_packages: bool) -> str:
    """What to do about a flaw.

    Args:
        finding: The flaw.
        image: The image that has it.
        from_packages: Whether the base images are built from packages.
    """
    if not finding.fixed:
        return "nothing yet: no fixed version is known"
    ours = image.reference.startswith(_OURS)
    if not ours and image.reference not in VENDOR_IMAGES.values():
        return f"another image in place of {image.reference}, which your settings name"
    built = {("python", "server"): "images/mlflow/locks", ("go", "minio"): "images/minio/go.mod"}
    pinned = next((path for (kind, role), path in built.items() if kind == finding.kind and role in image.roles), "")
    if not pinned and not from_packages:
        return "a newer digest in components/vendor_images.py, then make up"
    if not pinned and finding.kind == "go":
        return "a newer wheel in images/gateway/wheel.txt (make update says whether there is one), then make up"
    return f"newer versions in {pinned}, then make up" if pinned else "make update, then make up"
