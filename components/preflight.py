"""What can be known to go wrong before the first object is made, asked of the Docker host.

Pulumi finds a taken port or a missing image half-way, with some containers made. Everything here only looks.
"""

from __future__ import annotations

import errno
import json
import shutil
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.alias_generators import to_camel, to_snake

from components import backup_place, docker_client, in_use
from components.backup import BACKUP_UID
from components.builds import PROJECT_DIR, BaseImages, Build, base_images, minio_build, mlflow_build
from components.errors import Refusal
from components.in_use_memory import LOCAL, Memory
from components.naming import Naming, Role
from components.problem import Problem
from components.settings import (
    DEFAULT_MLFLOW_VERSION,
    ENCRYPTING_KEYS,
    OLD,
    PROJECT,
    SECRET_KEYS,
    Settings,
)
from components.upgrade.found import Found, look
from components.upgrade.minio import refuse_earlier
from components.upgrade.plan import Plan, decide

if TYPE_CHECKING:
    from docker import DockerClient

#: Free space in bytes that an image needs at the peak of its build, by its name, and that a stack needs to start.
_BUILD_BYTES = {"mlflow": 2560 * 1024**2, "minio": 3584 * 1024**2}
_START_BYTES = 512 * 1024**2

#: Seconds that the Docker host may take for one answer, a look at a registry among them.
_TIMEOUT = 20

FIRST_ATTEMPT = "1"


@dataclass(frozen=True, slots=True)
class Checked:
    """What the look at the Docker host told.

    Attributes:
        migration_attempt: Names the attempt of the migration job.
        upgrade: What is to be done about versions.
        replaced: Credential → the value that it had until now, and must not be of use any more.
        gone: Names of containers of stores that are not there, though their data is.
    """

    migration_attempt: str = FIRST_ATTEMPT
    upgrade: Plan = field(default_factory=Plan)
    replaced: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    gone: tuple[str, ...] = ()


def connect(timeout: int = _TIMEOUT) -> DockerClient:
    """A client of the Docker host that `DOCKER_HOST` names, else of the one on this machine.

    Args:
        timeout: Seconds that it may take for an answer.

    Raises:
        Refusal: Nobody answers there, or the socket may not be used.
    """
    from docker.errors import DockerException  # noqa: PLC0415 - slow to import; a unit test of the program does without

    try:
        return docker_client.connect(timeout)
    except DockerException as error:
        raise Refusal([_no_docker(str(error))]) from None


def _no_docker(error: str) -> Problem:
    if "Permission denied" in error or "PermissionError" in error:
        return Problem(
            "docker",
            "no rights on the socket",
            "this user may not talk to the Docker daemon",
            "sudo usermod -aG docker $USER, then log in again",
        )
    return Problem(
        "docker", "not running", "no Docker daemon answers; the stack runs on one", "make up, which starts it"
    )


def check(
    settings: Settings,
    naming: Naming,
    client: DockerClient,
    plain: Mapping[str, str],
    *,
    dry_run: bool = False,
) -> Checked:
    """Look for everything that would stop a deployment half-way.

    Args:
        settings: The stack's settings.
        naming: The stack's names.
        client: The Docker host.
        plain: Every credential of the config, and those of a rotation at work, by key.
        dry_run: A preview: what only matters to a deployment (free disk space) is left out.

    Raises:
        Refusal: Something would; it names everything found.
    """
    with ThreadPoolExecutor(2) as beside:  # each may take as long for its answer as all the rest
        looked = beside.submit(look, naming, client, settings.database_name, plain.get("postgresAdminPassword"))
        read = beside.submit(_used, naming, client, plain, dry_run=dry_run)
        info: dict[str, Any] = client.info()
        bases = base_images(settings)
        missing = _missing(settings, bases, client)
        attempt, gone = migration_attempt(naming, client), _gone(naming, client)
        problems = [
            *_version(settings),
            *_certificate(settings),
            *_backup_target(settings, client),
            *_fixed_settings(settings, naming, client),
            *_memory(settings, info),
            *_ports(settings, naming, client),
            *_images(settings, bases, missing, client),
            *refuse_earlier(settings.minio_image, naming, client),
            *([] if dry_run else _disk(missing, client, info)),
        ]
    used = read.result()
    plan, unwise = decide(settings, looked.result(), bases.postgres, client)
    problems += [*_encrypting_keys(plain, used), *_object_encryption(settings, plain, used), *unwise]
    problems += [] if dry_run else _restore(naming, looked.result())
    if problems:
        raise Refusal(problems)
    replaced = {key: value for key, value in used.items() if value != plain.get(key)}
    replaced |= {key: plain[f"{key}{OLD}"] for key in SECRET_KEYS if f"{key}{OLD}" in plain}
    return Checked(attempt, plan, replaced, gone)


