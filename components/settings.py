"""Every key a user can set: its type, default, limits and meaning, in one place.

`Pulumi.yaml` declares the same keys for the engine, and a test holds the two together. There every key has the
type `string`: the engine checks that block before this program runs, and a narrower type would let its words
("must be of type 'integer'") stand in for the lines below, which name the limit and the mend.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import ErrorDetails, PydanticCustomError

from components import cron
from components.problem import InvalidConfigError, Problem

PROJECT = "mlflow-stack"

#: MLflow versions that `images/mlflow/locks` holds a lock file for.
DEFAULT_MLFLOW_VERSION = "3.17.2"

#: PostgreSQL serves this many connections at most. It is fixed, so that a change of `workers` restarts the
#: tracking server alone; the pools of the workers share what `CONNECTION_RESERVE` leaves.
MAX_CONNECTIONS = 200
#: Connections kept for the migration job, the provider, the health check, a backup and a person with psql.
CONNECTION_RESERVE = 24
#: SQLAlchemy engines a worker may hold at once: the tracking store's and the model registry's; that of the users comes
#: on top with `auth: basic`.
ENGINES_PER_WORKER = 2

#: From this version on MLflow's users may share a database with its runs: they have a version table of their own, and
#: the server can be told to deny what no rule allows.
OLDEST_WITH_AUTH = (3, 17, 0)

#: The first of our lock files whose image holds what reads a schedule.
OLDEST_WITH_SCHEDULES = (3, 10, 0)

#: Memory a tracking server needs, in MiB: what is shared by all workers, and what each adds under load.
SERVER_BASE_MB = 512
SERVER_WORKER_MB = 192
#: MLflow's job runner starts a consumer process a job type; measured with `make bench`.
JOB_RUNNER_MB = 1536

MIN_SECRET_LENGTH = 16
MAX_SECRET_LENGTH = 128
#: The stack to try things on: its data is protected only when asked for.
UNPROTECTED_STACK = "dev"

#: Length of MinIO's key before it is encoded (MinIO's documentation of MINIO_KMS_SECRET_KEY).
OBJECT_KEY_BYTES = 32
#: Length of a Fernet key before it is encoded (Fernet's specification).
FERNET_KEY_BYTES = 32


def _loopback_or_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise PydanticCustomError("address", "must be an IP address, such as 127.0.0.1 or 0.0.0.0") from None


def _image(value: str | None) -> str | None:
    if value is not None and re.search(r"\s", value):
        raise PydanticCustomError("image", "must be an image reference without spaces, such as NAME:TAG")
    return value


def _bucket_name(value: str) -> str:
    if ".." in value or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value):
        raise PydanticCustomError("bucket", "must not hold '..' or look like an IP address")
    return value


def _age(value: str) -> str:
    if re.fullmatch(r"(?=\d)(\d{1,5}d)?(\d{1,5}h)?(\d{1,5}m)?(\d{1,6}s)?", value) is None:
        raise PydanticCustomError("age", "must be days, hours, minutes or seconds, such as 30d or 1d12h")
    return value


def _schedule(value: str | None) -> str | None:
    wrong = cron.problem(value) if value is not None else None
    if wrong is not None:
        raise PydanticCustomError("schedule", "{wrong}", {"wrong": wrong})
    return value


Port = Annotated[int, Field(ge=1024, le=65535)]
#: The Docker daemon publishes it, so it may be one of those that only root may take.
FrontPort = Annotated[int, Field(ge=1, le=65535)]
File = Annotated[str | None, Field(max_length=4096)]
Age = Annotated[str, Field(max_length=32), AfterValidator(_age)]
Schedule = Annotated[str | None, Field(max_length=256), AfterValidator(_schedule)]
Image = Annotated[str | None, Field(max_length=512), AfterValidator(_image)]


class Settings(BaseModel):
    """What a user can change by `pulumi config set KEY VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    mlflow_port: FrontPort = Field(
        5001,
        description="Port of the front door: UI, API and artifacts of MLflow, on `bindAddress`. With `tls: acme` the "
        "authority connects to port 443 of `publicHost`, which must lead here.",
    )
    minio_api_port: Port = Field(
        9000,
        description="Port of MinIO's S3 API: on 127.0.0.1, and on `bindAddress` with `artifactAccess: direct`.",
    )
    minio_console_port: Port = Field(9001, description="Port of MinIO's console, on 127.0.0.1.")
    postgres_port: Port = Field(
        15432, description="Port of PostgreSQL, on 127.0.0.1; the PostgreSQL provider needs it."
    )
    bind_address: Annotated[str, AfterValidator(_loopback_or_address)] = Field(
        "127.0.0.1", description="Address of this host that the front door listens on."
    )
    allow_insecure_public_bind: bool = Field(
        False,
        description="Let `bindAddress` be other than loopback without `auth` or without `tls`, although everybody who "
        "reaches the port can then read and change every run, or read passwords on the way.",
    )
    public_host: str | None = Field(
        None,
        max_length=253,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$",
        description="Host name under which clients reach the front door, beside localhost and private addresses; "
        "MLflow answers 403 to any other name.",
    )
    auth: Literal["none", "basic"] = Field(
        "none",
        description="`basic`: MLflow's own users, passwords and permissions, kept in the backend store; the first user "
        "is `admin`. Everything but `/health` then wants a login.",
    )
    default_permission: Literal["NO_PERMISSIONS", "READ", "USE", "EDIT", "MANAGE"] = Field(
        "NO_PERMISSIONS",
        description="With `auth: basic`, what a user may do with what others made, unless granted otherwise.",
    )
    allow_artifacts_past_auth: bool = Field(
        False,
        description="Let `artifactAccess: direct` go together with `auth: basic`, although every client then holds a "
        "key to all artifacts, whatever it may do with the experiments they belong to.",
    )
    tls: Literal["off", "internal", "files", "acme"] = Field(
        "off",
        description="HTTPS at the front door, as `publicHost`. `internal`: by a certificate authority of the stack's "
        "own (`make ca` prints it); `files`: by `tlsCertFile` and `tlsKeyFile`; `acme`: by a certificate that the "
        "gateway gets and renews by itself.",
    )
    tls_cert_file: File = Field(
        None, description="With `tls: files`: the certificate and its chain, as PEM, on the machine that runs `up`."
    )
    tls_key_file: File = Field(None, description="With `tls: files`: its private key, as PEM without a passphrase.")
    acme_directory: str | None = Field(
        None,
        max_length=2048,
        pattern=r"^https://[^\s]+$",
        description="With `tls: acme`: the authority's directory; unset: Let's Encrypt.",
    )
    acme_ca_file: File = Field(
        None,
        description="With `acmeDirectory`: the root certificate (PEM) that the authority's own HTTPS is signed by.",
    )
    workers: int = Field(4, ge=1, le=32, description="Worker processes of the tracking server.")
    job_runner: bool = Field(
        False,
        description="Run MLflow's job runner (online scoring and other background jobs of the UI); costs about "
        f"{JOB_RUNNER_MB} MiB of memory.",
    )
    server_memory_mb: int | None = Field(
        None,
        ge=256,
        le=1048576,
        description="Memory limit of the tracking server in MiB; unset: "
        f"{SERVER_BASE_MB} + {SERVER_WORKER_MB} a worker, + {JOB_RUNNER_MB} with `jobRunner`.",
    )
    mlflow_version: str = Field(
        DEFAULT_MLFLOW_VERSION,
        pattern=r"^\d+\.\d+\.\d+$",
        description="MLflow version in the image; a lock file of that version must stand in `images/mlflow/locks`.",
    )
    postgres_image: Image = Field(
        None, description="Image of PostgreSQL 18; unset: the pinned one that this machine can have."
    )
    minio_image: Image = Field(None, description="Image of MinIO; unset: built from source in `images/minio`.")
    gateway_image: Image = Field(
        None, description="Image with Caddy 2; unset: the pinned one that this machine can have."
    )
    python_image: Image = Field(
        None,
        description="Base image with Python 3.11 for the MLflow image; unset: the pinned one that this machine "
        "can have.",
    )
    bucket_name: Annotated[str, AfterValidator(_bucket_name)] = Field(
        "mlflow",
        min_length=3,
        max_length=63,
        pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
        description="Bucket of the artifact store; fixed once the stack is up.",
    )
    database_name: str = Field(
        "mlflow",
        min_length=1,
        max_length=63,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Database of the backend store; fixed once the stack is up.",
    )
    bucket_versioning: bool = Field(
        False,
        description="Keep what is overwritten or deleted in the bucket as old versions, for `bucketVersionDays`. "
        "Switched off, what is there stays, old versions too.",
    )
    bucket_version_days: int = Field(
        30, ge=1, le=3650, description="With `bucketVersioning`: days after which an old version is removed for good."
    )
    artifact_access: Literal["proxied", "direct"] = Field(
        "proxied",
        description="`proxied`: clients need the front door only. `direct`: clients talk to MinIO with a key.",
    )

    object_encryption: bool = Field(
        False,
        description="Have MinIO encrypt every new object, and its users, with `objectKey`. Once on it stays on: "
        "without the key nothing of it can be read.",
    )
    gc_schedule: Schedule = Field(
        None,
        description="When what was deleted longer ago than `gcOlderThan` is removed for good: five fields of cron, "
        "UTC, such as `30 3 * * 0`; unset: only by `make gc`.",
    )
    gc_older_than: Age = Field(
        "30d",
        description="With `gcSchedule`: how long something deleted can still be restored, such as `30d` or `1d12h`.",
    )
    backup_target: str | None = Field(
        None,
        max_length=1024,
        pattern=r"^(/\S+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?)$",
        description="Where backups go by themselves: a folder of the Docker host that user 10004 may write to, or "
        "`s3://BUCKET/PREFIX` with `backupS3File`; unset: `make backup` alone makes them.",
    )
    backup_s3_file: File = Field(
        None, description="With a `backupTarget` in an S3: a file with an AWS profile, on the machine that runs `up`."
    )
    backup_schedule: Annotated[str, AfterValidator(_schedule)] = Field(
        "0 3 * * *",
        max_length=100,
        description="With `backupTarget`: when, as cron says it (minute, hour, day, month, weekday), in UTC.",
    )
    backup_keep: int = Field(
        7, ge=1, le=1000, description="With `backupTarget`: how many backups stay; older ones are removed."
    )
    data_protection: bool | None = Field(
        None,
        description="Refuse to destroy or replace what holds data (volumes, database, bucket), until this is `false` "
        "and an `up` has run; unset: `true`, but for the stack `dev`.",
    )

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        ports: dict[int, str] = {}
        for key in ("mlflowPort", "minioApiPort", "minioConsolePort", "postgresPort"):
            port: int = getattr(self, to_snake(key))
            if port in ports:
                raise PydanticCustomError(
                    "together", "must differ from {other}", {"key": key, "value": port, "other": ports[port]}
                )
            ports[port] = key
        if self.server_memory_mb is not None and self.server_memory_mb < self.least_server_memory_mb:
            raise PydanticCustomError(
                "together",
                "{workers} workers need at least {least} MiB",
                {
                    "key": "serverMemoryMb",
                    "value": self.server_memory_mb,
                    "workers": self.workers,
                    "least": self.least_server_memory_mb,
                    "example": self.least_server_memory_mb,
                },
            )
        self._check_exposure()
        self._check_tls()
        self._check_backup()
        if self.gc_schedule is not None and version_numbers(self.mlflow_version) < OLDEST_WITH_SCHEDULES:
            raise PydanticCustomError(
                "together",
                "needs MLflow {oldest} or newer, and mlflowVersion is {version}",
                {
                    "key": "gcSchedule",
                    "value": self.gc_schedule,
                    "oldest": ".".join(map(str, OLDEST_WITH_SCHEDULES)),
                    "version": self.mlflow_version,
                    "mend": "pulumi config rm gcSchedule, and make gc now and then",
                },
            )
        if self.database_name in {"postgres", "template0", "template1"}:
            raise PydanticCustomError(
                "together",
                "is one of PostgreSQL's own databases",
                {"key": "databaseName", "value": self.database_name, "example": "mlflow"},
            )
        return self

    def _check_exposure(self) -> None:
        public = not ipaddress.ip_address(self.bind_address).is_loopback
        if public and not (self.is_safe_in_public or self.allow_insecure_public_bind):
            raise PydanticCustomError(
                "together",
                "every machine that reaches this address could read and change every run; only a loopback "
                "address is allowed unless auth is basic, tls is on and artifactAccess is proxied, or "
                "allowInsecurePublicBind is true",
                {"key": "bindAddress", "value": self.bind_address, "example": "127.0.0.1"},
            )
        if self.auth == "basic" and self.artifact_access == "direct" and not self.allow_artifacts_past_auth:
            raise PydanticCustomError(
                "together",
                "every client would hold a key to all artifacts, past the permissions of auth: basic; only proxied is "
                "allowed with it unless allowArtifactsPastAuth is true",
                {"key": "artifactAccess", "value": self.artifact_access, "example": "proxied"},
            )
        if self.auth == "basic" and version_numbers(self.mlflow_version) < OLDEST_WITH_AUTH:
            raise PydanticCustomError(
                "together",
                "keeps its users beside the runs only from MLflow {oldest} on, and mlflowVersion is {version}",
                {
                    "key": "auth",
                    "value": self.auth,
                    "oldest": ".".join(map(str, OLDEST_WITH_AUTH)),
                    "version": self.mlflow_version,
                    "example": "none",
                },
            )

    def _check_tls(self) -> None:
        if self.tls != "off" and self.public_host is None:
            raise PydanticCustomError(
                "together",
                "a certificate is for a name, and publicHost is not set",
                {"key": "tls", "value": self.tls, "mend": "pulumi config set publicHost NAME"},
            )
        for name, mode, needed in (
            ("tls_cert_file", "files", True),
            ("tls_key_file", "files", True),
            ("acme_directory", "acme", False),
            ("acme_ca_file", "acme", False),
        ):
            key, value = to_camel(name), getattr(self, name)
            if value is None and needed and self.tls == mode:
                raise PydanticCustomError(
                    "together",
                    "this key is needed with tls: {mode}",
                    {
                        "key": key,
                        "value": "(not set)",
                        "mode": mode,
                        "mend": f"pulumi config set {key} /path/to/file.pem",
                    },
                )
            if value is not None and self.tls != mode:
                raise PydanticCustomError(
                    "together",
                    "has no effect without tls: {mode}",
                    {"key": key, "value": value, "mode": mode, "mend": f"pulumi config rm {key}"},
                )

    def _check_backup(self) -> None:
        in_s3 = self.backup_target is not None and self.backup_target.startswith("s3://")
        if in_s3 and self.backup_s3_file is None:
            raise PydanticCustomError(
                "together",
                "this key is needed with a backupTarget in an S3",
                {
                    "key": "backupS3File",
                    "value": "(not set)",
                    "mend": "pulumi config set backupS3File /path/to/profile",
                },
            )
        if self.backup_s3_file is not None and not in_s3:
            raise PydanticCustomError(
                "together",
                "has no effect without a backupTarget in an S3",
                {"key": "backupS3File", "value": self.backup_s3_file, "mend": "pulumi config rm backupS3File"},
            )

    def protects_data(self, stack: str) -> bool:
        """Whether the data of a stack of that name may not be destroyed."""
        return stack != UNPROTECTED_STACK if self.data_protection is None else self.data_protection

    @property
    def is_safe_in_public(self) -> bool:
        """Whether what is published may be reached by machines that are not trusted; MinIO's API has no HTTPS."""
        return self.auth == "basic" and self.tls != "off" and self.artifact_access == "proxied"

    @property
    def least_server_memory_mb(self) -> int:
        """The memory in MiB under which the chosen workers would be killed under load."""
        return SERVER_BASE_MB + SERVER_WORKER_MB * self.workers + (JOB_RUNNER_MB if self.job_runner else 0)

    @property
    def server_memory_limit_mb(self) -> int:
        """Memory limit of the tracking server in MiB."""
        return self.server_memory_mb or self.least_server_memory_mb

    @property
    def connection_pool(self) -> tuple[int, int]:
        """SQLAlchemy's `(pool_size, max_overflow)` of one engine, so that all workers fit into PostgreSQL."""
        job_runner_workers = 2 if self.job_runner else 0
        engines = ENGINES_PER_WORKER + (1 if self.auth == "basic" else 0)
        share = (MAX_CONNECTIONS - CONNECTION_RESERVE) // ((self.workers + job_runner_workers) * engines)
        # MLflow takes an overflow of 0 for "not set", so each pool may grow by one at least.
        pool_size = max(1, min(5, share - 1))
        return pool_size, max(1, min(10, share - pool_size))


