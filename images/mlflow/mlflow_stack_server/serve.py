"""The mode `serve`: MLflow's whole server in several processes that share their memory.

`mlflow server` starts its workers as new interpreters, each of which imports everything again. Here one process
imports MLflow, makes the stores, and forks: the workers share those pages, and are up at once.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import shutil
import subprocess
import tempfile
import uuid
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_stack_server import credentials, database, schema, users
from mlflow_stack_server.errors import LauncherError, WrongSchemaError
from mlflow_stack_server.settings import DATABASE_URI

if TYPE_CHECKING:
    from collections.abc import Generator

    from mlflow_stack_server.application import App, Application, Receive, Scope, Send
    from mlflow_stack_server.settings import Settings

ARTIFACT_ROOT_PROXIED = "mlflow-artifacts:/"

OUR_ENVIRONMENT = {
    # Path-style addressing for a store without wildcard DNS, and a region for the signature.
    "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A database that does not answer must become an error, not a thread that waits for ever.
    "PGCONNECT_TIMEOUT": "10",
}
"""What we set beside what `mlflow server` does, unless it is set already."""

FLASK_THREADS = 10
"""Threads of a worker for an MLflow that is a WSGI application alone, as many as a pool of defaults has connections."""

DEFAULT_ALLOWED_HOSTS = (
    *("localhost", "127.0.0.1", "[::1]", "0.0.0.0"),  # noqa: S104  (MLflow's own list; the job runner calls it)
    *("localhost:*", "127.0.0.1:*", "[[]::1]:*", "0.0.0.0:*"),
    *("192.168.*", "10.*", *(f"172.{number}.*" for number in range(16, 32)), "fc00:*", "fd00:*"),
)
"""What MLflow allows by default: naming a host replaces the list, so it is repeated. Held to MLflow's by a test."""

_logger = logging.getLogger("mlflow_stack_server")


def run(settings: Settings) -> None:
    """Serve until stopped.

    Raises:
        WrongSchemaError: the schema revision in the database is not that of this MLflow.
        LauncherError: the database is not reachable, or the server cannot start.
    """
    credentials.load(serving=True)
    target = schema.revisions()
    connection = database.connect(settings.database_wait)
    try:
        found = database.revision(connection)
    finally:
        connection.close()
    if found != target.head:
        message = (
            f"database: {database.where()}: schema revision is {found or 'none'}, "
            f"MLflow {schema.version()} needs {target.head}. mend: make up (it migrates), or restore a backup"
        )
        raise WrongSchemaError(message)
    clear_scratch(Path(tempfile.gettempdir()))
    environment = mlflow_environment(settings)
    os.environ.update(environment)
    _serve(settings, environment)


def clear_scratch(folder: Path) -> None:
    """Remove what a server that was killed left of artifacts in transit: the folder outlives the container."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def mlflow_environment(settings: Settings) -> dict[str, str]:
    """Return what `mlflow server` with the same options sets for its processes; no secrets.

    Held to MLflow's own `_run_server` by a test.
    """
    environment = {
        "_MLFLOW_SERVER_FILE_STORE": DATABASE_URI,
        "_MLFLOW_SERVER_REGISTRY_STORE": DATABASE_URI,
        "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifact_root(settings),
        "MLFLOW_ENABLE_WORKSPACES": os.environ.get("MLFLOW_ENABLE_WORKSPACES", "false"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": str(settings.job_runner).lower(),
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(settings.pool_size),
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(settings.max_overflow),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed_hosts(settings.allowed_hosts)),
    }
    if settings.proxied:
        environment["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
        environment["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = f"s3://{settings.bucket}/"
    if settings.auth:
        environment |= users.environment(settings)
        if settings.job_runner:  # by this its jobs come back in
            environment["_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if settings.cors_origins:
        environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = settings.cors_origins
    if settings.job_runner:
        shared = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108  (as MLflow does)
        environment["_MLFLOW_HUEY_STORAGE_PATH"] = tempfile.mkdtemp(prefix="mlflow-huey-", dir=shared)
    for name, value in OUR_ENVIRONMENT.items():
        environment[name] = os.environ.get(name, value)
    return environment


def artifact_root(settings: Settings) -> str:
    """Return the URI below which MLflow puts what is in new experiments."""
    return ARTIFACT_ROOT_PROXIED if settings.proxied else f"s3://{settings.bucket}/"


def allowed_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return MLflow's default list with `names` added, each with and without a port."""
    if "*" in names:
        return ("*",)
    added = (pattern for name in names for pattern in (name, f"{name}:*"))
    return tuple(dict.fromkeys((*DEFAULT_ALLOWED_HOSTS, *added)))


