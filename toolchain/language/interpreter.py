"""Which Python a program asks for, and what is installed there."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


class MissingError(Exception):
    """The virtual environment that a project names is not there; the text says how to make it."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A provider plugin that an installed package names.

    Attributes:
        name: Name of the plugin.
        version: The version that the package was made for, without `v`; empty if it does not say.
        server: Where to download it; empty for the vendor's usual place.
    """

    name: str
    version: str
    server: str


def of(root: Path, options: Mapping[str, object]) -> Path:
    """The Python that a project's programs run on.

    Args:
        root: Folder of the project file.
        options: The project file's `runtime.options`; `virtualenv` is honoured, as the vendor's host does.

    Raises:
        MissingError: The virtual environment is not there.
    """
    virtualenv = options.get("virtualenv")
    if not isinstance(virtualenv, str) or not virtualenv:
        return Path(sys.executable)
    folder = root / virtualenv
    python = folder / "bin" / "python"
    if not python.exists():
        raise MissingError(
            f"virtualenv: {virtualenv}: the virtual environment that the project file names is missing at {folder}. "
            "mend: make up (or: pulumi install)"
        )
    return python


def is_this(python: Path) -> bool:
    """Whether a program for this interpreter can run in this very process.

    Environments are told apart by their folders: their interpreters are links to one and the same program.
    """
    return python == Path(sys.executable) or python.parent.parent.resolve() == Path(sys.prefix).resolve()


#: Run by another interpreter to list its packages: name, version, and folder of each.
_LIST: Final = """
import importlib.metadata, json
print(json.dumps([[d.metadata["Name"], d.version, str(d.locate_file(""))] for d in importlib.metadata.distributions()]))
"""


def distributions(python: Path) -> list[tuple[str, str, Path]]:
    """Name, version and folder of every package installed for an interpreter."""
    if is_this(python):
        return [
            (found.metadata["Name"], found.version, Path(str(found.locate_file(""))))
            for found in importlib.metadata.distributions()
        ]
    answer = subprocess.run([python, "-c", _LIST], capture_output=True, text=True, check=True, cwd="/")
    rows: list[list[str]] = json.loads(answer.stdout)
    return [(name, version, Path(folder)) for name, version, folder in rows]


def plugins(python: Path) -> list[Plugin]:
    """The plugins that the installed packages name and that do not stand on PATH.

    Pulumi's packages carry a `pulumi-plugin.json`. What stands on PATH needs no download, and the engine takes it
    whether it is told here or not.
    """
    folder = _site_packages(python)
    found = (_plugin(path) for path in sorted(folder.glob("*/pulumi-plugin.json")))
    return [plugin for plugin in found if plugin and shutil.which(f"pulumi-resource-{plugin.name}") is None]


def _site_packages(python: Path) -> Path:
    if is_this(python):
        import sysconfig  # noqa: PLC0415 - only needed where plugins are asked for

        return Path(sysconfig.get_path("purelib"))
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return Path(answer.stdout.strip())


def _plugin(path: Path) -> Plugin | None:
    try:
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not described.get("resource"):
        return None
    name = str(described.get("name") or path.parent.name.removeprefix("pulumi_"))
    version = str(described.get("version") or "").removeprefix("v")
    return Plugin(name, version, str(described.get("server") or ""))


def installed_in(directory: Path, root: Path, options: Mapping[str, object]) -> Iterator[list[str]]:
    """The commands that make a program's virtual environment and install its requirements into it."""
    virtualenv = options.get("virtualenv")
    python = Path(sys.executable)
    if isinstance(virtualenv, str) and virtualenv:
        folder = root / virtualenv
        if not (folder / "bin" / "python").exists():
            yield [sys.executable, "-m", "venv", str(folder)]
        python = folder / "bin" / "python"
    requirements = directory / "requirements.txt"
    if requirements.exists():
        yield [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--requirement", str(requirements)]
