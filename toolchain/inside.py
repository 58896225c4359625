"""What the stack has inside its servers, changed there from outside: noticed by its use, and set again.

A state can't tell: a password of PostgreSQL is not to be read back, and a provider that looks for the policy of a user
who is gone gives up. So nothing is compared. Where the check at the end of a deployment finds a store broken,
everything that may be made twice is taken out of the state, and the deployment after it makes it again, whatever is
there now.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolchain import deployment
from toolchain.deployment import Deployment
from toolchain.docker_objects import Objects, output
from toolchain.events import Outcome
from toolchain.say import say
from toolchain.session import Session

if TYPE_CHECKING:
    from docker.models.containers import Container

    from components.front_door_client import Endpoints
    from components.settings import Settings

#: Things whose creation fails when they are there already, and whose id is their name. Everything else that is made
#: inside a server (users, policies, grants) may be made twice.
BUCKET: Final = "minio:index/s3Bucket:S3Bucket"
ROLE: Final = "postgresql:index/role:Role"
DATABASE: Final = "postgresql:index/database:Database"
ONCE: Final = (BUCKET, ROLE, DATABASE)

#: Roles of the stores, and how the types of what is in each begin.
STORES: Final = frozenset({"postgres", "minio"})
_TYPES: Final = {"postgres": "postgresql:", "minio": "minio:"}

#: Seconds that a server may take to accept a connection.
_ANSWERS_WITHIN: Final = 5.0

#: Seconds that PostgreSQL may take to stop, and to start.
_STOPS_WITHIN: Final = 60
_STARTS_WITHIN: Final = 60.0

#: Run by psql in the container, as the container's own user, who needs no password. The owner owns everything again,
#: and the run-time role may use what is there; what comes later is a matter of the default privileges. Connections of a
#: role that was dropped live on in the server's pools, with no right to anything: they end, and the pools make others.
_RIGHTS: Final = r"""
exec psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname="$1" \
    --set=database="$1" --set=owner="$2" --set=runtime="$3" --output=/dev/null <<'SQL'
\set admin `cat /run/mlflow-stack/admin-password`
ALTER ROLE postgres WITH SUPERUSER LOGIN PASSWORD :'admin' VALID UNTIL 'infinity' CONNECTION LIMIT -1;
CREATE TEMPORARY TABLE ours AS SELECT name FROM unnest(ARRAY[:'owner', :'runtime']) AS name WHERE name <> '';
SELECT format('CREATE ROLE %I', name) FROM ours WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
SELECT format('ALTER ROLE %I WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOBYPASSRLS '
    'CONNECTION LIMIT -1 VALID UNTIL ''infinity''', name) FROM ours
\gexec
SELECT format('ALTER ROLE %I RESET ALL', name) FROM ours
\gexec
SELECT format('ALTER DATABASE %I OWNER TO %I', :'database', :'owner') WHERE :'owner' <> ''
\gexec
SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, :'owner') FROM pg_class c
    WHERE :'owner' <> '' AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
    AND pg_get_userbyid(c.relowner) <> :'owner'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE c.relkind = 'S' AND d.objid = c.oid AND d.deptype IN ('a', 'i'))
\gexec
SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %I', :'runtime')
    WHERE :'runtime' <> ''
\gexec
SELECT format('GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO %I', :'runtime') WHERE :'runtime' <> ''
\gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid NOT IN (SELECT oid FROM pg_roles);
SQL
"""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the config has: settings, where the servers are, and every credential."""

    settings: Settings
    endpoints: Endpoints
    secrets: Mapping[str, str] = field(repr=False)


def to_be_set_again(state: Deployment, stores: Collection[str] = STORES) -> Deployment:
    """The state after which a deployment sets everything again that is inside some stores.

    Args:
        state: The state.
        stores: Roles of the stores.
    """
    mine = tuple(_TYPES[store] for store in stores)
    again = [found for found in state.resources if found.type.startswith(mine) and found.type not in ONCE]
    return state.without(again).changed(lambda entry: _password_forgotten(entry, mine))