def load(settings: Settings) -> Application:
    """Import MLflow, make its stores, and return the application to serve. Runs once, before the workers exist."""
    from mlflow_stack_server.health import SharedHealth, Stores  # noqa: PLC0415

    gc.disable()
    health = SharedHealth(Stores(settings.bucket).check)
    with _without_noise():
        app = users.application(settings) if settings.auth else _mlflow_app()
    _make_stores()
    from mlflow_stack_server import warm_up  # noqa: PLC0415
    from mlflow_stack_server.application import Application  # noqa: PLC0415

    application = Application(
        app,
        health,
        front_door=settings.proxied,
        threads=settings.pool_size + settings.max_overflow,
        origins=tuple(settings.cors_origins.lower().split(",")) if settings.cors_origins else (),
        login=users.Login() if settings.auth else None,
    )
    login = users.basic(settings.admin_user, os.environ[users.ADMIN_PASSWORD]) if settings.auth else None
    warm_up.run(application, login)
    _forget_connections()
    if settings.auth:
        users.forget_connections()
    # What is there now stays for good: taken out of the collector, its pages are not written to, and stay shared.
    # Collecting before would take 0.4 s and make nothing smaller.
    gc.freeze()
    gc.enable()
    return application


@contextmanager
def _without_noise() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="starlette.middleware.wsgi is deprecated")
        yield


def _mlflow_app() -> App:
    # Seconds of imports: only here, and only after the database is known to be the right one.
    try:
        from mlflow.server.fastapi_app import app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "mlflow.server.fastapi_app":
            raise
        return _flask_app()
    return app


def _flask_app() -> App:
    """Return the whole server of an MLflow before 3.3, which was a WSGI application alone."""
    from a2wsgi import WSGIMiddleware  # noqa: PLC0415  (in the locks of those versions only)
    from mlflow.server import app  # noqa: PLC0415

    flask: Any = app
    made: dict[int, Any] = {}

    async def serve_flask(scope: Scope, receive: Receive, send: Send) -> None:
        # One for each process: its threads do not survive the fork that comes after the warm-up.
        process = os.getpid()
        if process not in made:
            made[process] = WSGIMiddleware(flask, workers=FLASK_THREADS)
        await made[process](scope, receive, send)

    return serve_flask


def _make_stores() -> None:
    """Do what `mlflow server` does before it serves: make the stores, and with them the default experiment."""
    from mlflow.server import handlers  # noqa: PLC0415

    handlers.initialize_backend_stores(DATABASE_URI, DATABASE_URI, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])


def _forget_connections() -> None:
    """Close every database connection of this process: one that two processes use garbles both."""
    from mlflow.server import handlers  # noqa: PLC0415

    private: Any = handlers  # MLflow has no public way to its stores
    for store in (private._get_tracking_store(), private._get_model_registry_store()):  # noqa: SLF001
        engine: Any = getattr(store, "engine", None)
        if engine is not None:
            engine.dispose()


def _serve(settings: Settings, environment: dict[str, str]) -> None:
    from mlflow_stack_server.gunicorn_server import Server  # noqa: PLC0415  (imports gunicorn)

    runner: list[subprocess.Popen[bytes]] = []

    def when_ready() -> None:
        if settings.job_runner:
            runner.append(start_job_runner(settings, environment))

    try:
        Server(settings, lambda: load(settings), when_ready).run()
    except SystemExit as end:
        if end.code not in (0, None):
            message = f"server: ended with code {end.code}. mend: make logs"
            raise LauncherError(message) from end
    finally:
        for process in runner:
            process.terminate()
        if "_MLFLOW_HUEY_STORAGE_PATH" in environment:
            shutil.rmtree(environment["_MLFLOW_HUEY_STORAGE_PATH"], ignore_errors=True)


def start_job_runner(settings: Settings, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start MLflow's job runner as `mlflow server` does.

    It is a program of its own, so it gets MLflow's keys by environment: MLflow offers no other way.
    """
    from mlflow.server.jobs import utils  # noqa: PLC0415

    # Older versions have one kind of runner only.
    private: Any = utils
    launch = getattr(utils, "_launch_job_execution_runner", None) or private._launch_job_runner  # noqa: SLF001
    address = f"http://{settings.listen}"
    extra = {
        **environment,
        "MLFLOW_BACKEND_STORE_URI": DATABASE_URI,
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": environment["_MLFLOW_SERVER_ARTIFACT_ROOT"],
    }
    if "MLFLOW_GATEWAY_URI" not in os.environ:
        extra["MLFLOW_GATEWAY_URI"] = address
    return launch(extra, os.getpid())
