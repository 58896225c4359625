"""The image with pg_dump and rclone, on top of the very PostgreSQL image that the stack runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain import paths
from toolchain.say import say

if TYPE_CHECKING:
    from components.settings import Settings
    from toolchain.docker_objects import Objects


def ensure(objects: Objects, settings: Settings) -> str:
    """Give its reference; it is built where it is missing.

    Args:
        objects: The stack; where its PostgreSQL is there, its image counts, else the one that it would have.
        settings: The stack's.

    Raises:
        FailedError: It can't be built.
    """
    from components.builds import backup_build, base_images  # noqa: PLC0415 - slow to import
    from toolchain.errors import FailedError  # noqa: PLC0415
    from toolchain.images import docker_host, resolver  # noqa: PLC0415 - imports a Docker client
    from toolchain.images.progress import Progress, StepFailedError  # noqa: PLC0415

    postgres = objects.container("postgres")
    build = backup_build(
        base_images(settings), postgres=str(postgres.attrs["Config"]["Image"]) if postgres is not None else None
    )
    if docker_host.has(objects.client, build.reference):
        return build.reference
    with resolver.lock(paths.cache_root() / "images", say):
        if docker_host.has(objects.client, build.reference):
            return build.reference
        progress = Progress(f"build {build.reference}", say)
        client = docker_host.connect()  # one that waits as long as a build takes
        try:
            docker_host.build(client, paths.PROJECT_DIR / build.context, build.reference, build.args, progress)
        except StepFailedError as failure:
            wrong = "could not be built:\n" + str(failure)
            raise FailedError("image", build.reference, wrong, "make doctor") from failure
        progress.done(docker_host.report_size(client, build.reference))
    return build.reference
