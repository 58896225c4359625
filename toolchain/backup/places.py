"""Where backups are kept: a folder of this machine, or a bucket of any S3."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components import backup_place
from toolchain.errors import RefusedError

if TYPE_CHECKING:
    from docker import DockerClient

_S3: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where sets are kept.

    Attributes:
        given: As the user named it.
        remotes: How rclone gets there: name → options; `target` is the place.
        folder: The folder of this machine; None for an S3.
    """

    given: str
    remotes: Mapping[str, Mapping[str, str]] = field(repr=False)
    folder: Path | None = None


def to_write(client: DockerClient, given: str, s3_file: str = "") -> Place:
    """The place for new sets; a folder is made where it is missing, for this user's eyes only.

    Args:
        client: The Docker daemon.
        given: A folder, or `s3://BUCKET/PREFIX`.
        s3_file: For an S3: a file with an AWS profile (see `components.backup_place`).

    Raises:
        RefusedError: It can't be written, or is not on the machine of the Docker daemon.
    """
    if given.startswith("s3://"):
        return _s3("TO", given, s3_file)
    path = _path(client, "TO", given, "make backup TO=/a/folder")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError("TO", str(path), str(error.strerror), "make backup TO=/another/folder") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise RefusedError("TO", str(path), "this user may not write there", "make backup TO=/another/folder")
    return _folder(given, path)


def to_read(client: DockerClient, given: str, s3_file: str, command: str) -> Place:
    """A place that sets are in.

    Args:
        client: The Docker daemon.
        given: A folder, or `s3://BUCKET/PREFIX`.
        s3_file: For an S3: a file with an AWS profile (see `components.backup_place`).
        command: Who asks, for the errors.

    Raises:
        RefusedError: It is not there, or not on the machine of the Docker daemon.
    """
    if given.startswith("s3://"):
        return _s3("FROM", given, s3_file)
    path = _path(client, "FROM", given, f"make {command} FROM=/a/folder")
    if not path.is_dir():
        raise RefusedError("FROM", str(path), "there is no such folder", f"make {command} FROM=/a/folder")
    return _folder(given, path)


def _folder(given: str, path: Path) -> Place:
    return Place(given, backup_place.folder(), path)


def _path(client: DockerClient, key: str, given: str, mend: str) -> Path:
    if not given:
        raise RefusedError(key, "(not set)", "the folder of the backups must be named, or s3://BUCKET/PREFIX", mend)
    if not client.api.base_url.startswith("http+docker://"):
        wrong = f"the Docker daemon is at {client.api.base_url}: a folder of this machine is not one of that machine"
        raise RefusedError(key, given, wrong, "run this on the machine of the Docker daemon")
    return Path(given).expanduser().absolute()


def _s3(key: str, given: str, s3_file: str) -> Place:
    """An S3 by the first profile of a file in the form of AWS's own.

    Raises:
        RefusedError: The address, or the file, is not as it must be.
    """
    if _S3.fullmatch(given) is None:
        raise RefusedError(key, given, "must be s3://BUCKET or s3://BUCKET/PREFIX", f"{key}=s3://backups/mlflow")
    mend = f"{key}={given} S3_FILE=~/.aws/credentials"
    if not s3_file:
        wrong = "a file with an AWS profile is needed: aws_access_key_id, aws_secret_access_key, endpoint_url, region"
        raise RefusedError("S3_FILE", "(not set)", wrong, mend)
    path = Path(s3_file).expanduser()
    try:
        return Place(given, backup_place.s3(given, path))
    except ValueError as error:
        raise RefusedError("S3_FILE", str(path), str(error), mend) from None