def version_numbers(text: str) -> tuple[int, ...]:
    """A version in a form that can be compared."""
    return tuple(map(int, text.split(".")))


def _token() -> str:
    return secrets.token_urlsafe(24)


def _object_key() -> str:
    return base64.b64encode(secrets.token_bytes(OBJECT_KEY_BYTES)).decode()


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(FERNET_KEY_BYTES)).decode()


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential of the stack: a secret key of the stack's config.

    Attributes:
        key: The config key.
        description: Who uses it.
        generate: Makes a fresh value; used by `make init` for a key that is not set.
        shape: What a value must look like, in words.
    """

    key: str
    description: str
    generate: Callable[[], str] = _token
    shape: str = (
        f"must be {MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH} visible ASCII characters, without quotes and backslashes"
    )

    def accepts(self, value: str) -> bool:
        """Whether a value has the shape.

        Quotes and white space are left out because the AWS credentials file cannot hold them safely, and backslashes
        because the official PostgreSQL provider stores another password than the one with them.
        """
        if self.generate is _fernet_key:
            try:
                return len(base64.b64decode(value, altchars=b"-_", validate=True)) == FERNET_KEY_BYTES
            except (binascii.Error, ValueError):
                return False
        if self.generate is _object_key:
            try:
                return len(base64.b64decode(value, validate=True)) == OBJECT_KEY_BYTES
            except (binascii.Error, ValueError):
                return False
        visible = re.fullmatch(r"[\x21\x23-\x26\x28-\x5b\x5d-\x5f\x61-\x7e]+", value) is not None
        return visible and MIN_SECRET_LENGTH <= len(value) <= MAX_SECRET_LENGTH


SECRETS: tuple[Secret, ...] = (
    Secret(
        "postgresAdminPassword",
        "PostgreSQL's superuser `postgres`: the provider uses it, and the look before a deployment.",
    ),
    Secret("postgresOwnerPassword", "The owner of the database: the migration job alone uses it."),
    Secret("postgresRuntimePassword", "The run-time role `mlflowuser`: reads and writes rows."),
    Secret("minioRootPassword", "MinIO's root user: the provider and the MinIO container alone use it."),
    Secret("bucketUserSecret", "The bucket user: sees the artifact store's bucket only."),
    Secret("consoleUserPassword", "The console user: looks at the bucket, changes nothing."),
    Secret("mlflowAdminPassword", "MLflow's first user, `admin`, with `auth: basic`; set at every start."),
    Secret("flaskSecret", "Signs the forms of MLflow's sign-up page, with `auth: basic`."),
    Secret("kekPassphrase", "Encrypts the secrets that MLflow keeps in its database; keep it with a backup."),
    Secret(
        "webhookKey",
        "Fernet key that encrypts MLflow's webhook secrets; keep it with a backup.",
        _fernet_key,
        "must be a Fernet key: 32 bytes as 44 characters of URL-safe base64",
    ),
    Secret(
        "objectKey",
        "Encrypts objects, with `objectEncryption`; it can't be changed, so keep it with a backup.",
        _object_key,
        "must be 32 bytes as 44 characters of base64",
    ),
    Secret("backupKey", "Encrypts the keys in a backup (`make backup`); keep it elsewhere than the backups."),
)

SECRET_KEYS: tuple[str, ...] = tuple(secret.key for secret in SECRETS)

#: What is in the backend store is encrypted with these, so a new value alone would make it unreadable.
ENCRYPTING_KEYS = ("kekPassphrase", "webhookKey")

#: What `make rotate` leaves alone: everything that was encrypted with `objectKey` would have to be written anew, and
#: the backups that are there can be read with the `backupKey` of their time only.
FIXED_KEYS = ("objectKey", "backupKey")

#: While `make rotate` works, the stack file has the value before beside each key that it changed, and the value to come
#: beside a key that something has to be encrypted anew with first.
OLD, NEW = "Old", "New"
ROTATING_KEYS: tuple[str, ...] = (
    *(f"{key}{OLD}" for key in SECRET_KEYS if key not in FIXED_KEYS),
    *(f"{key}{NEW}" for key in ENCRYPTING_KEYS),
)

#: What the mend of an error proposes where the key's default says less.
_EXAMPLES: dict[str, str] = {
    "bool_parsing": "true",
    "address": "127.0.0.1",
    "schedule": "30 3 * * *",
    "age": "30d",
}


def setting_keys() -> tuple[str, ...]:
    """The keys of all plain settings, in the order in which the docs list them."""
    return tuple(to_camel(name) for name in Settings.model_fields)


def load(values: Mapping[str, str], *, encrypted: Collection[str] = SECRET_KEYS) -> Settings:
    """Check a stack's config and give its settings.

    Args:
        values: Every key of the stack's config in this project's namespace, without the namespace; plain text.
        encrypted: The keys whose values are encrypted in the stack file.

    Raises:
        InvalidConfigError: A key is unknown, a value breaks a limit, or a credential is missing or malformed; it
            names all of them at once.
    """
    problems = _secret_problems(values, encrypted)
    problems += _rotation_problems(values)
    # An empty text stands for "unset": the engine has no other default for a string.
    unset = {to_camel(name) for name, field in Settings.model_fields.items() if field.default is None}
    plain: dict[str, Any] = {
        key: value
        for key, value in values.items()
        if key not in SECRET_KEYS and key not in ROTATING_KEYS and (value or key not in unset)
    }
    try:
        settings = Settings.model_validate(plain)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_url=False)] + problems
        raise InvalidConfigError(problems) from None
    if problems:
        raise InvalidConfigError(problems)
    return settings


def _rotation_problems(values: Mapping[str, str]) -> list[Problem]:
    return [
        Problem(key, "(hidden)", "a rotation of it was interrupted, and may have encrypted with it", "make rotate")
        for key in ENCRYPTING_KEYS
        if values.get(f"{key}{NEW}")
    ]


def _secret_problems(values: Mapping[str, str], encrypted: Collection[str]) -> list[Problem]:
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for secret in SECRETS:
        value = values.get(secret.key, "")
        if not value:
            problems.append(Problem(secret.key, "(not set)", "this credential is missing", "make init"))
        elif secret.key not in encrypted:
            wrong = "stands in plain text in the stack file; a credential must be encrypted, and this one is spent"
            problems.append(Problem(secret.key, "(hidden)", wrong, f"pulumi config set --secret {secret.key}"))
        elif not secret.accepts(value):
            mend = f"pulumi config set --secret {secret.key}"
            problems.append(Problem(secret.key, "(hidden)", secret.shape, mend))
        elif value in seen:
            wrong = f"must differ from {seen[value]}: each right has a credential of its own"
            problems.append(Problem(secret.key, "(hidden)", wrong, f"pulumi config set --secret {secret.key}"))
        seen.setdefault(value, secret.key)
    return problems


def _set(key: str, value: object) -> str:
    return f"pulumi config set {key} {shlex.quote(str(value))}"


def _problem(detail: ErrorDetails) -> Problem:
    """Turn one of pydantic's errors into the line that a user reads."""
    context = detail.get("ctx", {})
    if detail["type"] == "together":
        key, value = str(context["key"]), str(context["value"])
        default = Settings.model_fields[to_snake(key)].default
        example = context.get("example", default if str(default) != value else int(value) + 1)
        return Problem(key, value, detail["msg"], str(context.get("mend", _set(key, example))))
    key = str(detail["loc"][0])
    value = str(detail["input"])
    if detail["type"] == "extra_forbidden":
        known = ", ".join((*setting_keys(), *SECRET_KEYS))
        return Problem(key, value, f"is no key of this program; the keys are {known}", f"pulumi config rm {key}")
    default = Settings.model_fields[to_snake(key)].default
    example = _EXAMPLES.get(detail["type"], default)
    mend = f"pulumi config rm {key}" if example is None else _set(key, example)
    wrong = detail["msg"][0].lower() + detail["msg"][1:]
    wrong = wrong.removeprefix("input ").replace("should", "must", 1)
    return Problem(key, value, wrong, mend)
