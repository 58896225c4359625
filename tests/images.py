"""The images of the tests' stacks: built once, whichever process wants them first, and kept while tests run.

Tests run side by side. A `destroy` removes the images that no container uses: just those, at times, that a test in
another process is about to start.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import docker

from components.builds import Build
from tests.toolchain.boxes import Boxes
from toolchain import paths, store
from toolchain.images import docker_host
from toolchain.images.progress import Progress


@contextmanager
def kept(client: docker.DockerClient, references: Iterable[str]) -> Generator[None]:
    """Have a container of each image for a block, never started: no `destroy` takes the image away."""
    boxes = Boxes(client)
    try:
        for reference in references:
            boxes.create(reference, ["true"], network_mode="none")
        yield
    finally:
        boxes.clear()


@contextmanager
def built(client: docker.DockerClient, *builds: Build) -> Generator[list[str]]:
    """Images as the program builds them, under the same tags: built where they are missing, kept for a block.

    Yields:
        Their tags.

    Raises:
        StepFailedError: One can't be built.
    """
    with store.lock(paths.cache_root() / "images" / "tests.lock"), ThreadPoolExecutor() as pool:
        # At once: one waits for downloads, another one for the compiler.
        for made in [pool.submit(_build, client, build) for build in builds]:
            made.result()
    references = [build.reference for build in builds]
    with kept(client, references):
        yield references


def _build(client: docker.DockerClient, build: Build) -> None:
    if not docker_host.has(client, build.reference):
        context = paths.PROJECT_DIR / build.context
        docker_host.build(client, context, build.reference, build.args, Progress(build.name, print))
