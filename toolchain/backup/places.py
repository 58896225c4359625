"""Where backups are kept: a folder of this machine, or a bucket of any S3."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolchain.errors import RefusedError

if TYPE_CHECKING:
    from docker import DockerClient

#: Where a job finds a folder of this machine.
MOUNT: Final = "/target"

_S3: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/.*)?")
#: The fields of an AWS profile that are used, and rclone's names for them.
_FIELDS: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}


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
        s3_file: For an S3: a file with an AWS profile (see `_s3`).

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
        s3_file: For an S3: a file with an AWS profile (see `_s3`).
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
    return Place(given, {"target": {"type": "alias", "remote": MOUNT}}, path)


def _path(client: DockerClient, key: str, given: str, mend: str) -> Path:
    if not given:
        raise RefusedError(key, "(not set)", "the folder of the backups must be named, or s3://BUCKET/PREFIX", mend)
    if not client.api.base_url.startswith("http+docker://"):
        wrong = f"the Docker daemon is at {client.api.base_url}: a folder of this machine is not one of that machine"
        raise RefusedError(key, given, wrong, "run this on the machine of the Docker daemon")
    return Path(given).expanduser().absolute()


def _s3(key: str, given: str, s3_file: str) -> Place:
    """An S3 by the first profile of a file in the form of AWS's own: credentials, `endpoint_url`, `region`.

    Raises:
        RefusedError: The address, or the file, is not as it must be.
    """
    found = _S3.fullmatch(given)
    if found is None:
        raise RefusedError(key, given, "must be s3://BUCKET or s3://BUCKET/PREFIX", f"{key}=s3://backups/mlflow")
    mend = f"{key}={given} S3_FILE=~/.aws/credentials"
    if not s3_file:
        wrong = "a file with an AWS profile is needed: aws_access_key_id, aws_secret_access_key, endpoint_url, region"
        raise RefusedError("S3_FILE", "(not set)", wrong, mend)
    path = Path(s3_file).expanduser()
    profile = _profile(path, mend)
    if path.stat().st_mode & 0o077:
        raise RefusedError("S3_FILE", str(path), "others may read it", f"chmod 600 {path}")
    for name in ("aws_access_key_id", "aws_secret_access_key"):
        if not profile.get(name):
            raise RefusedError("S3_FILE", str(path), f"has no {name} in its first profile", mend)
    store = {"type": "s3", "provider": "Other" if profile.get("endpoint_url") else "AWS", "no_check_bucket": "true"}
    store |= {ours: profile[name] for name, ours in _FIELDS.items() if profile.get(name)}
    place = f"{found[1]}{(found[2] or '').rstrip('/')}"
    return Place(given, {"store": store, "target": {"type": "alias", "remote": f"store:{place}"}})


def _profile(path: Path, mend: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        return dict(parser[parser.sections()[0]])
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        raise RefusedError("S3_FILE", str(path), f"can't be read: {reason}", mend) from None
    except (configparser.Error, IndexError):
        wrong = "is not in the form of an AWS credentials file: [default] and name = value"
        raise RefusedError("S3_FILE", str(path), wrong, mend) from None
