"""`update`: base images with the newest packages, for the next `up`. Touches no container."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from toolchain import engine, paths, stack_file
from toolchain.errors import DONE
from toolchain.say import say
from toolchain.session import PROJECT, check_name

if TYPE_CHECKING:
    from toolchain.images.update import Change

#: The settings by which a user brings an image of their own.
_OWN_IMAGES: Final = ("postgresImage", "minioImage", "gatewayImage", "pythonImage")


def run(stack: str, *, back: bool) -> int:
    """Run the command.

    Args:
        stack: The stack whose settings may name images of its own.
        back: Take the images from before the last update again.

    Raises:
        ToolchainError: Nothing was chosen yet, or an image can't be had; the stack's images are as they were.
    """
    from toolchain.images import recorded, update  # noqa: PLC0415 - imports a Docker client

    check_name(stack)
    engine.require()
    changes = update.go_back(say) if back else update.update(say)
    _tell(changes)
    sources = recorded()
    if sources is not None and sources.source == "vendor":
        print("the base images are the vendors', pinned by digest in components/vendor_images.py")
    elif not changes:
        print("nothing newer: the base images hold the newest packages that the mirrors have")
    for line in _pinned(packages=sources is not None and sources.source == "packages"):
        print(line)
    for key, reference in _own(stack):
        print(f"{key}: {reference} is your own setting: it changes when you set another")
    if changes:
        print(f"the running stack is as it was. The next make up STACK={stack} replaces the containers of these images")
        if not back:
            print("to go back: make update BACK=1, as long as the old images are on the Docker host")
    return DONE


def _tell(changes: list[Change]) -> None:
    inherited: dict[str, tuple[str, str]] = {}
    for change in changes:
        print(f"{change.role}: {change.before} -> {change.after}")
        for package, versions in change.packages.items():
            if inherited.get(package) != versions:
                print(f"  {package} {versions[0] or '(new)'} -> {versions[1] or '(gone)'}")
        if change.role == "debianImage":
            inherited = dict(change.packages)
        elif inherited:
            print("  and what changed in its base")


def _pinned(*, packages: bool) -> Iterator[str]:
    """What is pinned by hash, and whether there is something newer to pin."""
    from toolchain.images import pins  # noqa: PLC0415 - imports a Docker client

    where = "images/minio/go.mod (MinIO), images/mlflow/locks (MLflow and its libraries)"
    if packages:
        wheels = list(pins.wheels())
        with ThreadPoolExecutor(len(wheels)) as pool:
            newest = pool.map(lambda wheel: pins.newest(wheel[1]), wheels)
        for (path, name, version), found in zip(wheels, newest, strict=True):
            told = f"has {found}" if found else "did not tell"
            told = "has nothing newer" if found == version else told
            yield f"{name} {version} is pinned in {path} and changes with the repository: the package index {told}"
    yield f"pinned, too, and changed with the repository alone: {where}"


def _own(stack: str) -> Iterator[tuple[str, str]]:
    """The images that the stack's settings name."""
    content = stack_file.read(paths.PROJECT_DIR / f"Pulumi.{stack.rpartition('/')[2]}.yaml")
    config: dict[str, Any] = content.get("config") or {}
    for key in _OWN_IMAGES:
        value = config.get(f"{PROJECT}:{key}")
        if isinstance(value, str) and value:
            yield key, value
