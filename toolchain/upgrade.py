"""Another version of MLflow or another major of PostgreSQL: what happens around the deployment that brings it.

The program does the upgrade itself (see `components.upgrade`), and leaves everything as it was where one of its own
steps fails. Whatever fails after that fails in Pulumi, when the old server is gone and the new one does not come up or
does not pass its check. Then the way back is gone here: the data of before takes its place again, the setting is put
back, and a second deployment serves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.upgrade import names
from toolchain import heal, stack_file
from toolchain.docker_objects import KEEPER, Objects
from toolchain.errors import DONE, FAILED, REFUSED, FailedError
from toolchain.say import say
from toolchain.session import PROJECT, Session
from toolchain.starts import LastStart

if TYPE_CHECKING:
    from components.upgrade.found import Found

VERSION: Final = "mlflowVersion"
_IMAGE: Final = "postgresImage"
_TARGET: Final = "backupTarget"


@dataclass(frozen=True, slots=True)
class Before:
    """What served before a deployment.

    Attributes:
        wanted: Version of MLflow that the stack file asks for.
        version: Version that served; None where none did.
        image: Image of PostgreSQL that served; None where none did.
        paused: Whether an upgrade that was cut off has stopped the tracking server.
        start: The tracking server's last start; None where there is none.
    """

    wanted: str
    version: str | None
    image: str | None
    paused: bool
    start: LastStart | None


def look(session: Session, objects: Objects) -> Before:
    """Look before a deployment; asks the Docker daemon alone."""
    from components.naming import Naming  # noqa: PLC0415 - slow to import
    from components.upgrade.found import served  # noqa: PLC0415

    version, paused = served(Naming(session.name), objects.client)
    postgres = objects.container("postgres")
    image = None if postgres is None else str(postgres.attrs["Config"]["Image"])
    return Before(wanted_version(session), version, image, paused, LastStart.of(objects.container("server")))


def wanted_version(session: Session) -> str:
    """The version of MLflow that the stack is to serve."""
    from components.settings import DEFAULT_MLFLOW_VERSION  # noqa: PLC0415 - slow to import

    return _setting(session, VERSION) or DEFAULT_MLFLOW_VERSION


def back_up(session: Session, objects: Objects, before: Before) -> None:
    """Before another version takes over, have a backup made, where the stack makes them by itself (`backupTarget`).

    Raises:
        FailedError: It could not be made; what served serves.
    """
    keeper_is_there = objects.container(KEEPER) is not None
    if not keeper_is_there and not _setting(session, _TARGET):
        return
    from components.upgrade import cluster  # noqa: PLC0415 - imports the SDK
    from toolchain.backup import making  # noqa: PLC0415

    another_mlflow = before.version not in (None, before.wanted)
    another_postgres = before.image is not None and cluster.differs(
        objects.client, before.image, _wanted_image(session)
    )
    if not another_mlflow and not another_postgres:
        return
    if keeper_is_there:
        making.have_made(objects)
    else:
        say("  no backup comes first: the container that makes them comes with this very deployment")


def take_back(session: Session, objects: Objects, before: Before) -> None:
    """Go back from an upgrade that was cut off, where the settings are those of before again.

    Raises:
        FailedError: The data of before could not be put back; it is whole.
    """
    if before.paused or before.version != before.wanted:
        found = _found(session, objects)
        if _kept_version(session, found) == before.wanted:
            _restore_schema(session, objects, before.wanted, before.version or "later")
    image = _wanted_image(session)
    if before.image not in (None, image) and _kept_image(session, objects) == image:
        _restore_cluster(session, objects)


def deploy_or_go_back(session: Session, deployed: Callable[[Session], int]) -> int:
    """Deploy; where that brings another version and fails, serve the version of before again.

    Args:
        session: The stack.
        deployed: Deploys, and gives the exit code.

    Returns:
        0 well, 2 refused before anything was touched, 1 otherwise.

    Raises:
        FailedError: The data of before could not be put back; it is whole.
    """
    objects = Objects(session.name)
    before = look(session, objects)
    take_back(session, objects, before)
    back_up(session, objects, before)
    code = deployed(session)
    objects = Objects(session.name, objects.client)
    # Pulumi has touched nothing where the upgrade itself failed, which stops the server and starts it again.
    if code == DONE or (code == REFUSED and not _was_started(before, objects)):
        return code
    version = _kept_version(session, _found(session, objects))
    image = _kept_image(session, objects)
    settings = _of_before(session, objects, before, version, image)
    if not settings:
        return FAILED
    names = " and ".join(f"{key} {value}" for key, value in settings.items())
    say(f"  going back to {names}, which {session.stack_file.name} says from now on")
    # The settings first: a run that is cut off after them goes on from what they say.
    for key, value in settings.items():
        session.ask("config", "set", key, value, "--stack", session.stack)
    if version is not None:
        _restore_schema(session, objects, version, before.wanted)
    if image is not None:
        _restore_cluster(session, objects)
    heal.heal(session, Objects(session.name, objects.client))
    again = deployed(session)
    if again != DONE:
        say(f"upgrade: {session.stack}: failed, and so did the way back; the data is whole. mend: make up")
        return FAILED
    shell = f"pulumi config set {VERSION} {before.wanted}" if VERSION in settings else f"pulumi config rm {_IMAGE}"
    say(
        f"upgrade: {session.stack}: failed, as the lines above say; {names} serves again, on the data as it was. "
        f"mend: remove the cause, then {shell} && make upgrade"
    )
    return FAILED


def _of_before(
    session: Session, objects: Objects, before: Before, version: str | None, image: str | None
) -> dict[str, str]:
    """The settings with which a deployment serves what served before: nothing where they are what they were.

    Args:
        session: The stack.
        objects: Its objects.
        before: What served.
        version: Version whose data is kept beside that of the new one.
        image: The same for PostgreSQL.
    """
    from components.upgrade import cluster  # noqa: PLC0415 - imports the SDK

    settings: dict[str, str] = {}
    earlier = version or (before.version if before.start else None)
    if earlier is not None and earlier != before.wanted:
        settings[VERSION] = earlier
    wanted = _wanted_image(session)
    if image is not None:
        settings[_IMAGE] = image
    elif before.image is not None and cluster.differs(objects.client, before.image, wanted):
        settings[_IMAGE] = before.image
    return settings


def _restore_schema(session: Session, objects: Objects, version: str, tried: str) -> None:
    """Put the data of before in place again.

    Raises:
        FailedError: It could not be.
    """
    from components.naming import Naming  # noqa: PLC0415 - slow to import
    from components.upgrade import psql, schema, writers  # noqa: PLC0415

    postgres = objects.container("postgres")
    if postgres is None:
        raise FailedError("postgres", "its container is gone", "the data of before is in its volume", "make up")
    writers.stop(Naming(session.name), objects.client)
    try:
        aside = schema.back(postgres, _database(session), version, tried)
    except psql.SqlError as error:
        wrong = f"the data of MLflow {version} could not be put back: {error}; it is whole"
        raise FailedError("database", _database(session), wrong, "make up") from None
    say(f"  the data of MLflow {version} is in its place again")
    if aside is not None:
        say(
            f"  what MLflow {tried} has written meanwhile is kept as database {aside}. To drop it: docker exec "
            f"-u postgres {postgres.name} dropdb {aside}"
        )


def _restore_cluster(session: Session, objects: Objects) -> None:
    """Take the new cluster out of the way.

    Raises:
        FailedError: It could not be.
    """
    from components.naming import Naming  # noqa: PLC0415 - slow to import
    from components.upgrade import cluster, job  # noqa: PLC0415

    postgres = objects.container("postgres")
    if postgres is None:
        return  # nothing serves it, and the setting decides over what does
    image = str(postgres.attrs["Config"]["Image"])
    postgres.stop(timeout=60)
    try:
        cluster.back(Naming(session.name), objects.client, image)
    except job.JobError as error:
        wrong = f"could not be taken out of the way: {error}; the data of before is whole"
        raise FailedError("PostgreSQL", image, wrong, "make up") from None
    postgres.remove(force=True)  # last: as long as it is there, it tells that the way back is not at its end
    say("  the PostgreSQL of before is to serve its data again; that of the new one is kept beside it")


def _kept_image(session: Session, objects: Objects) -> str | None:
    """The image that serves the cluster which is kept as the way back; None where none is.

    Raises:
        FailedError: The volume can't be looked at.
    """
    from components.naming import Naming  # noqa: PLC0415 - slow to import
    from components.upgrade import cluster, job  # noqa: PLC0415

    postgres = objects.container("postgres")
    if postgres is None:
        return None
    found = _found(session, objects)
    if found.answers:
        return found.clusters[found.clusters_before[-1]] or None if found.clusters_before else None
    image = str(postgres.attrs["Config"]["Image"])
    try:
        return cluster.kept(Naming(session.name), objects.client, image)
    except job.JobError as error:
        raise FailedError("PostgreSQL", image, f"its volume can't be looked at: {error}", "make up") from None


def _kept_version(session: Session, found: Found) -> str | None:
    """The version whose data is kept as the way back; None where none is."""
    return names.version_before(_database(session), found.databases)


def _was_started(before: Before, objects: Objects) -> bool:
    """Whether somebody started the tracking server meanwhile, other than Docker by itself."""
    start = LastStart.of(objects.container("server"))
    return start is not None and start.is_somebodys_after(before.start)


def _found(session: Session, objects: Objects) -> Found:
    from components.naming import Naming  # noqa: PLC0415 - slow to import
    from components.upgrade import found  # noqa: PLC0415

    return found.look(Naming(session.name), objects.client, _database(session))


def _wanted_image(session: Session) -> str:
    from components.builds import base_images  # noqa: PLC0415 - slow to import
    from components.settings import Settings  # noqa: PLC0415

    return _setting(session, _IMAGE) or base_images(Settings.model_validate({})).postgres


def _database(session: Session) -> str:
    return _setting(session, "databaseName") or "mlflow"


def _setting(session: Session, key: str) -> str:
    config: dict[str, Any] = stack_file.read(session.stack_file).get("config") or {}
    value = config.get(f"{PROJECT}:{key}")
    return str(value) if isinstance(value, str | int | float) else ""