def _used(naming: Naming, client: DockerClient, plain: Mapping[str, str], *, dry_run: bool) -> Mapping[str, str]:
    """The credentials that are in use; a preview compares the keys that encrypt, and no more: it replaces nothing."""
    memory = Memory.of(naming, client, plain)
    if (used := memory.recall()) is not None:
        return used
    if dry_run:
        return in_use.credentials(naming, client, in_use.that_encrypt(naming, client))
    used = in_use.credentials(naming, client)
    memory.keep(used)
    return used


def _encrypting_keys(plain: Mapping[str, str], used: Mapping[str, str]) -> list[Problem]:
    """What is encrypted with a key can be read with that key only, until it is encrypted anew."""
    wrong = "is another one than is in use, and what MLflow keeps encrypted could not be read with it"
    return [
        Problem(key, "(hidden)", wrong, f"make rotate NAME={key}, which encrypts it anew")
        for key in ENCRYPTING_KEYS
        if key in used and used[key] not in (plain.get(key), plain.get(f"{key}{OLD}"))
    ]


def _restore(naming: Naming, found: Found) -> list[Problem]:
    """Who was to bring another database was cut off: the toolchain asks PostgreSQL first whose keys it wants.

    See `toolchain.backup.underway`. Where PostgreSQL does not answer, a deployment has to bring it before.
    """
    try:
        begun = json.loads((LOCAL / f"restore-{naming.stack}").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not (found.answers and begun["mark"]):
        return []
    wrong = "is at work, or was cut off before it was known whose keys the database is encrypted with"
    return [Problem("restore", str(begun["set"]), wrong, "make up, or make restore, again")]


def _object_encryption(settings: Settings, plain: Mapping[str, str], used: Mapping[str, str]) -> list[Problem]:
    """What MinIO has encrypted it reads with the very same key alone, so neither key nor encryption may go."""
    if "objectKey" not in used:
        return []
    problems: list[Problem] = []
    if not settings.object_encryption:
        wrong = "objects are encrypted, and could not be read any more"
        problems.append(Problem("objectEncryption", "false", wrong, "pulumi config set objectEncryption true"))
    if used["objectKey"] != plain.get("objectKey"):
        wrong = "is another one than objects are encrypted with, and they could not be read any more"
        mend = "put the value before back; pulumi stack output credentials --show-secrets has it"
        problems.append(Problem("objectKey", "(hidden)", wrong, mend))
    return problems


def _backup_target(settings: Settings, client: DockerClient) -> list[Problem]:
    """Where backups go: a folder that is there and may be written by their container, or an S3's profile."""
    target = settings.backup_target
    if target is None:
        return []
    if settings.backup_s3_file is not None:
        try:
            backup_place.s3(target, Path(settings.backup_s3_file))
        except ValueError as error:
            mend = "pulumi config set backupS3File /path/to/profile"
            return [Problem("backupS3File", settings.backup_s3_file, str(error), mend)]
    elif client.api.base_url.startswith("http+docker://"):  # the folders of another machine we can't see
        return _backup_folder(target)
    return []


def _backup_folder(target: str) -> list[Problem]:
    mend = f"sudo install -d -m 0700 -o {BACKUP_UID} -g {BACKUP_UID} {target}"
    try:
        found = Path(target).stat()
    except OSError:
        return [Problem("backupTarget", target, "there is no such folder on the Docker host", mend)]
    if found.st_uid != BACKUP_UID and not found.st_mode & 0o002:
        wrong = f"user {BACKUP_UID}, who makes the backups, may not write there"
        return [Problem("backupTarget", target, wrong, mend)]
    return []


def _certificate(settings: Settings) -> list[Problem]:
    """The files of a certificate that the user brings: there, readable, and one fits the other."""
    problems: list[Problem] = []
    for name in ("tls_cert_file", "tls_key_file", "acme_ca_file"):
        path, key = getattr(settings, name), to_camel(name)
        if path is None:
            continue
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no text"
            problems.append(
                Problem(key, path, f"can't be read: {reason}", f"pulumi config set {key} /path/to/file.pem")
            )
        else:
            if "-----BEGIN " not in text:
                wrong = "holds no PEM block (-----BEGIN …)"
                problems.append(Problem(key, path, wrong, f"pulumi config set {key} /path/to/file.pem"))
    if problems or settings.tls_cert_file is None or settings.tls_key_file is None:
        return problems
    try:
        # An empty passphrase is refused by an encrypted key, where none would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            settings.tls_cert_file, settings.tls_key_file, lambda: b""
        )
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        wrong = f"is not the key of the certificate in {settings.tls_cert_file}, or is encrypted ({reason})"
        problems.append(
            Problem("tlsKeyFile", settings.tls_key_file, wrong, "pulumi config set tlsKeyFile /path/to/key.pem")
        )
    return problems


