"""What the caller asks for: one line of JSON on standard input, so that no secret is in arguments or environment.

The caller keeps standard input open as long as it lives. When it ends, however it ends, so does this container: nobody
would take its outcome.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_stack_backup.errors import FAILED


@dataclass(frozen=True)
class Database:
    """How the backend store is reached; a role with the right to do what is asked for."""

    host: str
    port: int
    user: str
    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Bucket:
    """How the artifact store's bucket is reached."""

    endpoint: str
    name: str
    user: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        remotes: How rclone gets to the sets: name → options; `target` is the place itself.
        key: What the keys in a set are encrypted with; empty where it is not known.
        database: The backend store, where the mode needs it.
        bucket: The artifact store, where the mode needs it.
        about: What the manifest says of the stack and its versions.
        keys: Files by name that go encrypted into the set.
        set: The set that is meant; empty for the newest.
        mark: For a restore: what the database says of itself when it is that of the set.
        schedule: When, for backups by themselves.
        keep: How many of those stay.
    """

    remotes: Mapping[str, Mapping[str, str]] = field(repr=False)
    key: str = field(default="", repr=False)
    database: Database | None = None
    bucket: Bucket | None = None
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    set: str = ""
    mark: str = ""
    schedule: str = ""
    keep: int = 0


def read() -> Request:
    """Read it, and end with the caller from then on."""
    asked = parse(sys.stdin.readline())
    threading.Thread(target=_end_with_caller, daemon=True).start()
    return asked


def parse(text: str) -> Request:
    """Take a request from its JSON."""
    values: dict[str, Any] = json.loads(text)
    database, bucket = values.pop("database", None), values.pop("bucket", None)
    return Request(
        database=Database(**database) if database else None, bucket=Bucket(**bucket) if bucket else None, **values
    )


def _end_with_caller() -> None:
    while sys.stdin.readline():
        pass
    os._exit(FAILED)
