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
from pathlib import Path

HERE = Path(__file__).resolve().parent
UV = "uv==0.13.9"

PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
"""Debian 12, the oldest base, has glibc 2.36."""

HEADER = """\
# What goes into the image with MLflow {version}: wheels for CPython 3.11, Linux x86_64 and aarch64.
# Made by: python3 images/mlflow/lock.py {arguments}
"""

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
    if text is None:
        return 1
    target = HERE / "locks" / f"mlflow-{version}.txt"
    target.write_text(HEADER.format(version=version, arguments=arguments) + text, encoding="utf-8")
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


if __name__ == "__main__":
    sys.exit(main())
