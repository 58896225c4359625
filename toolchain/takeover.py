"""What `import` is to bring in: where another MLflow keeps its things, in words that the job understands.

The job runs in the image of the stack's server. Folders are mounted read-only; a password and a key go into a volume of
the job's own, as files that only it reads.
"""

from __future__ import annotations

import getpass
import io
import json
import os
import stat
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from toolchain.errors import RefusedError

if TYPE_CHECKING:
    from docker import DockerClient

#: Where the job looks for the order and for folders (see `mlflow_stack_server.takeover.order`).
FOLDER: Final = "/tmp"  # noqa: S108 - in the container
#: Connection services of libpq: that of the stack, and that of the source.
_SERVICES: Final = "pg-service.conf"
_DATABASE: Final = "/source/database"
_FILES: Final = "/source/artifacts"
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_DRIVERS: Final = {"postgresql": "postgresql+psycopg2", "postgres": "postgresql+psycopg2"}
_MEND: Final = "make import FROM=sqlite:///path/mlflow.db ARTIFACTS=path"


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        source: `sqlite:///path/mlflow.db`, `postgresql://user@host:5432/database` or a folder with runs in files.
        artifacts: The folder or bucket in which the source's artifacts are; may be empty.
        password_file: File with the password of the database, and nothing else; may be empty.
        s3_endpoint: URL of the source's S3; may be empty.
        s3_credentials: File like `~/.aws/credentials` with a key of it; may be empty.
        network: Docker network in which the host names of the source are known; may be empty.
    """

    source: str
    artifacts: str = ""
    password_file: str = ""
    s3_endpoint: str = ""
    s3_credentials: str = ""
    network: str = ""


@dataclass(frozen=True)
class Order:
    """What the job gets.

    Attributes:
        order: The fields of the job's own order.
        folders: Folders of this host, each as `FOLDER:WHERE:ro`.
        files: Name → content of what goes beside the order; secrets are among them.
        uid: Whose folders they are; None where there is none.
        network: A Docker network to join.
        on_host: Whether the source is known by the name of the Docker host for itself.
    """

    order: Mapping[str, str]
    folders: Sequence[str]
    files: Mapping[str, str] = field(repr=False)
    uid: int | None = None
    network: str = ""
    on_host: bool = False

    def archive(self, uid: int, more: Mapping[str, str]) -> bytes:
        """Everything that goes into the job's folder, `more` files too, as a tar archive that only `uid` can read."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            folder = tarfile.TarInfo("import")
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o700, uid, uid
            tar.addfile(folder)
            files = {**self.files, **more, "order.json": json.dumps(self.order)}
            files[_SERVICES] = more.get(_SERVICES, "") + self.files.get(_SERVICES, "")
            for name, content in files.items():
                member = tarfile.TarInfo(f"import/{name}")
                member.mode, member.uid, member.gid, member.size = 0o400, uid, uid, len(content.encode())
                tar.addfile(member, io.BytesIO(content.encode()))
        return buffer.getvalue()


