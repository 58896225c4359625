"""The backend store to the schema of another MLflow: on a copy, which then takes its place.

The database that was served stays under another name, untouched, so going back is a matter of two names. Both are
changed in one transaction: whenever this is cut off, there is one database of the right name, whole, on one schema.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from components.errors import Failure
from components.mlflow_container import HOME_IN_MEMORY, MLFLOW_UID, plain_database_environment
from components.naming import FILES_PATH, POSTGRES_OWNER, POSTGRES_RUNTIME, Naming
from components.service import memory_folder
from components.upgrade import job, names, psql, writers
from components.upgrade.found import container
from components.upgrade.plan import SchemaMove

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

Say = Callable[[str], None]

#: Seconds that other sessions get to end: a backup, a person with psql.
_SESSIONS_WITHIN = 60.0

#: No migration makes these more or fewer.
_SAME_AFTERWARDS = ("public.experiments", "public.runs", "public.registered_models", "public.model_versions")


def move(plan: SchemaMove, naming: Naming, client: DockerClient, image: str, auth: str, say: Say) -> None:
    """Do it, or leave everything as it was, with the server serving.

    Args:
        plan: From where to where.
        naming: The stack's names.
        client: The Docker host; it must have time for an answer.
        image: Reference of the image with the MLflow to come; it is there.
        auth: The setting `auth`.
        say: Takes a line at a time.

    Raises:
        Failure: A step failed; what was served is served again.
    """
    postgres = container(naming, client, "postgres")
    if postgres is None:
        raise Failure("backend store: PostgreSQL: its container is gone. mend: make up")
    step = "stopping the tracking server"
    try:
        say(f"{plan.before} -> {plan.after}: stopping the tracking server")
        writers.stop(naming, client)
        step = "copying the database"
        say(f"copying the database {plan.database}")
        _copy(plan, postgres)
        step = f"migrating the copy to MLflow {plan.after}"
        say(step)
        _migrate(plan, naming, client, image, auth)
        step = "comparing the copy with the database"
        _compare(plan, postgres)
        step = "putting the copy in the database's place"
        _swap(postgres, plan.database, names.before(plan.database, plan.before), names.coming(plan.database))
    except BaseException as error:
        served = _leave(plan, postgres, naming, client)
        if not isinstance(error, psql.SqlError | job.JobError | ValueError):
            raise
        raise Failure(_told(plan, step, str(error), served=served)) from error
    say(f"the database is that of MLflow {plan.after}; the one before is kept until it has been checked")


def back(postgres: Container, database: str, version: str, tried: str) -> str | None:
    """Serve what was served by an earlier version; nobody may use either database meanwhile.

    Args:
        postgres: The running server.
        database: Name of the backend store.
        version: The earlier version.
        tried: The version that is gone back from.

    Returns:
        Name of the database with what the version tried has written since; None where it has written nothing.

    Raises:
        SqlError: PostgreSQL refuses; everything is as it was.
    """
    taken = psql.ask(postgres, "SELECT datname FROM pg_database").split()
    before, after = names.before(database, version), names.after(database, tried, taken)
    nothing_new = _same(psql.rows(postgres, before), psql.rows(postgres, database))
    _swap(postgres, database, after, before)
    if nothing_new:
        psql.run(postgres, _dropped(after))
    return None if nothing_new else after


def finish(postgres: Container, database: str, version: str | None) -> None:
    """Remove what was the way back, and what is left of attempts that were cut off.

    Raises:
        SqlError: PostgreSQL refuses.
    """
    kept = [] if version is None else [names.before(database, version)]
    psql.run(postgres, *(_dropped(name) for name in (*kept, names.coming(database))))


def _copy(plan: SchemaMove, postgres: Container) -> None:
    coming = names.coming(plan.database)
    psql.run(postgres, _dropped(coming))
    _alone(postgres, plan.database)
    psql.run(
        postgres,
        # File by file: the other way writes all of it to the log, too.
        f"CREATE DATABASE {coming} TEMPLATE {plan.database} OWNER {POSTGRES_OWNER} STRATEGY file_copy",
        # What may be done in a database is copied with it, who may enter it is not.
        f"REVOKE ALL ON DATABASE {coming} FROM PUBLIC; GRANT CONNECT ON DATABASE {coming} TO {POSTGRES_RUNTIME}",
    )


def _alone(postgres: Container, database: str) -> None:
    """Wait until nobody uses the database: who does may be a backup. Who does nothing in it is thrown out.

    Raises:
        ValueError: Somebody still does.
    """
    who = "usename || ' (' || coalesce(nullif(application_name, ''), host(client_addr), 'socket') || ')'"
    query = f"SELECT DISTINCT {who} FROM pg_stat_activity {_others(database)}"  # noqa: S608 - see there
    deadline = time.monotonic() + _SESSIONS_WITHIN
    idle = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {_others(database)} AND state = 'idle'"  # noqa: S608
    psql.run(postgres, idle)
    while users := psql.ask(postgres, query):
        if time.monotonic() > deadline:
            raise ValueError(f"the database is in use by {', '.join(users.splitlines())}; it must be left first")
        time.sleep(0.2)


def _migrate(plan: SchemaMove, naming: Naming, client: DockerClient, image: str, auth: str) -> None:
    environment = plain_database_environment(POSTGRES_OWNER, names.coming(plan.database))
    job.run(
        naming,
        client,
        job.Job(
            image=image,
            uid=MLFLOW_UID,
            command=["migrate"],
            environment={**environment, "MLFLOW_STACK_AUTH": auth},
            volumes={naming.files_volume("migration"): {"bind": FILES_PATH, "mode": "ro"}},
            tmpfs={**HOME_IN_MEMORY, "/tmp": memory_folder(64)},  # noqa: S108 - in the container's own memory
            network=naming.network("backend"),
        ),
    )


def _compare(plan: SchemaMove, postgres: Container) -> None:
    coming = names.coming(plan.database)
    reached = psql.ask(postgres, "SELECT version_num FROM alembic_version", database=coming)
    if plan.target is not None and reached != plan.target:
        raise ValueError(f"the copy has schema revision {reached}, expected {plan.target}")
    old, new = psql.rows(postgres, plan.database), psql.rows(postgres, coming)
    for table in _SAME_AFTERWARDS:
        if table in old and old[table] != new.get(table):
            raise ValueError(f"{table} has {old[table]} rows, and {new.get(table)} in the migrated copy")


def _swap(postgres: Container, database: str, aside: str, into_place: str) -> None:
    """Give both names in one transaction, with nobody in either database."""
    psql.run(
        postgres,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {_others(database, into_place)}",  # noqa: S608 - see there
        f"ALTER DATABASE {database} RENAME TO {aside}; ALTER DATABASE {into_place} RENAME TO {database}",
    )


def _leave(plan: SchemaMove, postgres: Container, naming: Naming, client: DockerClient) -> bool:
    """Take away the copy, and let the server serve again."""
    with suppress(Exception):
        job.remove(naming, client)
    with suppress(Exception):
        psql.run(postgres, _dropped(names.coming(plan.database)))
    return writers.start(naming, client)


def _told(plan: SchemaMove, step: str, reason: str, *, served: bool) -> str:
    now = f"MLflow {plan.before} serves again, on the data as it was" if served else "no server runs"
    mend = f"remove the cause, then make up; to stay: pulumi config set mlflowVersion {plan.before}"
    if not served:
        mend = "make up"
    return f"mlflowVersion: {plan.after}: the upgrade failed at {step}; {now}. mend: {mend}\n{reason}"


def _same(old: Mapping[str, int], new: Mapping[str, int]) -> bool:
    """Whether the tables that both have are as long as each other."""
    return all(count == new[table] for table, count in old.items() if table in new)


def _others(*databases: str) -> str:
    """Which sessions: those in some databases that are not this one. The names are checked settings and ours."""
    listed = ", ".join(f"'{name}'" for name in databases)
    return f"WHERE datname IN ({listed}) AND pid <> pg_backend_pid()"


def _dropped(name: str) -> str:
    return f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
