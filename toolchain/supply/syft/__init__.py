"""SBOMs by Anchore's `syft`: the one that is installed, else built from its Go modules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from toolchain import go_modules, paths, store
from toolchain.errors import FailedError
from toolchain.say import say

_VERSION: Final = "1.57.1"
_SECONDS: Final = 600

_PROGRAM: Final = go_modules.Program(
    what=f"syft {_VERSION}",
    package="github.com/anchore/syft/cmd/syft",
    sources=Path(__file__).parent,
    ldflags=f"-X main.version={_VERSION}",
    mend="check that Go modules can be had (go env GOPROXY), then run it again; or install syft yourself",
)


def program() -> Path:
    """Have syft. Takes 3 minutes on two idle cores where it has to be built.

    Raises:
        FailedError: It can't be built.
    """
    installed = shutil.which("syft")
    if installed is not None:
        return Path(installed)
    directory = paths.cache_root() / f"syft-{_VERSION}-{store.key(sys.platform, *_PROGRAM.inputs())}"
    if not directory.is_dir():
        say("  syft: none is installed; building it, which takes some minutes once")
    return store.entry(directory, lambda folder: _PROGRAM.build(folder / "syft")) / "syft"


def write(syft: Path, image: str, name: str, target: Path) -> None:
    """Write the SBOM of an image on the Docker host, whole or not at all.

    Args:
        syft: The program.
        image: The image's id or reference.
        name: What the SBOM calls it.
        target: The file.

    Raises:
        FailedError: The image can't be read.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        answer = subprocess.run(
            [syft, "scan", f"docker:{image}", "--quiet", "--source-name", name, "--output", f"cyclonedx-json={part}"],
            # Packages, not single files; no calls home.
            env={**os.environ, "SYFT_FILE_METADATA_SELECTION": "none", "SYFT_CHECK_FOR_APP_UPDATE": "false"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        if answer.returncode:
            said = answer.stderr.strip().splitlines()
            raise FailedError("syft", name, said[-1] if said else f"exit code {answer.returncode}", "make sbom")
        part.replace(target)
    except subprocess.TimeoutExpired:
        raise FailedError("syft", name, f"it did not end within {_SECONDS} s", "make sbom") from None
    finally:
        part.unlink(missing_ok=True)
