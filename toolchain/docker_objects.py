"""The Docker objects that bear a stack's labels, and what can be learned from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from toolchain import at_work
from toolchain.errors import RefusedError
from toolchain.say import say

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network
    from docker.models.volumes import Volume

LABEL: Final = "mlflow-stack"

#: The order in which people think of the parts.
ROLES: Final = ("gateway", "server", "gc", "migration", "minio", "postgres", "backup")

#: Those that stay; `migration` runs once and ends. `gc` and `backup` are there with a schedule only.
SERVICES: Final = ("gateway", "server", "gc", "minio", "postgres", "backup")

#: Role of the job that encrypts anew, in the middle of a rotation.
REKEY: Final = "rekey"

#: Role of the container that makes backups by itself.
KEEPER: Final = "backup"

#: Role of the job that makes, checks or restores a backup.
BACKUP: Final = "backup-job"

#: Role of a garbage collection that was asked for.
GC_JOB: Final = "gc-job"

#: An import: its command, and the role of its job.
IMPORT: Final = "import"
IMPORT_JOB: Final = "import-job"

#: Role of a step of an upgrade (see `components.upgrade.job`).
UPGRADE_JOB: Final = "upgrade"

#: Roles of containers that run once beside the others, and that Pulumi knows nothing of.
JOBS: Final = (REKEY, BACKUP, GC_JOB, IMPORT_JOB, UPGRADE_JOB)

#: For containers whose networks have no way out: the container itself, where nobody answers, is asked for names outside
#: (see `components.service`).
NO_RESOLVER: Final = ("127.0.0.1",)

#: Role of a container that is made to look into a volume, of whatever stack, and is gone in a moment.
LOOK: Final = "look"

#: Those that are of no use when the command that started them is gone.
_CUT_OFF: Final = (REKEY, UPGRADE_JOB)

#: Ending of the role of a container that is never started.
_FILES: Final = "-files"

_TIMEOUT: Final = 60


def connect() -> DockerClient:
    """A client of the Docker daemon.

    Raises:
        RefusedError: None answers.
    """
    from docker.errors import DockerException  # noqa: PLC0415 - takes a third of a second to import

    from components import docker_client  # noqa: PLC0415 - as above

    try:
        return docker_client.connect(_TIMEOUT)
    except DockerException as error:
        raise RefusedError("docker", "not running", str(error), "make doctor") from None


def _is_ended_job(container: Container) -> bool:
    return role(container) in JOBS and container.status != "running"


@dataclass
class Objects:
    """The objects of one stack.

    Attributes:
        stack: Its name.
        client: The Docker daemon.
    """

    stack: str
    client: DockerClient = field(default_factory=connect)

    @property
    def _labelled(self) -> dict[str, str | list[str] | bool]:
        return {"label": [f"{LABEL}.project={LABEL}", f"{LABEL}.stack={self.stack}"]}

    @cached_property
    def containers(self) -> list[Container]:
        """Its containers, whatever their state."""
        found = self.client.containers.list(all=True, filters=self._labelled, ignore_removed=True)
        return sorted(found, key=lambda container: _rank(role(container)))

    @cached_property
    def networks(self) -> list[Network]:
        """Its networks."""
        return self.client.networks.list(filters=self._labelled)

    @cached_property
    def volumes(self) -> list[Volume]:
        """Its volumes."""
        return self.client.volumes.list(filters=self._labelled)

    def container(self, wanted: str) -> Container | None:
        """The container of a role."""
        return next((container for container in self.containers if role(container) == wanted), None)

    def remove_jobs(self) -> None:
        """Remove the job of a command that was cut off; that of a rotation has the new keys in it.

        Raises:
            RefusedError: A backup or a restore is at work: its job ends with its command. Or an import is.
        """
        self.forget_containers()
        if any(role(container) == BACKUP and container.status == "running" for container in self.containers):
            raise self.at_work()
        if at_work.is_one(self.stack, IMPORT):
            raise at_work.refusal(self.stack, IMPORT)
        self.remove_import()
        self._remove(lambda container: role(container) in _CUT_OFF)
        self._remove(_is_ended_job)

    def remove_import(self) -> None:
        """Remove the job of an import whose command is gone: the server is to run again, and it must run alone."""
        self.forget_containers()
        if self._remove(lambda container: role(container) == IMPORT_JOB):
            say("  an import was cut off: what went on of it was ended; make import, once more, goes on from there")

    def remove_ended_jobs(self) -> None:
        """Remove jobs that ended, or never began, and that whoever started them could not remove."""
        self.forget_containers()
        self._remove(_is_ended_job)

    def _remove(self, is_meant: Callable[[Container], bool]) -> bool:
        """Remove some containers, and tell whether there were any."""
        meant = [container for container in self.containers if is_meant(container)]
        for container in meant:
            container.remove(force=True, v=True)
        if meant:
            self.forget_containers()
        return bool(meant)

    def remove_layers(self, filters: Mapping[str, bool | str | list[str]]) -> None:
        """Remove images without a name, as few as Docker's filters let through."""
        from docker.errors import APIError  # noqa: PLC0415 - see connect()

        with suppress(APIError):  # another one is at it
            self.client.images.prune(filters=dict(filters))

    def forget_containers(self) -> None:
        """Look anew at what containers there are, the next time that it is asked."""
        self.__dict__.pop("containers", None)

    def at_work(self) -> RefusedError:
        """The refusal while a backup or a restore works on the stack."""
        wrong = "a backup or a restore is at work"
        return RefusedError(f"stack {self.stack}", f"mlflow-{self.stack}-{BACKUP}", wrong, "wait for it to end")

    def remove_images(self, references: Iterable[str]) -> list[str]:
        """Remove images that no container uses, and give the names of those that are gone."""
        from docker.errors import APIError  # noqa: PLC0415 - see connect()

        used = {
            str(container.attrs["Image"]) for container in self.client.containers.list(all=True, ignore_removed=True)
        }
        gone: list[str] = []
        for reference in references:
            with suppress(APIError):  # already gone, or another image is built on it
                if self.client.images.get(reference).id not in used:
                    self.client.images.remove(reference)
                    gone.append(reference)
        return gone


