"""The provider plugins: the vendor's, fetched by the CLI, or this project's own from packages.

The choice is kept in `.local/providers.json`, so that a plain `pulumi` in the shell of `make env` talks to the same
kind as `make up`.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from toolchain import paths, store
from toolchain.errors import RefusedError
from toolchain.pulumi_cli import Cli
from toolchain.say import Step, say

Source = Literal["packages", "vendor"]

DOWNLOADS: Final = "https://get.pulumi.com/releases/plugins"

#: The three that the program uses; their versions are those of the SDK packages in requirements.txt.
NAMES: Final = ("docker", "minio", "postgresql")

#: Seconds without an answer after which the vendor counts as out of reach.
_PATIENCE: Final = 3.0
_INSTALL_LIMIT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Providers:
    """The plugins in use.

    Attributes:
        source: Which kind.
        why: One line: which kind, and why.
    """

    source: Source
    why: str


def choose(cli: Cli) -> Providers:
    """Decide which plugins to use, and have them.

    `PROVIDERS=packages` or `PROVIDERS=vendor` in the environment forces a kind; `auto`, or nothing, keeps what was
    chosen before.

    Raises:
        RefusedError: `PROVIDERS` names no kind, or the vendor's can't be had although they were asked for.
    """
    forced = os.environ.get("PROVIDERS", "")
    if forced not in {"", "auto", "packages", "vendor"}:
        raise RefusedError("PROVIDERS", forced, "must be packages or vendor", "make up PROVIDERS=packages")
    if forced == "packages":
        return _keep("packages", "asked for by PROVIDERS")
    if forced == "vendor":
        missing = _install(cli)
        if missing:
            raise RefusedError(
                "PROVIDERS", "vendor", f"the vendor's plugins can't be had: {missing}", "make up PROVIDERS=packages"
            )
        return _keep("vendor", "asked for by PROVIDERS")
    kept = chosen()
    if kept is not None and (kept.source == "packages" or not _missing()):
        return kept
    if not _missing():
        return _keep("vendor", "the vendor's are installed already")
    reason = _unreachable() or _install(cli)
    if reason:
        return _keep("packages", f"the vendor's can't be had ({reason})")
    return _keep("vendor", "fetched from the vendor")


def chosen() -> Providers | None:
    """The choice that was kept, None before the first."""
    try:
        kept: dict[str, Any] = json.loads(store.read(paths.providers_file()) or "{}")
    except ValueError:
        return None
    if kept.get("source") not in {"packages", "vendor"}:
        return None
    return Providers(kept["source"], _line(kept["source"], f"{kept.get('why', '')}; kept from an earlier run"))


def _keep(source: Source, why: str) -> Providers:
    paths.ensure_local_dir()
    text = json.dumps({"source": source, "why": why}, indent=2) + "\n"
    if store.read(paths.providers_file()) != text:
        store.write(paths.providers_file(), text, 0o644)
    return Providers(source, _line(source, why))


def _line(source: Source, why: str) -> str:
    kind = "from packages" if source == "packages" else "the vendor's"
    return f"Provider plugins: {kind}, {why}"


def versions() -> dict[str, str]:
    """The version of each plugin, read from the installed SDK packages."""
    found: dict[str, str] = {}
    for name in NAMES:
        path = Path(sysconfig.get_path("purelib")) / f"pulumi_{name}" / "pulumi-plugin.json"
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found[name] = str(described["version"]).removeprefix("v")
    return found


def _missing() -> dict[str, str]:
    """Those of the vendor's plugins that are not installed, with their versions."""
    installed = paths.pulumi_home() / "plugins"
    return {
        name: version
        for name, version in versions().items()
        if not (installed / f"resource-{name}-v{version}" / f"pulumi-resource-{name}").exists()
        or (installed / f"resource-{name}-v{version}.partial").exists()
    }


def _server() -> str:
    return (os.environ.get("MLFLOW_STACK_PLUGIN_MIRROR") or DOWNLOADS).rstrip("/")


def _unreachable() -> str:
    """Why the vendor's downloads can't be reached, empty if they can. Answers within some seconds."""
    name, version = next(iter(versions().items()))
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    address = f"{_server()}/pulumi-resource-{name}-v{version}-{sys.platform}-{architecture}.tar.gz"
    if not address.startswith(("https://", "http://")):
        return f"{address} is no address of a download"
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - its scheme was looked at
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        return f"{address} answers {error.code}"
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error))
    return ""


def _install(cli: Cli) -> str:
    """Have the CLI fetch the vendor's plugins; why that failed, empty if it did not."""
    for name, version in _missing().items():
        step = Step(f"fetching the vendor's plugin {name} {version}")
        command = [cli.program, "plugin", "install", "resource", name, version, "--exact", "--server", _server()]
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_INSTALL_LIMIT,
                env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            )
        except subprocess.TimeoutExpired:
            return f"{name} {version} did not arrive within {_INSTALL_LIMIT:.0f} s"
        if result.returncode:
            said = (result.stderr or result.stdout).strip()
            say(said)
            return said.splitlines()[-1] if said else f"{name} {version}: exit code {result.returncode}"
        step.done()
    return ""
