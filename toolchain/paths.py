"""Every path that the toolchain uses, in one place."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent

#: The small committed programs that stand in for a vendor's: put on PATH for the CLI to find.
PLUGINS_BIN = PROJECT_DIR / "toolchain" / "bin" / "plugins"
LANGUAGE_BIN = PROJECT_DIR / "toolchain" / "bin" / "language"


def local_dir() -> Path:
    """What belongs to this checkout alone: state, passphrase, the image sources. Not in git."""
    return PROJECT_DIR / ".local"


def ensure_local_dir() -> Path:
    """Make `local_dir()`, for this user's eyes only."""
    directory = local_dir()
    directory.mkdir(mode=0o700, exist_ok=True)
    directory.chmod(0o700)
    return directory


def state_dir() -> Path:
    """Pulumi's file backend, unless the user chose another."""
    return local_dir() / "state"


def passphrase_file() -> Path:
    """What encrypts the secrets of the stacks here, unless the user brought a passphrase of their own."""
    return local_dir() / "passphrase"


def providers_file() -> Path:
    """Which kind of provider plugins this checkout uses."""
    return local_dir() / "providers.json"


def engine_pid_file() -> Path:
    """Process id of the Docker daemon that this checkout started."""
    return local_dir() / "engine.pid"


def cache_root() -> Path:
    """What any checkout on this machine can use again: tools and images built from packages."""
    explicit = os.environ.get("MLFLOW_STACK_CACHE")
    if explicit:
        return Path(explicit).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mlflow-stack"


def pulumi_home() -> Path:
    """Pulumi's own folder: credentials, installed plugins."""
    return Path(os.environ.get("PULUMI_HOME") or "~/.pulumi").expanduser()
