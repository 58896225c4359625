"""All databases to another major version of PostgreSQL: dumped from its server, loaded beside it, compared, taken over.

The work is done by `images/postgres/entrypoint.sh` in containers of the image to come; here is the order. The cluster
that was served stays in the volume, untouched, and is served by its own image again if a later step fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.builds import PROJECT_DIR
from components.errors import Failure
from components.naming import BACKEND_STORE_ALIAS, FILES_PATH, Naming
from components.postgres_server import POSTGRES_UID, memory_folders
from components.upgrade import job, psql, writers
from components.upgrade.found import container, major_in
from components.upgrade.plan import ClusterMove

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

Say = Callable[[str], None]

_ENTRYPOINT: Path = PROJECT_DIR / "images" / "postgres" / "entrypoint.sh"
_STOP_SECONDS = 60


def move(plan: ClusterMove, naming: Naming, client: DockerClient, image: str, say: Say) -> None:
    """Do it, or leave everything as it was, with both servers serving.

    Afterwards the old server is stopped; a container of the new image serves what was loaded, from its start on.

    Args:
        plan: From where to where.
        naming: The stack's names.
        client: The Docker host; it must have time for an answer.
        image: Reference of the image to come; it is there.
        say: Takes a line at a time.

    Raises:
        Failure: A step failed; what was served is served again.
    """
    step = "stopping the tracking server"
    try:
        say(f"PostgreSQL {plan.before} -> {plan.after}: stopping the tracking server")
        writers.stop(naming, client)
        step = f"loading all databases into a cluster of PostgreSQL {plan.after}"
        say(step)
        _run(naming, client, image, ["--move-from", BACKEND_STORE_ALIAS, str(plan.before), plan.image], network=True)
        step = f"stopping PostgreSQL {plan.before}"
        say(step)
        old = container(naming, client, "postgres")
        if old is not None:
            old.stop(timeout=_STOP_SECONDS)
        step = "taking the new cluster over"
        _run(naming, client, image, ["--adopt"])
    except BaseException as error:
        served = _leave(naming, client)
        if not isinstance(error, job.JobError):
            raise
        raise Failure(_told(plan, image, step, str(error), served=served)) from error
    say(f"all databases are loaded and compared; those of PostgreSQL {plan.before} are kept until they are checked")


def back(naming: Naming, client: DockerClient, image: str) -> None:
    """Take the cluster of an image out of the way; no server may run on the volume.

    It stays beside as `docker.after` until the next attempt: it may hold what was written since.

    Raises:
        JobError: It can't be.
    """
    _run(naming, client, image, ["--set-aside"])


#: The clusters of earlier majors than this image's that were moved from: the images that served them.
_KEPT = """
for file in /var/lib/postgresql/*/docker/PG_VERSION; do
    if test -e "$file" && test -e "${file%/docker/PG_VERSION}/image" && (($(<"$file") < PG_MAJOR)); then
        cat "${file%/docker/PG_VERSION}/image"
    fi
done
"""


def kept(naming: Naming, client: DockerClient, image: str) -> str | None:
    """The image that served the cluster which was moved from; None where there is none before the major of `image`.

    Raises:
        JobError: The volume can't be looked at.
    """
    said = _run(naming, client, image, [], script=_KEPT)
    return said[-1] if said else None


def differs(client: DockerClient, one: str, other: str) -> bool:
    """Whether two images are of different major versions, as far as both are on the Docker host."""
    from docker.errors import ImageNotFound  # noqa: PLC0415 - see components.preflight

    try:
        majors = [major_in(client.images.get(image).attrs["Config"].get("Env")) for image in (one, other)]
    except ImageNotFound:
        return False
    return majors[0] != majors[1]


def finish(postgres: Container, majors: Sequence[int]) -> None:
    """Remove the clusters that were the way back.

    Raises:
        SqlError: They can't be removed.
    """
    psql.shell(postgres, 'cd /var/lib/postgresql && rm -rf -- "$@"', *map(str, majors))


def _run(
    naming: Naming,
    client: DockerClient,
    image: str,
    arguments: list[str],
    *,
    network: bool = False,
    script: str | None = None,
) -> list[str]:
    text = script or _ENTRYPOINT.read_text(encoding="utf-8")
    return job.run(
        naming,
        client,
        job.Job(
            image=image,
            uid=POSTGRES_UID,
            # The files of the running container are those of its own entry point, perhaps an earlier one.
            entrypoint=["bash", "-c", text, "entrypoint.sh"],
            command=arguments,
            volumes={
                naming.data_volume("postgres"): {"bind": "/var/lib/postgresql", "mode": "rw"},
                naming.files_volume("postgres"): {"bind": FILES_PATH, "mode": "ro"},
            },
            tmpfs=memory_folders(),
            network=naming.network("backend") if network else None,
        ),
    )


def _leave(naming: Naming, client: DockerClient) -> bool:
    """Let both serve again; PostgreSQL throws away at its start what was loaded."""
    with suppress(Exception):
        job.remove(naming, client)
    return writers.start(naming, client, "postgres") and writers.start(naming, client)


def _told(plan: ClusterMove, image: str, step: str, reason: str, *, served: bool) -> str:
    now = f"PostgreSQL {plan.before} serves again, on the data as it was" if served else "no server runs"
    mend = f"remove the cause, then make up; to stay: pulumi config set postgresImage {plan.image}"
    if not served:
        mend = "make up"
    return f"postgresImage: {image}: the upgrade failed at {step}; {now}. mend: {mend}\n{reason}"
