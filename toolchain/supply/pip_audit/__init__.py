"""Known flaws of Python packages: `pip-audit`, over the package index's own list of them, else over OSV's.

pip-audit takes a package that its source does not know for one without flaws. Many mirrors of an index know no flaws
at all. So each question holds a package that has some: where it comes back clean, the source knows nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toolchain import paths, store
from toolchain.errors import ToolchainError
from toolchain.say import run_step
from toolchain.supply.finding import Finding, NotCheckedError

_LOCK: Final = Path(__file__).with_name("lock.txt")
_SECONDS: Final = 300
_SHOWN: Final = 160

#: Unmaintained since 2014, with two known flaws that nobody will ever mend.
_CANARY: Final = ("pycrypto", "2.6.1")

_SERVICES: Final = {"pypi": "the package index", "osv": "OSV"}
_CHOICE: Final = "PIP_AUDIT_VULNERABILITY_SERVICE"
_BUNDLES: Final = ("PIP_CERT", "SSL_CERT_FILE")
_SYSTEM_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source says.

    Attributes:
        source: Which one.
        findings: The known flaws.
        skipped: Package → why nothing is known of it.
    """

    source: str
    findings: list[Finding]
    skipped: dict[str, str]


def check(packages: Iterable[tuple[str, str]]) -> Answer:
    """The known flaws of Python packages, by name and version.

    Raises:
        NotCheckedError: No source could be asked, or none knows any flaws.
    """
    asked = sorted({*packages, _CANARY})
    try:
        program = _program()
    except ToolchainError as error:
        raise NotCheckedError(str(error)) from error
    chosen = os.environ.get(_CHOICE)
    reasons: list[str] = []
    for service in [chosen] if chosen else _SERVICES:
        try:
            return _ask(program, service, asked)
        except NotCheckedError as error:
            reasons.append(f"{_SERVICES.get(service, service)}: {error}")
    raise NotCheckedError("; ".join(reasons))


def _ask(program: Path, service: str, packages: list[tuple[str, str]]) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "packages.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in packages), encoding="utf-8")
        command = [
            sys.executable, "-m", "pip_audit", f"--vulnerability-service={service}", f"--requirement={listed}",
            "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off", "--desc=off", "--aliases=on",
            f"--cache-dir={folder}/cache",
        ]  # fmt: skip
        try:
            answer = subprocess.run(
                command,
                env=_environment(program),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise NotCheckedError(f"no answer within {_SECONDS} s") from None
    try:
        entries: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except ValueError:
        said = [line for line in answer.stderr.splitlines() if line.strip()]
        wrong = said[-1][:_SHOWN] if said else f"pip-audit ended with exit code {answer.returncode}"
        raise NotCheckedError(wrong) from None
    skipped = {str(entry["name"]): str(entry["skip_reason"]) for entry in entries if "skip_reason" in entry}
    if _CANARY[0] in skipped:
        raise NotCheckedError(f"it tells nothing of a package's single versions ({skipped[_CANARY[0]]})")
    findings = [finding for entry in entries for finding in _findings(entry)]
    if not any(finding.package == _CANARY[0] for finding in findings):
        raise NotCheckedError(f"it knows no flaws of {' '.join(_CANARY)}, which has some: it has no list of them")
    return Answer(
        _SERVICES.get(service, service),
        sorted(finding for finding in findings if finding.package != _CANARY[0]),
        skipped,
    )


def _findings(entry: dict[str, Any]) -> Iterable[Finding]:
    for flaw in entry.get("vulns") or ():
        others = sorted(name for name in flaw.get("aliases") or () if str(name).startswith("CVE-"))
        shown = f"{flaw['id']} ({', '.join(others)})" if others else str(flaw["id"])
        fixed = " or ".join(flaw.get("fix_versions") or ())
        yield Finding("python", str(entry["name"]), str(entry["version"]), fixed, shown)


def _program() -> Path:
    """The folder with pip-audit, installed once by pip, with hashes, and kept in the cache."""

    def fill(directory: Path) -> None:
        command = [
            sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--require-hashes",
            "--no-deps", f"--target={directory}", f"--requirement={_LOCK}",
        ]  # fmt: skip
        run_step("installing pip-audit", command, "check that pip reaches its index")

    name = f"pip-audit-{store.key(_LOCK.read_bytes(), sys.platform, sys.version[:4])}"
    return store.entry(paths.cache_root() / name, fill)


def _environment(program: Path) -> dict[str, str]:
    """The environment with the program in it, and with the authorities that pip trusts, which it does not look for."""
    found = {**os.environ, "PYTHONPATH": str(program)}
    bundles = [os.environ[key] for key in _BUNDLES if os.environ.get(key)]
    if _SYSTEM_BUNDLE.exists():
        bundles.append(str(_SYSTEM_BUNDLE))
    if bundles:
        found.setdefault("REQUESTS_CA_BUNDLE", bundles[0])
    return found