def migration_attempt(naming: Naming, client: DockerClient) -> str:
    """Name the attempt of the migration: the last one's when it succeeded, else a new one.

    The Docker provider has no notion of a job that failed, so the state cannot tell. The job's container can: it
    is there with its exit code. A new name changes the container's labels, so that the job is made again.
    """
    for container in client.containers.list(all=True, filters={"name": f"^/{naming.container('migration')}$"}):
        state: dict[str, Any] = container.attrs["State"]
        if state["Status"] == "exited" and state["ExitCode"] == 0:
            return str(container.labels.get(f"{PROJECT}.attempt", FIRST_ATTEMPT))
        return str(container.short_id)
    return FIRST_ATTEMPT


def _gone(naming: Naming, client: DockerClient) -> tuple[str, ...]:
    """Stores whose container was removed by hand, or half replaced: Pulumi alone may not find out of that."""
    volumes = {str(volume["Name"]) for volume in client.api.volumes().get("Volumes") or []}
    names = {name.lstrip("/") for container in client.api.containers(all=True) for name in container["Names"] or []}
    stores: tuple[Role, ...] = ("postgres", "minio")
    return tuple(
        naming.container(role)
        for role in stores
        if naming.data_volume(role) in volumes and naming.container(role) not in names
    )


def published_ports(settings: Settings) -> list[tuple[str, str, int]]:
    """Setting, address and port of everything that the stack publishes."""
    api_address = settings.bind_address if settings.artifact_access == "direct" else "127.0.0.1"
    return [
        ("mlflowPort", settings.bind_address, settings.mlflow_port),
        ("minioApiPort", api_address, settings.minio_api_port),
        ("minioConsolePort", "127.0.0.1", settings.minio_console_port),
        ("postgresPort", "127.0.0.1", settings.postgres_port),
    ]


def _fixed_settings(settings: Settings, naming: Naming, client: DockerClient) -> list[Problem]:
    """A bucket or a database is never renamed or replaced: the volume's labels say how it was named."""
    problems: list[Problem] = []
    for key, name, label, value in (
        ("bucketName", naming.data_volume("minio"), "bucket", settings.bucket_name),
        ("databaseName", naming.data_volume("postgres"), "database", settings.database_name),
    ):
        for volume in client.volumes.list(filters={"name": name}):
            labels: dict[str, str] = volume.attrs.get("Labels") or {}
            if volume.name != name:
                continue
            if labels.get(f"{PROJECT}.stack") != naming.stack:
                wrong = "a volume of this name is there that no stack of this program made; its data stays untouched"
                problems.append(
                    Problem("volume", name, wrong, f"docker volume inspect {name}, then rename or remove it")
                )
            elif labels.get(f"{PROJECT}.{label}", value) != value:
                was = labels[f"{PROJECT}.{label}"]
                wrong = f"is fixed once the stack is up: the data is under {was!r}"
                problems.append(Problem(key, value, wrong, f"pulumi config set {key} {was}"))
    return problems


def _version(settings: Settings) -> list[Problem]:
    """The image takes every byte from a lock file, so a version without one cannot be built."""
    locks = PROJECT_DIR / "images" / "mlflow" / "locks"
    versions = sorted(path.stem.removeprefix("mlflow-") for path in locks.glob("mlflow-*.txt"))
    if settings.mlflow_version in versions:
        return []
    wrong = f"images/mlflow/locks has lock files of {', '.join(versions)} only"
    return [
        Problem(
            "mlflowVersion",
            settings.mlflow_version,
            wrong,
            f"pulumi config set mlflowVersion {DEFAULT_MLFLOW_VERSION}, or python3 images/mlflow/lock.py "
            f"{settings.mlflow_version}",
        )
    ]


def _memory(settings: Settings, info: dict[str, Any]) -> list[Problem]:
    total_mb = int(info["MemTotal"]) // 1024**2
    if settings.server_memory_limit_mb <= total_mb:
        return []
    wrong = f"the Docker host has {total_mb} MiB of memory"
    return [Problem("serverMemoryMb", str(settings.server_memory_limit_mb), wrong, "pulumi config set workers 1")]


