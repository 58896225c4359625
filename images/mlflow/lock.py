#!/usr/bin/env python3
"""Write the lock of one MLflow version: `python3 images/mlflow/lock.py VERSION [--as-of DATE]`.

The lock, `locks/mlflow-VERSION.txt`, names every package that goes into the image, with the hashes of its wheels for
CPython 3.11 on Linux x86_64 and aarch64. A version without a lock can not be built. Old versions of MLflow do not say
which versions of their libraries are too new for them: --as-of takes those of a day.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from mlflow_stack_server import schema
from mlflow_stack_server.errors import LauncherError

HERE = Path(__file__).resolve().parent
UV = "uv==0.13.9"

PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
"""Debian 12, the oldest base, has glibc 2.36."""

HEADER = """\
# What goes into the image with MLflow {version}: wheels for CPython 3.11, Linux x86_64 and aarch64.
# Made by: python3 images/mlflow/lock.py {arguments}
"""

REVISIONS_A_LINE = 7
"""Of the schema revisions that the header lists, so that the program knows them before there is an image."""

FIRST_WITH_ASGI = (3, 3)
"""The first MLflow whose whole server is an ASGI application."""


def main() -> int:
    """Resolve, and write the file; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", help="MLflow's version, like 3.17.2")
    parser.add_argument("--as-of", help="take no package that is newer than this day (YYYY-MM-DD)")
    options = parser.parse_args()
    version: str = options.version
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version):
        mend = "python3 images/mlflow/lock.py 3.17.2"
        sys.stderr.write(f"version: {version}: must be a release like 3.17.2. mend: {mend}\n")
        return 2
    as_of: str | None = options.as_of
    arguments = version if as_of is None else f"{version} --as-of {as_of}"
    with tempfile.TemporaryDirectory() as folder:
        text = resolve(Path(folder), version, as_of)
        known = None if text is None else revisions(Path(folder), version)
    if text is None or known is None:
        return 1
    target = HERE / "locks" / f"mlflow-{version}.txt"
    target.write_text(HEADER.format(version=version, arguments=arguments) + listed(known) + text, encoding="utf-8")
    sys.stdout.write(f"{target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}: written\n")
    return 0


def requirements(version: str) -> list[str]:
    """Return what is to be resolved for one version of MLflow."""
    lines = (HERE / "requirements.in").read_text(encoding="utf-8").splitlines()
    wanted = [f"mlflow=={version}", *(line for line in lines if line and not line.startswith("#"))]
    if tuple(int(part) for part in version.split(".")[:2]) < FIRST_WITH_ASGI:
        # Its server is a WSGI application alone, and it imports pkg_resources without saying so.
        wanted += ["a2wsgi", "setuptools<81"]
    return wanted


def resolve(folder: Path, version: str, as_of: str | None) -> str | None:
    """Let uv resolve for each platform; return the lock's text, or None where that fails."""
    environment = folder / "uv"
    venv.create(environment, with_pip=True)
    if subprocess.run([environment / "bin/pip", "install", "--quiet", UV], check=False).returncode:
        return None
    texts: set[str] = set()
    for platform in PLATFORMS:
        command = [
            *(str(environment / "bin/uv"), "pip", "compile", "--quiet", "--python-version", "3.11"),
            *("--python-platform", platform, "--only-binary", ":all:", "--generate-hashes", "--no-header"),
            *("--no-annotate", "--no-emit-index-url", *(("--exclude-newer", as_of) if as_of is not None else ()), "-"),
        ]
        wanted = "\n".join(requirements(version))
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, input=wanted, cwd=folder)
        if done.returncode:
            return None
        texts.add(done.stdout)
    if len(texts) > 1:
        sys.stderr.write(f"version: {version}: the platforms {', '.join(PLATFORMS)} need different packages\n")
        return None
    return texts.pop()


def revisions(folder: Path, version: str) -> schema.Revisions | None:
    """Read the schema revisions from MLflow's wheel; return None where it can't be had."""
    command = [str(folder / "uv/bin/pip"), "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]
    if subprocess.run([*command, str(folder / "wheel"), f"mlflow=={version}"], check=False).returncode:
        return None
    (wheel,) = (folder / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        scripts = [name for name in archive.namelist() if name.startswith("mlflow/store/db_migrations/versions/")]
        archive.extractall(folder / "scripts", scripts)
    try:
        return schema.revisions(folder / "scripts/mlflow/store/db_migrations/versions")
    except LauncherError as error:
        sys.stderr.write(f"version: {version}: {error}\n")
        return None


def listed(known: schema.Revisions) -> str:
    """Return the header's lines about the schema."""
    earlier = sorted(known.known - {known.head})
    rows = (earlier[start : start + REVISIONS_A_LINE] for start in range(0, len(earlier), REVISIONS_A_LINE))
    lines = [f"# Schema revision: {known.head}", *(f"# Schema revisions before: {' '.join(row)}" for row in rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
