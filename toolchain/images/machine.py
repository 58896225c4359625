"""What this machine is set up with as a client of package mirrors: builds in containers must use the same.

A machine behind a proxy or with an internal mirror has that in the settings of its own clients (apt, pip, Go) and
in its CA bundle. Nothing of it is written into the repository; it goes into the local images that builds run in. An
address with a user name or a password in it is left out: it would stand in the image for anyone to read.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SUITE = "bookworm"

#: Where an administrator puts a company's own certificates.
_LOCAL_CAS = (
    Path("/usr/local/share/ca-certificates"),  # Debian, Ubuntu, Alpine
    Path("/etc/pki/ca-trust/source/anchors"),  # Fedora, RHEL
    Path("/etc/ca-certificates/trust-source/anchors"),  # Arch
    Path("/etc/pki/trust/anchors"),  # openSUSE
)
#: Where the distributions keep the bundle of everything they trust.
_BUNDLES = ("/etc/ssl/certs/", "/etc/ssl/ca-bundle.pem", "/etc/pki/")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_CREDENTIALS = re.compile(r"://[^/@\s]+@")

#: Go's settings that say where modules come from and how they are checked.
GO_KEYS = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOFLAGS")
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host")


@dataclass(frozen=True, slots=True)
class Machine:
    """The client settings of this machine.

    Attributes:
        arch: `amd64` or `arm64`, as Debian and Docker call it.
        certificates: PEM texts that the machine trusts beyond what a distribution ships.
        go: Go's settings that differ from its defaults, by `GO_KEYS`.
        pip: pip's settings about the package index.
        left_out: Settings that hold credentials and were therefore left out, by name.
    """

    arch: str
    certificates: tuple[str, ...] = ()
    go: Mapping[str, str] = field(default_factory=dict[str, str])
    pip: Mapping[str, str] = field(default_factory=dict[str, str])
    left_out: tuple[str, ...] = ()

    @property
    def certificates_digest(self) -> str:
        """A digest that changes with the machine's own certificates."""
        return hashlib.sha256("".join(self.certificates).encode()).hexdigest()

    def files(self, *, certificates: bool = False, pip: bool = False, go: bool = False) -> dict[str, str]:
        """The settings as files of an image: path → text. Nothing for what this machine has not set.

        Args:
            certificates: With the certificates, for `update-ca-certificates`.
            pip: With pip's settings.
            go: With Go's settings, where `go env -w` of root would write them.
        """
        found: dict[str, str] = {}
        if certificates:
            for number, text in enumerate(self.certificates):
                found[f"usr/local/share/ca-certificates/machine-{number}.crt"] = f"{text}\n"
        if pip and self.pip:
            found["etc/pip.conf"] = _lines("[global]", *(f"{key} = {value}" for key, value in sorted(self.pip.items())))
        if go and self.go:
            found["root/.config/go/env"] = _lines(*(f"{key}={value}" for key, value in sorted(self.go.items())))
        return found


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def look() -> Machine:
    """Read the settings of this machine that decide what is in an image. Takes milliseconds; asks no one."""
    left_out: list[str] = []

    def public(settings: dict[str, str]) -> dict[str, str]:
        left_out.extend(key for key, value in settings.items() if _CREDENTIALS.search(value))
        return {key: value for key, value in settings.items() if value and not _CREDENTIALS.search(value)}

    return Machine(
        arch=_arch(),
        certificates=_own_certificates(),
        go=public(_go()),
        pip=public(_pip()),
        left_out=tuple(left_out),
    )


def _arch() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _own_certificates() -> tuple[str, ...]:
    """Certificates that an administrator or the user added to what the distribution ships."""
    files = [path for folder in _LOCAL_CAS if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    bundle = os.environ.get("SSL_CERT_FILE", "")
    if bundle and not bundle.startswith(_BUNDLES) and Path(bundle).is_file():
        files.append(Path(bundle))
    found: set[str] = set()
    for path in files:
        found.update(_CERTIFICATE.findall(path.read_text(encoding="utf-8", errors="replace")))
    return tuple(sorted(found))


def _output(command: list[str]) -> str:
    """Standard output of a command, or nothing where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return result.stdout if result.returncode == 0 else ""


def apt_environment() -> dict[str, str]:
    """The Debian mirrors and the proxy that apt uses here, as the environment of `images/base/build.sh`.

    They say where packages come from, not what is in them, so they are no part of an image's tag.
    """
    found: dict[str, str] = {}
    targets = _output(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"])
    for line in targets.splitlines():
        codename, _, address = line.partition(" ")
        key = {SUITE: "MIRROR", f"{SUITE}-security": "SECURITY_MIRROR"}.get(codename)
        if key and address.startswith(("http://", "https://")):
            found.setdefault(key, address.rstrip("/"))
    proxy = re.search(r"^P='(.*)'$", _output(["apt-config", "shell", "P", "Acquire::http::Proxy"]), re.MULTILINE)
    if proxy and proxy[1] != "DIRECT":
        found["APT_PROXY"] = proxy[1]
    return {key: value for key, value in found.items() if not _CREDENTIALS.search(value)} | {"SUITE": SUITE}


def _go() -> dict[str, str]:
    """Go's settings from the environment, else from the file that `go env -w` writes."""
    config = Path(os.environ.get("GOENV") or Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "go" / "env")
    written: dict[str, str] = {}
    if config.expanduser().is_file():
        for line in config.expanduser().read_text(encoding="utf-8").splitlines():
            key, equals, value = line.partition("=")
            if equals:
                written[key.strip()] = value.strip()
    return {key: os.environ.get(key) or written.get(key, "") for key in GO_KEYS}


def _pip() -> dict[str, str]:
    """Settings of pip from its files and its environment; `pip config list` gives the same, but takes 0.4 s."""
    home = Path("~").expanduser()
    files = [
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
        *([Path(os.environ["PIP_CONFIG_FILE"])] if os.environ.get("PIP_CONFIG_FILE") else []),
    ]
    parser = configparser.RawConfigParser(strict=False)
    parser.read(files, encoding="utf-8")
    found: dict[str, str] = {}
    for key in _PIP_KEYS:
        value = os.environ.get(f"PIP_{key.upper().replace('-', '_')}") or parser.get("global", key, fallback="")
        found[key] = " ".join(value.split())
    return found