def _ports(settings: Settings, naming: Naming, client: DockerClient) -> list[Problem]:
    holders = _holders(client)
    local = client.api.base_url.startswith("http+docker://")
    problems: list[Problem] = []
    for key, address, port in published_ports(settings):
        holder = next((name for name in holders.get(port, {}) if _overlaps(address, holders[port][name][0])), None)
        if holder is not None:
            if holders[port][holder][1] == naming.stack:
                continue
            problems.append(_taken(key, address, port, f"the container {holder}"))
        elif local and (error := _bind(address, port)) not in (
            None,
            errno.EACCES,
        ):  # the daemon may take what we may not
            if error == errno.EADDRNOTAVAIL:
                wrong = "is no address of this machine"
                problems.append(Problem("bindAddress", address, wrong, "pulumi config set bindAddress 127.0.0.1"))
            else:
                problems.append(_taken(key, address, port, "another process"))
    return problems


def _taken(key: str, address: str, port: int, holder: str) -> Problem:
    wrong = f"{holder} holds this port on {address}"
    return Problem(key, str(port), wrong, f"pulumi config set {key} {_free_port(address, port)}")


def _holders(client: DockerClient) -> dict[int, dict[str, tuple[str, str | None]]]:
    """Published ports of running containers: port → container name → address and the stack it is part of."""
    held: dict[int, dict[str, tuple[str, str | None]]] = {}
    for container in client.api.containers():
        labels: dict[str, str] = container.get("Labels") or {}
        for published in container.get("Ports") or []:
            if "PublicPort" in published:
                name = str(container["Names"][0]).lstrip("/")
                entry = (str(published.get("IP", "0.0.0.0")), labels.get(f"{PROJECT}.stack"))  # noqa: S104 - compared
                held.setdefault(int(published["PublicPort"]), {})[name] = entry
    return held


def _overlaps(one: str, other: str) -> bool:
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    return one == other or one in everywhere or other in everywhere


def _bind(address: str, port: int) -> int | None:
    """The error number with which a listener would fail there, or None."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            return error.errno
    return None


def _free_port(address: str, taken: int) -> int:
    """The next port that nobody holds: a mend should work."""
    return next((port for port in range(taken + 1, 65536) if _bind(address, port) is None), taken)


def _missing(settings: Settings, bases: BaseImages, client: DockerClient) -> list[Build]:
    """The images that are to be built."""
    builds = [mlflow_build(settings, bases), *([] if settings.minio_image else [minio_build(bases)])]
    return [build for build in builds if not _present(build.reference, client)]


def _images(settings: Settings, bases: BaseImages, missing: Sequence[Build], client: DockerClient) -> list[Problem]:
    wanted = [("postgresImage", bases.postgres), ("gatewayImage", bases.gateway)]
    if settings.minio_image:
        wanted.append(("minioImage", settings.minio_image))
    from_base = {
        "minio": [("minioImage", bases.golang), ("minioImage", bases.debian)],
        "mlflow": [("pythonImage", bases.python)],
    }
    wanted += [base for build in missing for base in from_base[build.name]]
    return [
        problem
        for key, reference in wanted
        if not _present(reference, client) and (problem := _cannot_be_had(key, reference, settings, client))
    ]


def _present(reference: str, client: DockerClient) -> bool:
    from docker.errors import ImageNotFound  # noqa: PLC0415 - see connect()

    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def _cannot_be_had(key: str, reference: str, settings: Settings, client: DockerClient) -> Problem | None:
    import requests  # noqa: PLC0415 - comes with docker-py, which is slow to import
    from docker.errors import DockerException  # noqa: PLC0415

    local = reference.startswith("local/")
    if not local:
        try:
            client.images.get_registry_data(reference)
        except (DockerException, requests.RequestException):
            pass
        else:
            return None
    wrong = "is not on the Docker host" + ("" if local else ", and its registry does not give it")
    chosen = getattr(settings, to_snake(key)) == reference
    mend = f"pulumi config rm {key}" if chosen else "make up" if local else "make up IMAGES=packages"
    return Problem(key, reference, wrong, mend)


def _disk(missing: Sequence[Build], client: DockerClient, info: dict[str, Any]) -> list[Problem]:
    root = Path(str(info["DockerRootDir"]))
    if not client.api.base_url.startswith("http+docker://") or not root.exists():
        return []  # the daemon's disk is not this machine's
    building = sum(_BUILD_BYTES[build.name] for build in missing)  # at the same time
    needed = max(building, _START_BYTES)
    free = shutil.disk_usage(root).free
    if free >= needed:
        return []
    purpose = "building the images" if building else "starting the stack"
    wrong = f"{purpose} takes {needed / 1024**3:.1f} GiB"
    return [Problem("disk", f"{free / 1024**3:.1f} GiB free in {root}", wrong, "docker image prune, or a larger disk")]