def _password_forgotten(entry: dict[str, Any], mine: tuple[str, ...]) -> dict[str, Any]:
    """A role whose password the state does not know is given it by the next deployment."""
    if entry["type"] != ROLE or not ROLE.startswith(mine):
        return entry
    for part in ("inputs", "outputs"):
        known: Mapping[str, Any] = entry.get(part) or {}
        entry[part] = {key: value for key, value in known.items() if key != "password"}
    return entry


def adopted(state: Deployment, entries: list[Mapping[str, Any]]) -> Deployment:
    """The state with resources of the kinds in `ONCE` that are there though it does not know them.

    What the server says of them is for a refresh to fill in, which also drops what is not there after all.
    """
    present = {found.urn for found in state.resources}
    resources: list[Mapping[str, Any]] = list(state.raw.get("resources") or [])
    for entry in entries:
        if entry["urn"] not in present:
            name = _name(entry)
            resources.append({**entry, "id": name, "outputs": {**(entry.get("inputs") or {}), "id": name}})
    return Deployment({**state.raw, "resources": resources})


def _name(entry: Mapping[str, Any]) -> str:
    """What a bucket, a role or a database is called: the id of all three."""
    inputs: Mapping[str, Any] = entry.get("inputs") or {}
    return str(inputs.get("bucket") or inputs.get("name") or "")


def refresh(session: Session, urns: list[str]) -> None:
    """Have Pulumi look at some resources, and at no others."""
    if not urns:
        return
    targets = [argument for urn in urns for argument in ("--target", urn)]
    session.ask("refresh", "--yes", "--skip-preview", "--stack", session.stack, *targets)


def mend(session: Session, objects: Objects, outcome: Outcome) -> bool:
    """After a deployment that failed: see what was changed inside the servers, and have the next one set it again.

    Args:
        session: The stack.
        objects: What there is of it now.
        outcome: What the deployment did.

    Returns:
        Whether another deployment may do better.
    """
    state = deployment.load(session)
    existing = [entry for entry in outcome.not_created if entry["type"] in ONCE]
    broken: list[str] = []
    if _was_complete(state):
        known = _known(session)
        broken = _broken(known, [store for store in sorted(STORES) if _answers(known, objects, store)])
        for store in broken:
            say(f"  {store}: changed from outside; putting that in order, then once more:")
            state = _MENDS[store](known, objects, to_be_set_again(state, {store}))
    if not existing and not broken:
        return False
    if existing:
        say(f"  there, though the state did not know: {', '.join(map(_name, existing))}: taken over, then once more:")
        state = adopted(state, existing)
    deployment.store(session, state)
    refresh(session, [str(entry["urn"]) for entry in existing])
    return True


def _broken(known: _Known, answering: Collection[str]) -> list[str]:
    """The stores that answer and do not work."""
    from components import logins, verification  # noqa: PLC0415 - imports the SDK

    failures = verification.failing_stores(known.settings, known.endpoints, known.secrets) if answering else {}
    for name, reason in failures.items():
        say(f"  {name}: {reason}")
    return [
        store
        for store, names in (
            ("postgres", {verification.BACKEND_STORE, *logins.POSTGRES_ROLES}),
            ("minio", {verification.ARTIFACT_STORE, *logins.MINIO_USERS}),
        )
        if store in answering and names & set(failures)
    ]


def _was_complete(state: Deployment) -> bool:
    """Whether the stack was up at least once: before that nothing can have been changed from outside."""
    entries: list[Mapping[str, Any]] = list(state.raw.get("resources") or [])
    return any(entry["type"] == "pulumi:pulumi:Stack" and entry.get("outputs") for entry in entries)


