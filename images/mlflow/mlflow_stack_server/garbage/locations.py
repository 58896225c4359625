"""Where things are in the bucket: what a URI of MLflow's means there, and whose an object is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

_PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
"""How the path of an artifact begins that is named by the address of a tracking server."""

_RUN = re.compile(r"[0-9a-f]{32}")
_MODEL = re.compile(r"m-[0-9a-f]{32}")
_TRACE = re.compile(r"(?:tr-)?[0-9a-f]{32}")
_ARTIFACTS = "artifacts"
_FOLDERS = {"models": _MODEL, "traces": _TRACE}

Kind = Literal["run", "model", "trace"]


def key_of(uri: str | None, bucket: str) -> str | None:
    """Give the path in the bucket that a URI names, without a slash at either end; None where it is elsewhere.

    The root of a server that passes artifacts on is the root of the bucket, with `artifactAccess: proxied` as with
    `direct`.
    """
    parts = urlsplit(uri or "")
    path = parts.path
    if parts.query or parts.fragment:
        return None
    if parts.scheme == "s3" and parts.netloc == bucket:
        pass
    elif parts.scheme == "mlflow-artifacts":
        path = "/" + path.removeprefix(_PROXY)
    elif parts.scheme in ("http", "https") and path.startswith(_PROXY):
        path = path.removeprefix(_PROXY)
    else:
        return None
    segments = [segment for segment in path.split("/") if segment]
    return None if "." in segments or ".." in segments else "/".join(segments)


@dataclass(frozen=True)
class Owner:
    """A run, a model or a trace, as the name of an object tells it."""

    kind: Kind
    identity: str
    base: str
    """Path of the experiment that it is in."""
    path: str
    """Its own path: every object of it is below."""


def owner_of(key: str) -> Owner | None:
    """Say whose an object is by its name; None where that is not the way in which MLflow names objects.

    MLflow puts them below the path of the experiment: `RUN/artifacts/`, `models/MODEL/artifacts/` and
    `traces/TRACE/artifacts/`. The first that fits counts: a run may hold a copy of anything.
    """
    segments = key.split("/")
    for index in range(1, len(segments) - 1):
        if segments[index] != _ARTIFACTS:
            continue
        identity, path = segments[index - 1], "/".join(segments[:index])
        folder = segments[index - 2] if index > 1 else ""
        if folder in _FOLDERS and _FOLDERS[folder].fullmatch(identity):
            kind: Kind = "model" if folder == "models" else "trace"
            return Owner(kind, identity, "/".join(segments[: index - 2]), path)
        if _RUN.fullmatch(identity):
            return Owner("run", identity, "/".join(segments[: index - 1]), path)
    return None


def ancestors(path: str) -> list[str]:
    """Give a path and every path above it, without the root."""
    segments = path.split("/")
    return ["/".join(segments[:length]) for length in range(len(segments), 0, -1)]
