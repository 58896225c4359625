"""A client of the front door that comes by an address of this machine and asks for the name that is served there."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus

from components.front_door import FrontDoor
from components.naming import MLFLOW_ADMIN

_TIMEOUT = 20
_LOOPBACK = "127.0.0.1"

#: Seconds that a gateway gets to come by its certificate: an authority on the internet takes its time, and where the
#: first attempt fails, Caddy makes the next one a minute later.
_CERTIFICATE_WITHIN = {"acme": 150, "internal": 90, "files": 10}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the parts of a stack are found; the stores as addresses of this machine."""

    postgres_host: str
    postgres_port: int
    minio: str
    front_door: FrontDoor

    @classmethod
    def of(cls, door: FrontDoor) -> Endpoints:
        """Those of a stack with this front door."""
        settings = door.settings
        api = door.address if settings.artifact_access == "direct" else _LOOPBACK
        return cls(_LOOPBACK, settings.postgres_port, f"{api}:{settings.minio_api_port}", door)


@dataclass(frozen=True, slots=True)
class FrontDoorClient:
    """Asks as MLflow's first user where there are users.

    Attributes:
        door: The address.
        password: Of the first user; None asks without a login.
    """

    door: FrontDoor
    password: str | None = None

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Give the body of a good answer.

        Raises:
            ValueError: The answer is an error.
            OSError: There is no answer.
        """
        status, answer = self._answer(method, path, body)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise ValueError(f"{method} {self.door.url}{path} answered {status}")
        return answer

    def status(self, method: str, path: str) -> int:
        """Give the status of an answer, whatever it is.

        Raises:
            OSError: There is no answer.
        """
        return self._answer(method, path, None)[0]

    def _answer(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        settings = self.door.settings
        host = settings.public_host or self.door.address
        connection = http.client.HTTPConnection(host, settings.mlflow_port, timeout=_TIMEOUT)
        connection.sock = self._connected()
        headers: dict[str, str] = {}
        if self.password is not None:
            login = base64.b64encode(f"{MLFLOW_ADMIN}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _connected(self) -> socket.socket:
        settings = self.door.settings
        if not self.door.is_https:
            return socket.create_connection((self.door.address, settings.mlflow_port), _TIMEOUT)
        # Whose certificate it is, clients check. This is an address of this very machine, and the question is whether
        # what answers there works; the root that vouches for it may be one that this machine does not know.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        deadline = time.monotonic() + _CERTIFICATE_WITHIN[settings.tls]
        while True:
            plain = socket.create_connection((self.door.address, settings.mlflow_port), _TIMEOUT)
            try:
                return context.wrap_socket(plain, server_hostname=settings.public_host)
            except ssl.SSLError as error:
                plain.close()
                if time.monotonic() > deadline:
                    raise OSError(f"no certificate for {settings.public_host} yet ({error.reason})") from None
                time.sleep(0.2)
