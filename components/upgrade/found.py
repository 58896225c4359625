"""What is there before a deployment: which versions serve, on which schema, and what an upgrade left half done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from components.naming import Naming, Role
from components.upgrade import psql, superuser

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient
    from docker.models.containers import Container

_VERSION = "org.opencontainers.image.version"
_MAJOR = "PG_MAJOR="

#: Databases with their sizes, clusters with the images before, and the table of the database that is asked.
_HELD = """
SELECT 'database', datname, pg_database_size(oid)::text FROM pg_database WHERE NOT datistemplate UNION ALL
SELECT 'cluster', major, trim(coalesce(pg_read_file(folder || 'image', 0, 4096, true), ''), E' \\n')
FROM pg_ls_dir('/var/lib/postgresql') AS major, concat('/var/lib/postgresql/', major, '/') AS folder
WHERE major ~ '^[0-9]+$' AND (pg_stat_file(folder || 'docker/PG_VERSION', true)).size IS NOT NULL UNION ALL
SELECT 'table', relname, '' FROM pg_class WHERE oid = to_regclass('public.alembic_version')
"""

_REVISION = "SELECT version_num FROM public.alembic_version"

_FREE = "df --output=avail --block-size=1 /var/lib/postgresql | tail -n 1"


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
        free: Asks how many bytes are free where the data lies; 0 where that is not known.
        clusters: Major versions whose data is in the volume, each with the image that served it before an upgrade.
        paused: Whether the tracking server was stopped by an upgrade, and is not to be started by Docker.
    """

    version: str | None = None
    image: str | None = None
    major: int | None = None
    answers: bool = False
    revision: str | None = None
    databases: dict[str, int] = field(default_factory=dict[str, int])
    free: Callable[[], int] = lambda: 0
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


def look(naming: Naming, client: DockerClient, database: str, password: str | None = None) -> Found:
    """Ask the Docker host, and PostgreSQL where it runs; changes nothing.

    Args:
        naming: The stack's names.
        client: The Docker host.
        database: Name of the backend store.
        password: What the superuser's may be: who knows it is answered sooner.
    """
    version, paused = served(naming, client)
    postgres = container(naming, client, "postgres")
    if postgres is None:
        return Found(version, paused=paused)
    image, major = str(postgres.attrs["Config"]["Image"]), major_in(postgres.attrs["Config"].get("Env"))
    if postgres.status != "running":
        return Found(version, image, major, paused=paused)
    try:
        with superuser.session(postgres, database, password) as ask:
            held = ask(_HELD)
            is_set_up = any(kind == "table" for kind, *_ in held)
            revision = next((row[0] for row in ask(_REVISION)), None) if is_set_up else None
    except psql.SqlError:
        return Found(version, image, major, paused=paused)
    databases = {name: int(size) for kind, name, size in held if kind == "database"}
    clusters = {int(name): served_by for kind, name, served_by in held if kind == "cluster"}
    return Found(version, image, major, True, revision, databases, lambda: _free(postgres), clusters, paused)


def _free(postgres: Container) -> int:
    try:
        return int(psql.shell(postgres, _FREE))
    except (psql.SqlError, ValueError):
        return 0


def major_in(environment: list[str] | None) -> int | None:
    """The major version that an image of PostgreSQL says in its environment."""
    told = (each.removeprefix(_MAJOR) for each in environment or () if each.startswith(_MAJOR))
    major = next(told, "")
    return int(major) if major.isdigit() else None
