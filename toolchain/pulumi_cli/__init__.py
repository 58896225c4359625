"""The Pulumi CLI: the one that is installed, else the vendor's pinned build, else built from its Go modules."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolchain import paths, store
from toolchain.errors import RefusedError
from toolchain.pulumi_cli import go_build, vendor
from toolchain.pulumi_cli.version import BEFORE, OLDEST, PINNED, installed, of, supported
from toolchain.say import say


@dataclass(frozen=True, slots=True)
class Cli:
    """The CLI in use.

    Attributes:
        program: Its path.
        why: One line: which one, and why.
        has_language_host: Whether a `pulumi-language-python` comes with it.
    """

    program: Path
    why: str
    has_language_host: bool


def ensure() -> Cli:
    """Have a Pulumi CLI.

    `CLI=vendor` and `CLI=packages` in the environment force a way.

    Raises:
        RefusedError: The vendor's archive has a wrong checksum, or `CLI` names no way.
        FailedError: It can't be built.
    """
    found = present()
    if found is not None:
        return found
    why_not = _why_not_installed()
    forced = _forced()
    if forced != "packages":
        try:
            store.entry(_vendor_directory(), vendor.download)
        except vendor.OutOfReachError as error:
            if forced == "vendor":
                raise RefusedError(
                    "pulumi CLI", f"v{PINNED}", str(error), "make up CLI=packages, which builds it from Go modules"
                ) from None
            why_not = f"{why_not}; {error}"
        else:
            return _cli(_vendor_directory(), f"{why_not}: the vendor's build, checksum verified")
    say(f"  Pulumi CLI: {why_not}; building it, which takes some minutes once")
    store.entry(_built_directory(), go_build.build)
    return _cli(_built_directory(), f"{why_not}: built from its Go modules")


def present() -> Cli | None:
    """The CLI that `ensure` would give, without downloading or building one."""
    forced = _forced()
    program = installed()
    if program is not None and forced == "":
        version = of(program)
        if version is not None and supported(version):
            return Cli(program, f"Pulumi CLI: {version} at {program}, installed already", _has_language_host(program))
    if forced != "packages" and (_vendor_directory() / "pulumi").exists():
        return _cli(_vendor_directory(), "the vendor's build, checksum verified, from the cache")
    if forced != "vendor" and (_built_directory() / "pulumi").exists():
        return _cli(_built_directory(), "built from its Go modules, from the cache")
    return None


def _cli(directory: Path, why: str) -> Cli:
    program = directory / "pulumi"
    return Cli(program, f"Pulumi CLI: v{PINNED}, {why}", _has_language_host(program))


def _forced() -> str:
    way = os.environ.get("CLI", "")
    if way not in {"", "vendor", "packages"}:
        raise RefusedError("CLI", way, "must be vendor or packages", "make up")
    return way


def _why_not_installed() -> str:
    program = installed()
    if program is None:
        return "none is installed"
    oldest, before = (".".join(map(str, limit)) for limit in (OLDEST, BEFORE))
    return f"{program} is {of(program) or 'broken'}, this project needs {oldest} or newer before {before}"


def _has_language_host(program: Path) -> bool:
    beside = program.resolve().with_name("pulumi-language-python")
    on_path = shutil.which("pulumi-language-python")
    return beside.exists() or (on_path is not None and Path(on_path).parent != paths.LANGUAGE_BIN)


def _vendor_directory() -> Path:
    return paths.cache_root() / f"pulumi-{PINNED}-vendor-{store.key(str(sorted(vendor.SHA256.items())))}"


def _built_directory() -> Path:
    return paths.cache_root() / f"pulumi-{PINNED}-built-{store.key(vendor.machine(), *go_build.inputs())}"
