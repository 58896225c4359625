"""The policy pack that a deployment must pass: `make preview POLICIES=policies`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from toolchain import paths
from toolchain.errors import FailedError, RefusedError

#: This project's own pack; the environment of another one is its owner's to make.
_OWN: Final = paths.PROJECT_DIR / "policies"


def are_asked_for() -> bool:
    """Whether the user named a policy pack."""
    return bool(os.environ.get("POLICIES"))


def arguments() -> list[str | Path]:
    """What `pulumi up` and `pulumi preview` take besides, once the pack can run; nothing where none is asked for.

    Raises:
        RefusedError: There is no such pack, or no such config of it.
        FailedError: What the pack runs on can't be had.
    """
    check()
    if not are_asked_for():
        return []
    folder = _path("POLICIES")
    if folder.resolve() == _OWN:
        prepare()
    config = ["--policy-pack-config", _path("POLICY_CONFIG")] if os.environ.get("POLICY_CONFIG") else []
    return ["--policy-pack", folder, *config]


def check() -> None:
    """Look whether what the user named is there, before the user has waited for anything.

    Raises:
        RefusedError: It is not.
    """
    if are_asked_for() and not (_path("POLICIES") / "PulumiPolicy.yaml").is_file():
        raise RefusedError(
            "POLICIES",
            os.environ["POLICIES"],
            "must be a folder with a policy pack (PulumiPolicy.yaml)",
            "make preview POLICIES=policies",
        )
    if os.environ.get("POLICY_CONFIG") and not _path("POLICY_CONFIG").is_file():
        raise RefusedError(
            "POLICY_CONFIG",
            os.environ["POLICY_CONFIG"],
            "must be a JSON file with the settings of policies",
            "unset POLICY_CONFIG",
        )


def _path(variable: str) -> Path:
    return paths.PROJECT_DIR / os.environ[variable]


def prepare() -> None:
    """Make the virtual environment of this project's own pack, if it is not there.

    Raises:
        FailedError: It can't be made; what stands in the way has been told.
    """
    maker = paths.PROJECT_DIR / "toolchain" / "bootstrap.py"
    command = [sys.executable, maker, "policies/.venv", "policies/requirements.txt"]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise FailedError(
            "policies/.venv", f"exit code {code}", "can't be made; the lines above tell why", "make doctor"
        )