def role(container: Container) -> str:
    """The role that a container's label gives."""
    return str(container.labels.get(f"{LABEL}.role", ""))


def holds_files(container: Container) -> bool:
    """Whether it is one of those that are never started: they only bring files to the volume of another."""
    return role(container).endswith(_FILES)


def _rank(name: str) -> int:
    return ROLES.index(name) if name in ROLES else len(ROLES)


def health(container: Container) -> str:
    """A container's state in a word: `healthy`, `starting`, `unhealthy`, `running`, `exited (1)`, `created`."""
    state: dict[str, Any] = container.attrs["State"]
    status = str(state["Status"])
    if status == "exited":
        return f"exited ({state['ExitCode']}{', out of memory' if state.get('OOMKilled') else ''})"
    if status == "running" and state.get("Health"):
        return str(state["Health"]["Status"])
    return status


def is_well(container: Container) -> bool:
    """Whether a container is as it should be: a service healthy, a job ended well, one with files there."""
    if holds_files(container):
        return health(container) == "created"
    if role(container) in JOBS:
        return health(container) in {"created", "running", "exited (0)"}
    if role(container) == "migration":
        return health(container) == "exited (0)"
    return health(container) in {"healthy", "running"}


def output(container: Container | None, command: list[str], user: str = "") -> str | None:
    """What a command prints in a container, None when it can't run or fails. It may be run more than once."""
    from docker.errors import DockerException  # noqa: PLC0415 - see connect()

    from components import command as commands  # noqa: PLC0415 - where it is needed alone

    if container is None or container.attrs["State"]["Status"] != "running":
        return None
    try:
        said = commands.ask(container, command, user=user)
    except (DockerException, commands.CutOffError):
        return None
    return said.out if said.code == 0 else None
