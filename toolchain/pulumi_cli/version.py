"""Which Pulumi CLI this project runs on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from toolchain import paths

#: What is downloaded or built where none is installed: the newest that is served as Go modules and works with the
#: SDK of requirements.txt.
PINNED: Final = "3.259.0"

#: An installed CLI is used within these limits: older ones were never tried with the SDK, the next major may differ.
OLDEST: Final = (3, 259, 0)
BEFORE: Final = (4, 0, 0)


def parse(text: str) -> tuple[int, int, int] | None:
    """The three numbers of a version such as `v3.259.0`, None where there are none."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def of(program: Path) -> str | None:
    """Ask a CLI for its version, None when it does not run."""
    try:
        result = subprocess.run(
            [program, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def supported(version: str) -> bool:
    """Whether a CLI of this version is used where it is installed."""
    numbers = parse(version)
    return numbers is not None and OLDEST <= numbers < BEFORE


def installed() -> Path | None:
    """The CLI on PATH, whatever its version; the one that this project put there for a shell is not meant."""
    own = (paths.local_dir(), paths.cache_root())
    folders = [
        folder
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if not any(Path(folder).is_relative_to(root) for root in own)
    ]
    found = shutil.which("pulumi", path=os.pathsep.join(folders))
    return None if found is None else Path(found)
