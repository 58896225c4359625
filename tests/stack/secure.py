"""A stack with logins and HTTPS, and clients that come to it by a name that only they resolve."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from tests.stack.conftest import SuiteRun, run_suite_in_container
from tests.stack.harness import Stack

#: Nobody's name (RFC 2606): no test may depend on a server of names.
NAME = "mlflow.example.org"
SETTINGS = {"auth": "basic", "tls": "internal", "publicHost": NAME}


class _ByAddress(HTTPAdapter):
    """Goes to an address of this host and asks for the name, as if a server of names had told it."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:  # pyright: ignore[reportIncompatibleMethodOverride] - the rest as it comes
        assert request.url is not None
        request.headers.setdefault("Host", request.url.split("/")[2])
        request.url = request.url.replace(NAME, "127.0.0.1", 1)
        self.poolmanager.connection_pool_kw |= {"assert_hostname": NAME, "server_hostname": NAME}  # pyright: ignore[reportUnknownMemberType]
        return super().send(request, *args, **kwargs)


@dataclass(frozen=True)
class Secure:
    """A stack with logins and HTTPS that is up.

    Attributes:
        stack: The stack.
        folder: Where its root certificate is kept.
    """

    stack: Stack
    folder: Path

    @cached_property
    def root(self) -> Path:
        """The root certificate that its clients trust."""
        path = self.folder / "ca.pem"
        path.write_text(self.stack.checkout.toolchain("ca", stack=self.stack.name).ok().stdout, encoding="utf-8")
        return path

    def trust(self, root: Path) -> None:
        """Trust another authority than the stack's own."""
        self.__dict__["root"] = root

    @property
    def port(self) -> int:
        """The port of the front door."""
        return int(self.stack.settings["mlflowPort"])

    def user(self, name: str) -> tuple[str, str]:
        """Make a user by the project's own command, and give name and password."""
        made = self.stack.checkout.toolchain("user", name, stack=self.stack.name, record=False).ok()
        (line,) = [line for line in made.stdout.splitlines() if "MLFLOW_TRACKING_PASSWORD=" in line]
        return name, line.partition("=")[2]

    @property
    def admin(self) -> tuple[str, str]:
        """Name and password of the first user."""
        return "admin", self.stack.credentials()["mlflowAdminPassword"]

    def session(self, login: tuple[str, str] | None = None) -> requests.Session:
        """A client of HTTP that trusts the stack's authority."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.root)
        session.auth = login
        session.mount("https://", _ByAddress())
        return session

    def url(self, path: str) -> str:
        """An address at the front door."""
        return f"https://{NAME}:{self.port}{path}"

    def suite(self, login: tuple[str, str], work: Path, *, name: str, sizes: str) -> SuiteRun:
        """Run the client suite in a container on the front network: the standard variables, and the root to trust."""
        work.mkdir()
        work.chmod(0o777)
        root = work / "ca.pem"
        root.write_bytes(self.root.read_bytes())
        command = (
            f"python3 /suite/client_suite.py --json /work/result.json --work /work --name '{name}' --sizes {sizes}"
        )
        environment = {
            "MLFLOW_TRACKING_URI": f"https://{NAME}:5000",
            "MLFLOW_TRACKING_USERNAME": login[0],
            "MLFLOW_TRACKING_PASSWORD": login[1],
            "REQUESTS_CA_BUNDLE": "/work/ca.pem",
        }
        network = f"mlflow-{self.stack.name}-front"
        return run_suite_in_container(self.stack, work, command, environment=environment, network=network)

    def openssl(self, *arguments: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
        """Connect with openssl, by a name of its own."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-servername", name, *arguments]
        return subprocess.run(command, input="", check=False, capture_output=True, text=True, timeout=30)


def json_of(response: requests.Response) -> Mapping[str, Any]:
    """The body of a good answer.

    Raises:
        AssertionError: It is an error.
    """
    assert response.status_code == 200, (
        f"{response.request.method} {response.url}: {response.status_code} {response.text}"
    )
    return response.json()
