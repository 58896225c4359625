"""What is there before a deployment: which versions serve, on which schema, and what an upgrade left half done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from components.naming import Naming, Role
from components.upgrade import psql

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_VERSION = "org.opencontainers.image.version"
_MAJOR = "PG_MAJOR="

_LOOK = """set -e
ask() { psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d "$1" -c "$2"; }
ask postgres "SELECT 'database', datname, pg_database_size(oid) FROM pg_database WHERE NOT datistemplate"
ask "$1" "SELECT 'revision', version_num FROM alembic_version" 2>/dev/null || true
df --output=avail --block-size=1 /var/lib/postgresql | tail -n 1 | sed 's/^ */free|/'
for file in /var/lib/postgresql/*/docker/PG_VERSION; do if test -e "$file"; then
    image=${file%/docker/PG_VERSION}/image
    echo "cluster|$(<"$file")|$(if test -e "$image"; then cat "$image"; fi)"
fi; done
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is there.

    Attributes:
        version: Version of MLflow that served last; None where none did.
        image: Reference of the image that PostgreSQL runs on; None where it has no container.
        major: Its major version; None where it does not tell.
        answers: Whether PostgreSQL answers; the rest is known only where it does.
        revision: Schema revision of the backend store; None where MLflow has not been set up.
        databases: Every database, with its size in bytes.
        free: Bytes that are free where the data lies.
        clusters: Major versions whose data is in the volume, each with the image that served it before an upgrade.
        paused: Whether the tracking server was stopped by an upgrade, and is not to be started by Docker.
    """

    version: str | None = None
    image: str | None = None
    major: int | None = None
    answers: bool = False
    revision: str | None = None
    databases: dict[str, int] = field(default_factory=dict[str, int])
    free: int = 0
    clusters: dict[int, str] = field(default_factory=dict[int, str])
    paused: bool = False

    @property
    def clusters_before(self) -> list[int]:
        """Major versions that were moved from, and are kept as the way back."""
        return sorted(major for major in self.clusters if self.major is not None and major < self.major)


def container(naming: Naming, client: DockerClient, role: Role) -> Container | None:
    """A role's container, running or not."""
    from docker.errors import NotFound  # noqa: PLC0415 - see components.preflight

    try:
        return client.containers.get(naming.container(role))
    except NotFound:
        return None


def served(naming: Naming, client: DockerClient) -> tuple[str | None, bool]:
    """Version of MLflow that served last, and whether an upgrade has stopped its server; None where none did."""
    server = container(naming, client, "server")
    last = server or container(naming, client, "migration")
    version = None if last is None else str(last.labels.get(_VERSION, "")) or None
    policy = {} if server is None else server.attrs["HostConfig"].get("RestartPolicy") or {}
    return version, policy.get("Name") == "no"


def look(naming: Naming, client: DockerClient, database: str) -> Found:
    """Ask the Docker host, and PostgreSQL where it runs; changes nothing."""
    version, paused = served(naming, client)
    postgres = container(naming, client, "postgres")
    if postgres is None:
        return Found(version, paused=paused)
    image, major = str(postgres.attrs["Config"]["Image"]), major_in(postgres.attrs["Config"].get("Env"))
    try:
        said = psql.shell(postgres, _LOOK, database) if postgres.status == "running" else None
    except psql.SqlError:
        said = None
    if said is None:
        return Found(version, image, major, paused=paused)
    revision, free = None, 0
    databases: dict[str, int] = {}
    clusters: dict[int, str] = {}
    for kind, *rest in (line.split("|") for line in said.splitlines()):
        if kind == "database":
            databases[rest[0]] = int(rest[1])
        elif kind == "revision":
            revision = rest[0]
        elif kind == "free":
            free = int(rest[0])
        elif kind == "cluster" and rest[0].isdigit():
            clusters[int(rest[0])] = rest[1]
    return Found(version, image, major, True, revision, databases, free, clusters, paused)


def major_in(environment: list[str] | None) -> int | None:
    """The major version that an image of PostgreSQL says in its environment."""
    told = (each.removeprefix(_MAJOR) for each in environment or () if each.startswith(_MAJOR))
    major = next(told, "")
    return int(major) if major.isdigit() else None
