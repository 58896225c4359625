"""The Debian base image: a root file system made by debootstrap from the machine's own Debian mirror."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from toolchain.errors import FailedError, RefusedError
from toolchain.images import machine
from toolchain.images.progress import Progress, Report, StepFailedError, run
from toolchain.paths import PROJECT_DIR

_RECIPE = PROJECT_DIR / "images" / "base"
#: Memory that must be free for the root file system to be made in memory. dpkg syncs every file to the disk, which is
#: most of the time that it takes there.
_RAM_BYTES = 3_000_000_000
#: `$1` is an empty folder, the rest a command. In a mount namespace of its own, so that the memory goes with it.
_IN_RAM = 'mount -t tmpfs -o mode=0755,size=1g tmpfs "$1" || true; shift; exec "$@"'

_MEND_INSTALL = "sudo apt-get install debootstrap debian-archive-keyring"


def digest(here: machine.Machine, edition: str = "") -> str:
    """Twelve digits over everything that decides what is in the image; an edition stands for the day it is made."""
    inputs = hashlib.sha256(f"{machine.SUITE} {here.arch} {here.certificates_digest}{edition}".encode())
    for path in sorted(_RECIPE.iterdir()):
        inputs.update(path.name.encode() + b"\0" + path.read_bytes())
    return inputs.hexdigest()[:12]


def archive_of(here: machine.Machine, cache: Path, edition: str = "") -> Path:
    """Where the root file system is kept."""
    return cache / f"debian-{digest(here, edition)}.tar"


def root_file_system(here: machine.Machine, cache: Path, report: Report, edition: str = "") -> Path:
    """Have the root file system as a tar archive, from the cache or made now.

    Args:
        here: The machine's settings.
        cache: Folder of the cache.
        report: Takes progress lines.
        edition: Which one, where it was made again for newer packages.

    Raises:
        ToolchainError: debootstrap is missing and can't be installed, there are no rights, or it failed.
    """
    archive = archive_of(here, cache, edition)
    if archive.exists():
        return archive
    as_root = _as_root()
    _have_debootstrap(as_root, report)
    progress = Progress(f"debian {machine.SUITE} by debootstrap", report)
    work = Path(tempfile.mkdtemp(dir=cache, prefix="work-"))
    try:
        certificates = work / "certificates"
        certificates.mkdir()
        for number, text in enumerate(here.certificates):
            (certificates / f"machine-{number}.crt").write_text(text + "\n", encoding="utf-8")
        place = work / "place"
        place.mkdir()
        made = work / "root.tar"
        environment = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", **machine.apt_environment()}
        run(
            [
                *as_root,
                "env", *(f"{key}={value}" for key, value in environment.items()),
                # Dies with this process; its mounts go with its namespace. Nothing is left behind by a kill.
                "setpriv", "--pdeathsig", "KILL",
                "unshare", "--mount", "--pid", "--fork", "--kill-child",
                *(["sh", "-c", _IN_RAM, "sh", str(place)] if _free_memory() > _RAM_BYTES else []),
                "sh", str(_RECIPE / "build.sh"), str(place), str(made), str(cache / "debs"),
                *([str(certificates)] if here.certificates else []),
            ],
            progress,
            os.environ,
        )  # fmt: skip
        made.rename(archive)
    except StepFailedError as failure:
        raise FailedError(
            "debian base image", machine.SUITE, _reason(str(failure), cache), "make up (it goes on where it stopped)"
        ) from failure
    finally:
        remove_tree(work, as_root)
    progress.done(f"{archive.stat().st_size / 1e6:.0f} MB")
    return archive


def remove_tree(path: Path, as_root: list[str] | None = None) -> None:
    """Remove a work folder, with the rights that made it."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        prefix = _as_root() if as_root is None else as_root
        run([*prefix, "rm", "-rf", "--one-file-system", str(path)], Progress("cleaning", lambda _: None), os.environ)


def _as_root() -> list[str]:
    """The prefix that gives a command root's rights, without ever asking for a password.

    Raises:
        RefusedError: There is none.
    """
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        try:
            run(["sudo", "-n", "true"], Progress("sudo", lambda _: None), os.environ)
        except StepFailedError:
            pass
        else:
            return ["sudo", "-n"]
    raise RefusedError(
        "rights",
        f"user {os.geteuid()}",
        "making the base image from packages needs root's rights, for debootstrap",
        "sudo -v && make up, or IMAGES=vendor make up where a registry can be reached",
    )


def _have_debootstrap(as_root: list[str], report: Report) -> None:
    if shutil.which("debootstrap", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return
    if not shutil.which("apt-get"):
        raise RefusedError(
            "debootstrap",
            "not installed",
            "it makes the base image from packages",
            _MEND_INSTALL,
        )
    progress = Progress("install debootstrap", report)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run([*as_root, "apt-get", "update", "-q"], progress, environment)
        run(
            [*as_root, "apt-get", "install", "-qy", "--no-install-recommends", "debootstrap", "debian-archive-keyring"],
            progress,
            environment,
        )
    except StepFailedError as failure:
        raise FailedError("debootstrap", "not installed", str(failure).splitlines()[-1], _MEND_INSTALL) from failure
    progress.done()


def _free_memory() -> int:
    """Bytes of memory that could be used now; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def _reason(output: str, cache: Path) -> str:
    if "No space left" in output:
        return f"the disk is full: {shutil.disk_usage(cache).free / 1e9:.1f} GB free in {cache}, 1 GB needed"
    lines = [line for line in output.splitlines() if line.startswith(("E:", "W:"))] or output.splitlines()[-1:]
    print(output, file=sys.stderr)
    return f"debootstrap failed: {lines[-1] if lines else 'no output'}"
