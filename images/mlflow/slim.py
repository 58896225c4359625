"""Take out of an installed environment what no program needs: tests, sources of compiled code, symbol tables.

Run at build time on the environment that is shipped. Everything that can be imported or run stays: a test of the image
imports every installed library and asks every command for its help.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

TEST_FOLDERS = frozenset({"tests", "test"})

KEPT_TEST_FOLDERS = frozenset[str]()
"""Folders named like tests that a library imports at run time, relative to site-packages."""

SOURCE_SUFFIXES = frozenset(
    {".a", ".c", ".cc", ".cpp", ".f", ".f90", ".h", ".hpp", ".lib", ".map", ".pxd", ".pxi", ".pyi", ".pyx"}
)

ELF_MAGIC = b"\x7fELF"
LOAD_SEGMENT = 1

SHARED_FOLDERS = ("share/man", "share/doc", "include")


def main(site_packages: Path) -> int:
    """Clean the environment; return 0."""
    before = _size(site_packages)
    for folder in sorted(path for path in site_packages.rglob("*") if path.name in TEST_FOLDERS):
        if folder.is_dir() and str(folder.relative_to(site_packages)) not in KEPT_TEST_FOLDERS:
            shutil.rmtree(folder)
    for folder in sorted(site_packages.glob("pyarrow/include")) + sorted(site_packages.glob("pyarrow/src")):
        shutil.rmtree(folder)
    for path in sorted(site_packages.rglob("*")):
        if path.suffix in SOURCE_SUFFIXES and path.is_file():
            path.unlink()
    for folder in SHARED_FOLDERS:
        shutil.rmtree(site_packages.parents[2] / folder, ignore_errors=True)
    _strip(site_packages)
    sys.stdout.write(f"slim: {before >> 20} MiB -> {_size(site_packages) >> 20} MiB\n")
    return 0


def _strip(site_packages: Path) -> None:
    """Drop symbol tables that only a debugger reads; the dynamic symbols stay."""
    stripped = site_packages / ".stripped"
    for library in sorted(site_packages.rglob("*.so*")):
        if not library.is_file() or library.is_symlink() or library.read_bytes()[:4] != ELF_MAGIC:
            continue
        command = ["/usr/bin/strip", "--strip-unneeded", "-o", str(stripped), str(library)]
        done = subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        if done.returncode == 0 and loadable(stripped.read_bytes()):
            library.write_bytes(stripped.read_bytes())
    stripped.unlink(missing_ok=True)


def loadable(image: bytes) -> bool:
    """Say whether the dynamic loader takes a 64-bit little-endian ELF file.

    Libraries that the wheel tools have rewritten (`*.libs/`) come out of strip with segments whose offset and address
    no longer agree, and the loader refuses those ("ELF load command address/offset not page-aligned").
    """
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    for number in range(count):
        kind, _, offset, address, _, _, _, alignment = struct.unpack_from("<IIQQQQQQ", image, table + number * size)
        if kind == LOAD_SEGMENT and alignment > 1 and offset % alignment != address % alignment:
            return False
    return True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
