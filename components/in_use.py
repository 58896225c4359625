"""The credentials that the containers of a stack have now, read from the files that were given to them.

The state has them, too, but encrypted, and a program does not see it. The config has what they are to become.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from components.naming import FILES_PATH, OBJECT_KEY_VARIABLE, Naming, Role

if TYPE_CHECKING:
    from docker import DockerClient


def _whole(text: str) -> str:
    return text.strip("\r\n")


def _after(mark: str) -> Callable[[str], str]:
    """The rest of the line that begins with a mark."""
    return lambda text: next((line[len(mark) :] for line in text.splitlines() if line.startswith(mark)), "")


#: Credential → whose files it is in, the file, and how it stands there.
_PLACES: Final[Mapping[str, tuple[Role, str, Callable[[str], str]]]] = {
    "postgresAdminPassword": ("postgres", "admin-password", _whole),
    "postgresOwnerPassword": ("migration", "pg-service.conf", _after("password=")),
    "postgresRuntimePassword": ("server", "pg-service.conf", _after("password=")),
    "minioRootPassword": ("minio", "root-password", _whole),
    "objectKey": ("minio", "object-key", _after("mlflow-stack:")),
    "bucketUserSecret": ("server", "aws-credentials", _after("aws_secret_access_key = ")),
    "mlflowAdminPassword": ("server", "admin-password", _whole),
    "kekPassphrase": ("server", "kek-passphrase", _whole),
    "webhookKey": ("server", "webhook-key", _whole),
}


#: The roles that have credentials.
ROLES: Final[frozenset[Role]] = frozenset(role for role, _, _ in _PLACES.values())


def credentials(naming: Naming, client: DockerClient, roles: Collection[Role] = ROLES) -> dict[str, str]:
    """Every credential that is in a file of some roles; none of a stack that is not there.

    The files container of a role is asked, running or not; where it was removed, the role's own.
    """
    asked = sorted(ROLES.intersection(roles))
    with ThreadPoolExecutor(max(len(asked), 1)) as pool:  # Docker takes its time for each
        files = dict(zip(asked, pool.map(lambda role: _files(naming, client, role), asked), strict=True))
    found = {key: extract(files[role].get(name, "")) for key, (role, name, extract) in _PLACES.items() if role in files}
    return {key: value for key, value in found.items() if value}


def that_encrypt(naming: Naming, client: DockerClient) -> frozenset[Role]:
    """The roles that have a key which encrypts: the server, and MinIO where it was told one, or can't be asked."""
    from docker.errors import NotFound  # noqa: PLC0415 - see components.preflight

    try:
        told: list[str] = client.containers.get(naming.container("minio")).attrs["Config"]["Env"] or []
    except NotFound:
        told = [OBJECT_KEY_VARIABLE]
    return frozenset({"server", "minio"} if any(each.startswith(OBJECT_KEY_VARIABLE) for each in told) else {"server"})


def _files(naming: Naming, client: DockerClient, role: Role) -> dict[str, str]:
    from docker.errors import APIError  # noqa: PLC0415 - see components.preflight

    for name in (naming.files_container(role), naming.container(role)):
        try:
            chunks, _ = client.api.get_archive(name, FILES_PATH)
            archive = io.BytesIO(b"".join(chunks))
        except APIError:
            continue
        with tarfile.open(fileobj=archive) as tar:
            members = [(member.name.rpartition("/")[2], tar.extractfile(member)) for member in tar if member.isfile()]
            return {path: file.read().decode(errors="replace") for path, file in members if file is not None}
    return {}
