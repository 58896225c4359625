"""The environment in which `pulumi` finds the CLI, the plugins, the state and the passphrase of this checkout."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from toolchain import engine, paths, store
from toolchain.providers import Providers
from toolchain.pulumi_cli import Cli

#: What stands for itself in the path of a URL as Pulumi reads it; `%`, `?` and `#` do not.
_PLAIN: Final = "/ !\"$&'()*+,-.:;<=>@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class Environment:
    """What must be set for `pulumi`, on top of what the user's shell has.

    Attributes:
        program: The CLI, by the path under which it finds its language host without a warning.
        path: Folders that go before the others on PATH.
        variables: The other variables.
    """

    program: Path
    path: tuple[str, ...]
    variables: Mapping[str, str]

    def whole(self) -> dict[str, str]:
        """The environment of a child process."""
        rest = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder not in self.path]
        return {**os.environ, **self.variables, "PATH": os.pathsep.join([*self.path, *rest])}


def make(cli: Cli, providers: Providers, stack: str) -> Environment:
    """Put together what `pulumi` needs for a stack."""
    variables = {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_STACK": stack}
    if backend() is None:
        variables["PULUMI_BACKEND_URL"] = _own_backend()
    if not brings_passphrase() and paths.passphrase_file().exists():
        variables["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(paths.passphrase_file())
    address = engine.endpoint()
    if address != f"unix://{engine.DEFAULT_SOCKET}" and "DOCKER_HOST" not in os.environ:
        variables["DOCKER_HOST"] = address  # the docker CLI's context: no other client reads it
    folders = _folders(cli, providers)
    return Environment(folders[0] / "pulumi", tuple(map(str, folders)), variables)


def _folders(cli: Cli, providers: Providers) -> list[Path]:
    folders: list[Path] = []
    if cli.has_language_host:
        folders.append(cli.program.parent)
    elif cli.program.is_relative_to(paths.cache_root()):
        folders.append(_beside_language_host(cli.program))
    else:
        folders += [cli.program.parent, paths.LANGUAGE_BIN]
    if providers.source == "packages":
        folders.append(paths.PLUGINS_BIN)
    return folders


def _beside_language_host(program: Path) -> Path:
    """A folder of this checkout with the CLI and the language host side by side.

    The engine takes a language host beside its own program without a word, and warns of one elsewhere on PATH in
    each run. A hard link costs no space; where the cache is on another disk, a copy does.
    """
    folder = paths.ensure_local_dir() / "bin"
    folder.mkdir(exist_ok=True)
    linked = folder / "pulumi"
    if not (linked.exists() and linked.stat().st_size == program.stat().st_size):
        temporary = folder / f".pulumi-{os.getpid()}"
        with suppress(FileNotFoundError):
            temporary.unlink()
        try:
            temporary.hardlink_to(program)
        except OSError:
            shutil.copy2(program, temporary)
        temporary.replace(linked)
        temporary.unlink(missing_ok=True)  # rename(2) leaves it where both names are the same file already
    launcher = folder / "pulumi-language-python"
    text = '#!/bin/sh\nexec "${0%/*}/../../toolchain/bin/language/pulumi-language-python" "$@"\n'
    if store.read(launcher) != text:
        store.write(launcher, text, 0o755)
    return folder


def backend() -> str | None:
    """The backend that the user chose: by the environment, or by a login. None: the one in this checkout."""
    explicit = os.environ.get("PULUMI_BACKEND_URL")
    if explicit:
        return explicit
    try:
        credentials: dict[str, Any] = json.loads(store.read(paths.pulumi_home() / "credentials.json") or "{}")
    except ValueError:
        return None
    current = credentials.get("current")
    return str(current) if current else None


def _own_backend() -> str:
    """The URL of the state folder in this checkout."""
    return f"file://{quote(str(paths.state_dir()), safe=_PLAIN)}"


def keeps_state_here() -> bool:
    """Whether the state is in a folder of this checkout."""
    return backend() in {None, _own_backend()}


def state_folder() -> Path | None:
    """The folder of a file backend, wherever it is; None for another kind of backend."""
    chosen = backend()
    if chosen is None:
        return paths.state_dir()
    if not chosen.startswith("file://"):
        return None
    return Path(unquote(chosen.removeprefix("file://"))).expanduser()


def in_pulumi_cloud() -> bool:
    """Whether the backend is the vendor's service, which keeps secrets by a key of its own."""
    return (backend() or "").startswith(("https://", "http://"))


def brings_passphrase() -> bool:
    """Whether the user set a passphrase, an empty one among them."""
    return "PULUMI_CONFIG_PASSPHRASE" in os.environ or "PULUMI_CONFIG_PASSPHRASE_FILE" in os.environ
