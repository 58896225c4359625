"""A container that runs once, beside those that Pulumi knows: with the rights of a service, and gone afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.naming import Naming
from components.service import MAX_PROCESSES, NO_RESOLVER

if TYPE_CHECKING:
    from docker import DockerClient

#: Role of such a container: `make up` removes what is left of one that was cut off.
ROLE = "upgrade"

_LAST_LINES = 10


class JobError(Exception):
    """It ended with another exit code than 0; the text is the end of what it said."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to run.

    Attributes:
        image: Reference of its image.
        uid: User and group id.
        command: Arguments of the image's entry point.
        entrypoint: In place of the image's own.
        environment: No secret may be in it.
        volumes: Volume → path and mode, as docker-py takes them.
        tmpfs: Path → mount options.
        network: Name of its network; none without one.
        memory_mb: Memory limit in MiB.
    """

    image: str
    uid: int
    command: Sequence[str]
    entrypoint: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    tmpfs: Mapping[str, str] = field(default_factory=dict[str, str])
    network: str | None = None
    memory_mb: int = 1024


def run(naming: Naming, client: DockerClient, job: Job) -> list[str]:
    """Run it to its end, and give the lines that it said.

    Raises:
        JobError: It failed, or could not be started.
    """
    from docker.errors import APIError  # noqa: PLC0415 - see components.preflight
    from docker.types import LogConfig, Ulimit  # noqa: PLC0415

    remove(naming, client)
    placed: dict[str, Any] = {"network": job.network} if job.network else {"network_mode": "none"}
    try:
        container = client.containers.create(
            job.image,
            list(job.command),
            entrypoint=None if job.entrypoint is None else list(job.entrypoint),
            name=_name(naming),
            environment=dict(job.environment),
            user=f"{job.uid}:{job.uid}",
            volumes={name: dict(mount) for name, mount in job.volumes.items()},
            tmpfs=dict(job.tmpfs),
            labels=naming.labels(ROLE),
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            ulimits=[Ulimit(name="nproc", soft=MAX_PROCESSES, hard=MAX_PROCESSES)],
            mem_limit=f"{job.memory_mb}m",
            memswap_limit=f"{job.memory_mb}m",
            init=True,
            dns=list(NO_RESOLVER),
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
            **placed,
        )
    except APIError as error:
        raise JobError(str(error.explanation)) from error
    try:
        container.start()
        code = int(container.wait()["StatusCode"])
        said = container.logs().decode(errors="replace").strip().splitlines()
    except APIError as error:
        raise JobError(str(error.explanation)) from error
    finally:
        with suppress(APIError):
            container.remove(force=True)
    if code:
        raise JobError("\n".join(said[-_LAST_LINES:]) or f"exit code {code}")
    return said


def remove(naming: Naming, client: DockerClient) -> None:
    """Remove what is left of one that was cut off."""
    from docker.errors import NotFound  # noqa: PLC0415 - see components.preflight

    with suppress(NotFound):
        client.containers.get(_name(naming)).remove(force=True)


def _name(naming: Naming) -> str:
    return f"mlflow-{naming.stack}-{ROLE}"