def make(asked: Asked, client: DockerClient) -> Order:
    """Check what was asked for, and say it as the job understands it.

    Args:
        asked: By the user.
        client: The Docker daemon, to find who bears a name in a network.

    Raises:
        RefusedError: Something is missing, or can't be.
    """
    if not asked.source:
        raise RefusedError("FROM", "(not set)", "says what is to be brought in", _MEND)
    parts = urlsplit(asked.source)
    folders: list[str] = []
    files: dict[str, str] = {}
    order: dict[str, str] = {"s3_endpoint": _resolved(asked.s3_endpoint, asked.network, client)}
    owned: Path | None = None
    if parts.scheme == "sqlite":
        path = Path(asked.source.removeprefix("sqlite:///")).expanduser().absolute()
        if not path.is_file():
            raise RefusedError("FROM", asked.source, f"there is no file {path}", _MEND)
        order |= {"kind": "sqlite", "name": path.name}
        folders.append(f"{path.parent}:{_DATABASE}:ro")
        owned = path
    elif parts.scheme in _DRIVERS:
        order |= {"kind": "server", "url": _url(parts, asked, client)}
        password = _password(asked)
        files[_SERVICES] = f"[source]\npassword={password}\n" if password else "[source]\n"
    elif parts.scheme:
        wrong = "must be sqlite:///PATH, postgresql://USER@HOST:PORT/DATABASE or a folder with runs in files"
        raise RefusedError("FROM", asked.source, wrong, _MEND)
    else:
        owned = _folder("FROM", asked.source)
        order |= {"kind": "files", "artifacts": str(owned)}
        folders.append(f"{owned}:{_FILES}:ro")
    if asked.artifacts.startswith("s3://"):
        order["artifacts"] = asked.artifacts
    elif asked.artifacts:
        folder = _folder("ARTIFACTS", asked.artifacts)
        order["artifacts"] = str(folder)
        folders.append(f"{folder}:{_FILES}:ro")
        owned = owned or folder
    if asked.s3_credentials:
        files["source-aws-credentials"] = _read("S3_CREDENTIALS", asked.s3_credentials)
    uid = owned.stat().st_uid if owned is not None else None
    here = {urlsplit(url).hostname for url in (order.get("url", ""), order["s3_endpoint"])} & _HERE
    return Order(order, folders, files, uid, asked.network, on_host=bool(here))


def _url(parts: SplitResult, asked: Asked, client: DockerClient) -> str:
    if parts.password:
        wrong = "holds the password, which stays in the history of the shell"
        raise RefusedError("FROM", f"{parts.scheme}://…", wrong, "make import FROM=… PASSWORD_FILE=a file with it")
    if not parts.hostname or not parts.path.strip("/"):
        wrong = "must name a host and a database"
        raise RefusedError("FROM", asked.source, wrong, "make import FROM=postgresql://user@host:5432/mlflow")
    user = f"{parts.username}@" if parts.username else ""
    host = _address(parts.hostname, asked.network, client)
    return f"{_DRIVERS[parts.scheme]}://{user}{host}:{parts.port or 5432}{parts.path}"


def _resolved(url: str, network: str, client: DockerClient) -> str:
    """A URL whose host is an address where it is a name in the network."""
    parts = urlsplit(url)
    if not parts.hostname:
        return url
    host = _address(parts.hostname, network, client)
    return parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()


def _address(host: str, network: str, client: DockerClient) -> str:
    """The address of a container by a name that it has in a network.

    The usual compose set-up and this stack call their stores by the same names, so the name alone would not do.

    Raises:
        RefusedError: There is no such network.
    """
    if not network:
        return host
    from docker.errors import NotFound  # noqa: PLC0415 - see docker_objects.connect()

    try:
        client.networks.get(network)
    except NotFound:
        raise RefusedError("NETWORK", network, "there is no Docker network of that name", "docker network ls") from None
    for container in client.containers.list():
        joined: dict[str, Any] | None = container.attrs["NetworkSettings"]["Networks"].get(network)
        if joined and host in {container.name, *(joined.get("Aliases") or [])}:
            return str(joined["IPAddress"])
    return host


def _password(asked: Asked) -> str:
    if asked.password_file:
        return _read("PASSWORD_FILE", asked.password_file).strip("\r\n")
    if sys.stdin.isatty():
        return getpass.getpass("Password of the database that is read: ")
    return ""


def _read(key: str, name: str) -> str:
    path = Path(name).expanduser()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(key, name, f"can't be read: {error}", f"ls -l {name}") from None
    if stat.S_IMODE(mode) & 0o077 and os.getuid() == path.stat().st_uid:
        raise RefusedError(key, name, "can be read by others, and holds a secret", f"chmod 600 {name}")
    return text


def _folder(key: str, name: str) -> Path:
    path = Path(name.removeprefix("file://")).expanduser().absolute()
    if not path.is_dir():
        raise RefusedError(key, name, f"there is no folder {path}", _MEND)
    return path
