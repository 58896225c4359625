"""Wheels that carry programs: downloaded by pip, checked by hash, taken apart into a root file system."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolchain.errors import FailedError
from toolchain.images.progress import Progress, Report, StepFailedError, run

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the files of a wheel go: data, not code, so that an image's tag can be a hash over it.

    Attributes:
        moves: Pattern over a whole path in the wheel, and its path in the image; the first match counts. What
            matches none is left out.
        drop: Pattern of paths to leave out before that.
    """

    moves: tuple[tuple[str, str], ...]
    drop: str = "(?!)"

    def target(self, path: str) -> str | None:
        """The path in the image; nothing for a file that is left out."""
        if re.fullmatch(self.drop, path):
            return None
        for pattern, replacement in self.moves:
            match = re.fullmatch(pattern, path)
            if match:
                return match.expand(replacement)
        return None


def fetch(requirement: Path, arch: str, cache: Path, report: Report) -> Path:
    """Have a wheel, from the cache or from the package index that pip is set up with.

    Args:
        requirement: A requirements file with one pinned requirement and its hashes.
        arch: `amd64` or `arm64`.
        cache: Folder of the cache; wheels lie there under their hash.
        report: Takes progress lines.

    Returns:
        The wheel; its content has been compared with the hashes.

    Raises:
        FailedError: It can't be downloaded, or is not what the hashes say.
    """
    hashes = set(_HASH.findall(requirement.read_text(encoding="utf-8")))
    for digest in hashes:
        for wheel in (cache / "wheels" / digest).glob(f"*{_machine(arch)}.whl"):
            if _sha256(wheel) == digest:
                return wheel
    pinned = next(line.split()[0] for line in requirement.read_text(encoding="utf-8").splitlines() if "==" in line)
    cache.mkdir(parents=True, exist_ok=True)
    progress = Progress(f"download {pinned}", report)
    with tempfile.TemporaryDirectory(dir=cache, prefix="work-") as folder:
        command = [
            sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:",
            "--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none",
            *(f"--platform=manylinux_2_{glibc}_{_machine(arch)}" for glibc in (28, 17)),
            f"--platform=manylinux2010_{_machine(arch)}", f"--platform=manylinux2014_{_machine(arch)}",
            "--progress-bar=off", f"--dest={folder}", f"--requirement={requirement}",
        ]  # fmt: skip
        try:
            run(command, progress, {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
        except StepFailedError as failure:
            raise FailedError(
                "package index",
                pinned,
                f"pip could not download it: {_last_error(str(failure))}",
                f"{sys.executable} -m pip download --no-deps {pinned}",
            ) from failure
        (wheel,) = Path(folder).glob("*.whl")
        digest = _sha256(wheel)
        if digest not in hashes:
            raise FailedError("wheel", wheel.name, "not the file that its pinned hash names", "make up")
        target = cache / "wheels" / digest / wheel.name
        target.parent.mkdir(parents=True, exist_ok=True)
        wheel.rename(target)
    progress.done(f"{target.stat().st_size / 1e6:.0f} MB")
    return target


def unpack(wheel: Path, root: Path, place: Placement) -> None:
    """Put the files of a wheel at their place in a root file system.

    Raises:
        ValueError: A file would lie outside of the root file system.
    """
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            path = None if info.is_dir() else place.target(info.filename)
            if path is None:
                continue
            if path.startswith("/") or ".." in PurePosixPath(path).parts:
                raise ValueError(path)
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            target.chmod(0o755 if (info.external_attr >> 16) & 0o111 else 0o644)


def _machine(arch: str) -> str:
    return {"amd64": "x86_64", "arm64": "aarch64"}[arch]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _last_error(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-1:]
    return lines[-1].removeprefix("ERROR: ") if lines else "no output"
