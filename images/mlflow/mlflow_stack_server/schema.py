"""The schema revisions that the installed MLflow knows, read from its migration scripts without importing it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from mlflow_stack_server.errors import LauncherError

_REVISION = re.compile(r"""^revision(?::\s*str)?\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_DOWN_REVISION = re.compile(r"""^down_revision(?:\s*:[^=]+)?\s*=\s*(.+)$""", re.MULTILINE)
_QUOTED = re.compile(r"""["']([^"']+)["']""")


@dataclass(frozen=True)
class Revisions:
    """The revisions of one MLflow version."""

    head: str
    known: frozenset[str]


def package_directory() -> Path:
    """Return the folder of the installed MLflow package, without importing it."""
    return Path(str(distribution("mlflow").locate_file("mlflow")))


def version() -> str:
    """Return the version of the installed MLflow."""
    return distribution("mlflow").version


def fingerprint() -> str:
    """Return a hash over everything that decides which schema an empty database ends with."""
    package = package_directory()
    digest = hashlib.sha256()
    for path in (
        package / "store" / "tracking" / "dbmodels" / "initial_models.py",
        *sorted((package / "store" / "db_migrations" / "versions").glob("*.py")),
    ):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def revisions(scripts: Path | None = None) -> Revisions:
    """Read the newest and all known revisions from MLflow's migration scripts.

    Raises:
        LauncherError: the scripts do not form one chain with one end.
    """
    folder = scripts or package_directory() / "store" / "db_migrations" / "versions"
    known: set[str] = set()
    superseded: set[str] = set()
    for script in sorted(folder.glob("*.py")):
        text = script.read_text(encoding="utf-8")
        own = _REVISION.search(text)
        if own is None:
            continue
        known.add(own.group(1))
        down = _DOWN_REVISION.search(text)
        if down is not None:
            superseded.update(_QUOTED.findall(down.group(1)))
    heads = sorted(known - superseded)
    if len(heads) != 1:
        message = f"{folder}: {len(heads)} newest schema revisions where one is expected ({', '.join(heads)})"
        raise LauncherError(message)
    return Revisions(heads[0], frozenset(known))
