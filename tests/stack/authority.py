"""Certificates for the tests: an authority made with openssl, and one that speaks ACME (pebble, by Let's Encrypt)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.stack.harness import REPOSITORY, free_ports, wait_until

#: The ACME server for tests, and the server of names that it asks.
PEBBLE = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"
NAMES = "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v2.10.1"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A root of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.root = Pair(folder / "root.pem", folder / "root-key.pem")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", "/CN=an authority of the tests", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", self.root.key, "-out", self.root.certificate),
        )

    def issue(self, name: str, *names: str) -> Pair:
        """A certificate for some names, such as `DNS:a.example.org` or `IP:127.0.0.1`."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}-key.pem")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName={','.join(names)}"),
            *("-addext", "basicConstraints=critical,CA:false", "-CA", self.root.certificate, "-CAkey", self.root.key),
            *("-keyout", pair.key, "-out", pair.certificate),
        )
        return pair

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        done = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True, slots=True)
class Acme:
    """An ACME server at work.

    Attributes:
        directory: Its address, for who reaches this host by `address`.
        root: The root that its certificates are signed by.
    """

    directory: str
    root: Path


def _built(module: str) -> Path:
    """A Go program, built once and kept in the cache."""
    name, _, version = module.rpartition("/")[2].partition("@")
    cache = Path(os.environ.get("MLFLOW_STACK_CACHE") or Path.home() / ".cache" / "mlflow-stack")
    folder = cache / "test-tools" / version
    if not (folder / name).exists():
        go = shutil.which("go", path=f"{REPOSITORY}/.venv-test/bin:{os.environ['PATH']}")
        assert go is not None, "there is no Go. mend: make test, which brings one"
        environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "auto"}
        done = subprocess.run(
            [go, "install", module], env=environment, check=False, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
    return folder / name


@contextmanager
def acme(authority: Authority, address: str, *, challenges_at: int) -> Generator[Acme]:
    """Run pebble.

    Args:
        authority: Signs the certificate of its own HTTPS.
        address: Of this host, as the client of ACME sees it.
        challenges_at: Port of 127.0.0.1 that it takes for port 443 of every name.
    """
    port, management, dns, api = free_ports(4)
    own = authority.issue("pebble", f"IP:{address}", "IP:127.0.0.1")
    config = authority.folder / "pebble.json"
    config.write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"0.0.0.0:{port}",
                    "managementListenAddress": f"127.0.0.1:{management}",
                    "certificate": str(own.certificate),
                    "privateKey": str(own.key),
                    "httpPort": challenges_at,
                    "tlsPort": challenges_at,
                    "ocspResponderURL": "",
                    "externalAccountBindingRequired": False,
                }
            }
        ),
        encoding="utf-8",
    )
    off = ("-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
    names = [_built(NAMES), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", f"127.0.0.1:{dns}", *off]
    names += ["-management", f"127.0.0.1:{api}"]
    pebble = [_built(PEBBLE), "-config", config, "-dnsserver", f"127.0.0.1:{dns}", "-strict=false"]
    environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (authority.folder / "pebble.log").open("w") as log:
        processes = [
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            for command in (names, pebble)
        ]
        try:
            roots = f"https://127.0.0.1:{management}/roots/0"
            wait_until(lambda: requests.get(roots, verify=str(authority.root.certificate), timeout=2).ok, "pebble")
            assert all(process.poll() is None for process in processes), (authority.folder / "pebble.log").read_text()
            root = authority.folder / "pebble-root.pem"
            root.write_text(requests.get(roots, verify=str(authority.root.certificate), timeout=5).text)
            yield Acme(f"https://{address}:{port}/dir", root)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
