"""What a deployment is to do about versions, or why it declines: decided before anything is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.problem import Problem
from components.settings import Settings
from components.upgrade import names, revisions
from components.upgrade.found import Found, major_in

if TYPE_CHECKING:
    from docker import DockerClient

_MIB = 1024**2

#: Room in bytes that the copy of a database takes: once for the copy, once for what a migration writes anew in it.
_COPIES, _SPARE = 2, 128 * _MIB
#: The same for a new cluster: indexes are built anew, and a fresh cluster has a log of its own.
_CLUSTER_SPARE = 512 * _MIB


@dataclass(frozen=True, slots=True)
class SchemaMove:
    """The backend store goes to the schema of another MLflow.

    Attributes:
        database: Name of the backend store.
        before: Version that has served it, as far as it is known.
        after: Version that is to serve it.
        revision: Its schema revision.
        target: The revision that it is to have; None where the lock does not tell.
        size: Its size in bytes.
    """

    database: str
    before: str
    after: str
    revision: str
    target: str | None
    size: int

    def __str__(self) -> str:
        """What a preview says of it."""
        return (
            f"mlflowVersion: {self.before} -> {self.after}: schema revision {self.revision} -> "
            f"{self.target or 'the newest of that version'}. The tracking server pauses while the database "
            f"({self.size / _MIB:.0f} MiB) is copied and the copy is migrated; it is served again as it is if a step "
            "fails, and kept until the new version has been checked"
        )


@dataclass(frozen=True, slots=True)
class ClusterMove:
    """All databases go to another major version of PostgreSQL.

    Attributes:
        before: Major version that the data is of.
        after: Major version that it is to be of.
        image: Reference of the image that serves it now.
        size: Size of all databases in bytes.
    """

    before: int
    after: int
    image: str
    size: int

    def __str__(self) -> str:
        """What a preview says of it."""
        return (
            f"postgresImage: PostgreSQL {self.before} -> {self.after}: the tracking server pauses while all databases "
            f"({self.size / _MIB:.0f} MiB) are dumped and loaded into a new cluster beside the old one, in the same "
            "volume; the old one serves again if a step fails, and is kept until the new one has been checked"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        schema: For another MLflow.
        cluster: For another PostgreSQL.
        leftovers: Whether an earlier upgrade left something that this deployment ends with removing.
        notes: What a preview says beside.
    """

    schema: SchemaMove | None = None
    cluster: ClusterMove | None = None
    leftovers: bool = False
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """What a preview says."""
        return [str(move) for move in (self.schema, self.cluster) if move is not None] + list(self.notes)


def decide(settings: Settings, found: Found, postgres_image: str, client: DockerClient) -> tuple[Plan, list[Problem]]:
    """Compare what is wanted with what is there.

    Args:
        settings: What is wanted.
        found: What is there.
        postgres_image: Reference of the image that PostgreSQL is to run on.
        client: The Docker host.
    """
    schema, notes, problems = _schema(settings, found)
    cluster, more = _cluster(found, postgres_image, client)
    problems += more
    if schema is not None and cluster is not None:
        wrong = f"PostgreSQL {cluster.before} -> {cluster.after} and MLflow {schema.before} -> {schema.after} at once"
        mend = f"pulumi config set mlflowVersion {schema.before} && make up, and then the other"
        problems.append(Problem("postgresImage", postgres_image, f"{wrong}: one upgrade at a time", mend))
    database = settings.database_name
    kept = names.version_before(database, found.databases)
    begun = kept is not None or names.coming(database) in found.databases or found.paused
    leftovers = begun or bool(found.clusters_before)
    return Plan(schema, cluster, leftovers, tuple(notes)), problems


