"""How rclone gets to where backups are kept: a folder, or a bucket of any S3 by an AWS profile in a file."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

#: Where a container finds a folder of the Docker host.
MOUNT = "/target"

_S3 = "s3://"
_NEEDED = ("aws_access_key_id", "aws_secret_access_key")
#: The fields of an AWS profile that are used, and rclone's names for them.
_FIELDS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}

Remotes = Mapping[str, Mapping[str, str]]


def is_s3(target: str) -> bool:
    """Whether a target is in an S3."""
    return target.startswith(_S3)


def folder() -> Remotes:
    """Rclone's remotes for a folder that is mounted at `MOUNT`: name → options; `target` is the place."""
    return {"target": {"type": "alias", "remote": MOUNT}}


def s3(target: str, profile: Path) -> Remotes:
    """Rclone's remotes for an S3.

    Args:
        target: `s3://BUCKET/PREFIX`.
        profile: A file in the form of AWS's own, of which the first profile counts: `aws_access_key_id`,
            `aws_secret_access_key`, `endpoint_url`, `region`. Nobody but its owner may read it.

    Raises:
        ValueError: The file is not as it must be; the text says what is wrong with it.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        mode = profile.stat().st_mode
        parser.read_string(profile.read_text(encoding="utf-8"))
        found = dict(parser[parser.sections()[0]])
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, configparser.Error, IndexError):
        raise ValueError("is not in the form of an AWS credentials file: [default] and name = value") from None
    if mode & 0o077:
        raise ValueError(f"others may read it, and must not: chmod 600 {profile}")
    missing = [name for name in _NEEDED if not found.get(name)]
    if missing:
        raise ValueError(f"has no {missing[0]} in its first profile")
    store = {"type": "s3", "provider": "Other" if found.get("endpoint_url") else "AWS", "no_check_bucket": "true"}
    store |= {ours: found[name] for name, ours in _FIELDS.items() if found.get(name)}
    return {"store": store, "target": {"type": "alias", "remote": f"store:{target.removeprefix(_S3).rstrip('/')}"}}
