"""Jobs that run once beside a running tracking server, in its own image, with its own rights and no more.

The container is hardened like those that Pulumi makes (see `components/service.py`), and gets no file of its own: it
reads those of the server.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from toolchain.docker_objects import JOBS, LABEL, NO_RESOLVER, Objects, health
from toolchain.errors import MEND, REFUSED, FailedError, RefusedError, repeated

if TYPE_CHECKING:
    from docker.models.containers import Container

_FILES_PATH: Final = "/run/mlflow-stack"
#: Folder in which a job that has a volume of its own finds its files.
ROOM: Final = "/tmp/import"  # noqa: S108 - in the container

_NETWORKS: Final = ("backend", "artifact")
_PARTS: Final = frozenset({"app", *_NETWORKS})
_MEMORY: Final = "1g"
TMP: Final = {"/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777"}  # noqa: S108 - in the container
_MAX_PROCESSES: Final = 4096
#: Seconds that a server gets to be well again.
_WELL_WITHIN: Final = 90.0

_STOP_SECONDS: Final = 30


def server_of(objects: Objects, why: str) -> Container:
    """Give the running tracking server of a stack.

    Args:
        objects: The stack's.
        why: What it is needed for.

    Raises:
        RefusedError: It does not run.
    """
    server = objects.container("server")
    if server is None or server.status != "running":
        raise RefusedError("server", "not running", why, f"make up STACK={objects.stack}")
    return server


@contextmanager
def created(
    objects: Objects,
    role: str,
    command: Sequence[str],
    *,
    folders: Sequence[str] = (),
    uid: int | None = None,
    networks: Sequence[str] = (),
    on_host: bool = False,
    room: bool = False,
) -> Generator[Container]:
    """A container for a job, not started yet, on the networks of both stores; removed when the block is left.

    Args:
        objects: The stack's.
        role: Of the job: one of `JOBS`.
        command: A mode of the image, with its arguments; no secret among them.
        folders: Folders of the Docker host, each as `FOLDER:WHERE:ro`.
        uid: Whose processes they are; None for the user of the image.
        networks: Parts of the stack, or names of networks, that it joins beside those of the stores.
        on_host: Let it see the network of the Docker host, and the stores by their ports there, instead of networks.
        room: Give it a volume of its own as `/tmp`, which goes with it, instead of a folder in memory. The files of the
            server, which only the user of the image can read, have to be put into `ROOM`, too (see `files_of`).

    Raises:
        RefusedError: The server does not run, or such a job is at work.
    """
    from docker.types import Mount  # noqa: PLC0415 - see docker_objects.connect()

    server = server_of(objects, "the job runs beside it, in its image")
    objects.remove_ended_jobs()
    running = objects.container(role)
    if running is not None:
        raise RefusedError(role, str(running.name), "is at work already", f"docker logs -f {running.name}, and wait")
    config: dict[str, Any] = server.attrs["Config"]
    user = config["User"] if uid is None else f"{uid}:{uid}"
    first, *others = (f"mlflow-{objects.stack}-{part}" if part in _PARTS else part for part in (*_NETWORKS, *networks))
    container = objects.client.containers.create(
        config["Image"],
        list(command),
        environment=[
            *config["Env"],
            *([f"MLFLOW_STACK_FILES={ROOM}"] if room else ()),
            *(_by_ports(objects) if on_host else _by_name(objects)),
        ],
        user=user,
        network=first if not on_host else "host",
        volumes=[*([] if room else [f"mlflow-{objects.stack}-server-files:{_FILES_PATH}:ro"]), *folders],
        tmpfs={"/home/mlflow": _home(user)} if room else {**TMP, "/home/mlflow": _home(user)},
        mounts=[Mount(target="/tmp", source=None, type="volume")] if room else [],  # noqa: S108 - in the container
        **of_a_job(objects, role, looks_up_names=on_host or bool(networks)),
    )
    try:
        for network in () if on_host else others:
            objects.client.networks.get(network).connect(container)
        yield container
    finally:
        container.remove(force=True, v=True)
        objects.forget_containers()


def of_a_job(objects: Objects, role: str, *, looks_up_names: bool) -> dict[str, Any]:
    """What the containers of all jobs have in common: names, and what they may not do (see docs/hardening.md).

    Args:
        objects: The stack's.
        role: Of the job: one of `JOBS`.
        looks_up_names: Whether it has business outside of the stack.

    Returns:
        Arguments for the Docker SDK's `containers.create`.
    """
    from docker.types import LogConfig, Ulimit  # noqa: PLC0415 - see docker_objects.connect()

    if role not in JOBS:
        raise ValueError(role)
    return {
        "name": f"mlflow-{objects.stack}-{role}",
        "labels": {f"{LABEL}.project": LABEL, f"{LABEL}.stack": objects.stack, f"{LABEL}.role": role},
        "read_only": True,
        "mem_limit": _MEMORY,
        "memswap_limit": _MEMORY,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "ulimits": [Ulimit(name="nproc", soft=_MAX_PROCESSES, hard=_MAX_PROCESSES)],
        "log_config": LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
        "init": True,
        "dns": None if looks_up_names else list(NO_RESOLVER),
    }


def files_of(server: Container) -> dict[str, str]:
    """The credentials of both stores, as the server has them: name of the file → content."""
    found: dict[str, str] = {}
    for name in ("pg-service.conf", "aws-credentials"):
        stream, _ = server.get_archive(f"{_FILES_PATH}/{name}")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            member = tar.extractfile(name)
            if member is not None:
                found[name] = member.read().decode()
    return found


def _by_name(objects: Objects) -> list[str]:
    """Variables by which a job finds the stores by names that no other network knows: not by their aliases."""
    prefix = f"mlflow-{objects.stack}"
    return [f"PGHOST={prefix}-postgres", f"MLFLOW_S3_ENDPOINT_URL=http://{prefix}-minio:9000"]


def _by_ports(objects: Objects) -> list[str]:
    """Variables by which a process on the Docker host finds the stores."""

    def port(role: str, internal: str) -> str:
        container = objects.container(role)
        ports: dict[str, Any] = container.attrs["NetworkSettings"]["Ports"] if container is not None else {}
        if not ports.get(internal):
            raise RefusedError(role, "not running", "the job needs it", f"make up STACK={objects.stack}")
        return str(ports[internal][0]["HostPort"])

    return [
        "PGHOST=127.0.0.1",
        f"PGPORT={port('postgres', '5432/tcp')}",
        f"MLFLOW_S3_ENDPOINT_URL=http://127.0.0.1:{port('minio', '9000/tcp')}",
    ]


@contextmanager
def stopped(objects: Objects) -> Generator[None]:
    """Have the tracking server stopped while the block runs: nobody writes meanwhile."""
    server = server_of(objects, "it is stopped for the job")
    server.stop(timeout=_STOP_SECONDS)
    try:
        yield
    finally:
        start(server)


def start(server: Container) -> None:
    """Start the tracking server, and wait until it is well, or as long as that takes at most."""
    server.start()
    server.reload()
    deadline = time.monotonic() + _WELL_WITHIN
    while health(server) == "starting" and time.monotonic() < deadline:
        time.sleep(0.2)
        server.reload()


def _home(user: str) -> str:
    uid = user.partition(":")[0]
    return f"rw,noexec,nosuid,nodev,size=16m,mode=0700,uid={uid},gid={uid}"


def _lines(container: Container) -> Iterator[str]:
    """Start a job and give the lines that it prints, as they come; they end with it."""
    container.start()
    pending = b""
    for chunk in container.logs(stream=True, follow=True):
        *lines, pending = (pending + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if pending:
        yield pending.decode(errors="replace")


def run_to_its_end(container: Container, command: str) -> None:
    """Start a job, print what it says as its command's own words, and wait until it has ended well.

    Raises:
        RefusedError: The job refused; its own line is in the error.
        FailedError: It failed, in its own words where it left some.
    """
    last = ""
    for line in _lines(container):
        if MEND in line:
            last = line
        else:
            print(line.removeprefix(f"{command}: "), flush=True)
    code = int(container.wait(timeout=60)["StatusCode"])
    if code:
        wrong = last or "it ended without a word: for want of memory?"
        raise repeated(last, refused=code == REFUSED) or FailedError(command, "the job", wrong, f"make {command}")