def _schema(settings: Settings, found: Found) -> tuple[SchemaMove | None, list[str], list[Problem]]:
    wanted, changes = settings.mlflow_version, found.version not in (None, settings.mlflow_version)
    if found.revision is None:
        return None, [], [_unasked(wanted, found)] if changes and not found.answers else []
    known = revisions.of(wanted)
    served = found.version or "unknown"
    kept = names.version_before(settings.database_name, found.databases)
    if kept is not None and (known is None or found.revision != known.head):
        wrong = f"an upgrade from {kept} was cut off and is not checked yet; it ends first, or is taken back"
        mend = f"pulumi config set mlflowVersion {kept} && make up, which takes it back"
        return None, [], [Problem("mlflowVersion", wanted, wrong, mend)]
    if known is not None and found.revision not in known.known:
        mend = f"pulumi config set mlflowVersion {served}" if changes else "pulumi config set mlflowVersion VERSION"
        wrong = (
            f"knows schema revisions up to {known.head}, and the data has {found.revision}, of a later MLflow "
            f"({served} served last); a schema does not go back, and nothing was touched"
        )
        return None, [], [Problem("mlflowVersion", wanted, wrong, f"{mend}, or make restore of a backup from before")]
    same = known is not None and found.revision == known.head
    if same and (kept is not None or not (changes and settings.auth == "basic")):
        note = f"mlflowVersion: {served} -> {wanted}: the schema stays as it is; the tracking server is replaced"
        return None, [note] if changes else [], []
    size = found.databases.get(settings.database_name, 0)
    target = None if known is None else known.head
    move = SchemaMove(settings.database_name, served, wanted, found.revision, target, size)
    needed = _COPIES * size + _SPARE
    return move, [], _room("mlflowVersion", wanted, needed, found.free())


def _unasked(wanted: str, found: Found) -> Problem:
    wrong = f"MLflow {found.version} served last, and PostgreSQL does not answer, which knows the data's schema"
    if found.image is None:
        return Problem(
            "mlflowVersion", wanted, wrong, f"pulumi config set mlflowVersion {found.version} && make up, then again"
        )
    return Problem("mlflowVersion", wanted, wrong, "make up, which starts it; make doctor, if it does not start")


def _cluster(found: Found, reference: str, client: DockerClient) -> tuple[ClusterMove | None, list[Problem]]:
    wanted = _major(reference, client)
    if wanted is None or found.major is None or found.image is None or wanted == found.major:
        return None, []
    if wanted < found.major:
        wrong = (
            f"is PostgreSQL {wanted}, and the data is of PostgreSQL {found.major}, which an earlier one can't read; "
            "nothing was touched"
        )
        return None, [Problem("postgresImage", reference, wrong, f"pulumi config set postgresImage {found.image}")]
    if not found.answers:
        wrong = f"the data is of PostgreSQL {found.major}, whose server must run to be read, and does not answer"
        return None, [Problem("postgresImage", reference, wrong, "make up, which starts it, or make doctor")]
    size = sum(found.databases.values())
    move = ClusterMove(found.major, wanted, found.image, size)
    return move, _room("postgresImage", reference, size + _CLUSTER_SPARE, found.free())


def _major(reference: str, client: DockerClient) -> int | None:
    """The major version of an image: as it says itself, else as its tag does."""
    from docker.errors import ImageNotFound  # noqa: PLC0415 - see components.preflight

    try:
        major = major_in(client.images.get(reference).attrs["Config"].get("Env"))
    except ImageNotFound:
        major = None
    if major is not None:
        return major
    tag = re.search(r":(\d+)[^/@]*(?:@|$)", reference)
    return int(tag[1]) if tag else None


def _room(key: str, value: str, needed: int, free: int) -> list[Problem]:
    if needed <= free:
        return []
    wrong = (
        f"the copy that is the way back takes {needed / _MIB:.0f} MiB, and where PostgreSQL's data lies "
        f"{free / _MIB:.0f} MiB are free; nothing was touched"
    )
    return [Problem(key, value, wrong, "docker image prune, or a larger disk")]