def _answers(known: _Known, objects: Objects, store: str) -> bool:
    """Whether it runs, and can be reached from here."""
    container, ends = objects.container(store), known.endpoints
    if container is None or container.status != "running":
        return False
    host, _, port = ends.minio.rpartition(":") if store == "minio" else (ends.postgres_host, "", ends.postgres_port)
    try:
        socket.create_connection((host, int(port)), _ANSWERS_WITHIN).close()
    except OSError:
        return False
    return True


def _known(session: Session) -> _Known:
    from components.front_door import FrontDoor  # noqa: PLC0415 - slow to import
    from components.front_door_client import Endpoints  # noqa: PLC0415
    from components.naming import Naming  # noqa: PLC0415
    from components.settings import SECRET_KEYS, load  # noqa: PLC0415

    config = session.config(secrets=True)
    values = {key: str(entry.get("value", "")) for key, entry in config.items()}
    settings = load(values, encrypted={key for key, entry in config.items() if entry.get("secret")})
    secrets = {key: values[key] for key in SECRET_KEYS if values.get(key)}
    return _Known(settings, Endpoints.of(FrontDoor(settings, Naming(session.name))), secrets)


def _mend_postgres(known: _Known, objects: Objects, state: Deployment) -> Deployment:
    """Roles, owners and rights to what is there; the rest is for the deployment."""
    from components.naming import POSTGRES_OWNER, POSTGRES_RUNTIME  # noqa: PLC0415 - slow to import

    database, server = known.settings.database_name, objects.container("postgres")
    listed = _databases(server)
    if listed is None and server is not None:
        server.restart(timeout=_STOPS_WITHIN)  # it sets its superuser at each start
        listed = _until(lambda: _databases(server))
    if listed is not None and database not in listed:
        say(f"    database {database} is gone, and every run with it: an empty one is made")
        state = state.without([found for found in state.resources if found.type == DATABASE])
        return _migrated_again(objects, state)
    in_state = {found.name for found in state.of_type(ROLE)}
    roles = [role if role in in_state else "" for role in (POSTGRES_OWNER, POSTGRES_RUNTIME)]
    if output(server, ["sh", "-c", _RIGHTS, "sh", database, *roles], user="postgres") is None:
        say("    the rights could not be set: make logs ROLE=postgres tells more")
    else:
        say("    roles, owners and rights are as they should be; passwords and grants follow")
    return state


def _databases(server: Container | None) -> list[str] | None:
    command = ["psql", "--no-psqlrc", "-U", "postgres", "-d", "postgres", "-tAc", "SELECT datname FROM pg_database"]
    listed = output(server, command, user="postgres")
    return None if listed is None else listed.splitlines()


def _until(ask: Callable[[], list[str] | None]) -> list[str] | None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while (found := ask()) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _migrated_again(objects: Objects, state: Deployment) -> Deployment:
    job = objects.container("migration")
    if job is not None:
        job.remove(force=True)
    return state.without([found for found in state.of_type(deployment.CONTAINER) if job and found.id == job.id])


def _mend_minio(known: _Known, objects: Objects, state: Deployment) -> Deployment:
    """The bucket belongs to nobody but its users; these are for the deployment."""
    from minio import S3Error  # noqa: PLC0415 - imported where it is needed alone
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it

    from components import logins  # noqa: PLC0415
    from components.naming import MINIO_ROOT  # noqa: PLC0415

    del objects
    bucket = known.settings.bucket_name
    client = logins.minio(known.endpoints, MINIO_ROOT, known.secrets["minioRootPassword"])
    try:
        if not client.bucket_exists(bucket):
            say(f"    bucket {bucket} is gone, and every artifact with it: an empty one is made")
            return state.without([found for found in state.resources if found.type == BUCKET])
        client.delete_bucket_policy(bucket)
    except (S3Error, HTTPError) as error:
        say(f"    MinIO, asked as root: {error}")
    say("    users and policies are made again")
    return state


_MENDS: Final = {"postgres": _mend_postgres, "minio": _mend_minio}
