"""The connection to the Docker daemon."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from docker import APIClient

    from toolchain.plugins.wire import Properties, Value

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_TIMEOUT: Final = 1200  # seconds; a stop with a long grace, a pull, a build step may be silent for long


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Daemon:
    """One daemon. docker-py is imported and connected at the first use of `api`."""

    def __init__(self) -> None:
        """Know no host yet; `configure` tells."""
        self.host = DEFAULT_HOST
        self._options: Properties = {}
        self._api: APIClient | None = None
        self._lock = threading.Lock()

    def configure(self, settings: Properties) -> None:
        """Take the provider's settings and see whether the daemon answers.

        Raises:
            ConnectionError: it does not.
        """
        self.host = settings.get("host") or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self._options = settings
        if not self._answers() and not settings.get("disableDockerDaemonCheck"):
            msg = f"failed to connect to any docker daemon (host {self.host})"
            raise ConnectionError(msg)

    def _answers(self) -> bool:
        """Ping a local socket directly: an eighth of the time that importing docker-py takes."""
        parts = urlsplit(self.host)
        try:
            if parts.scheme == "unix":
                connection: http.client.HTTPConnection = _UnixConnection(parts.path)
                connection.request("GET", "/_ping")
                return connection.getresponse().status == http.client.OK
            return bool(self.api.ping())
        except Exception:  # noqa: BLE001 (whatever it is, the daemon does not answer)
            return False

    @property
    def api(self) -> APIClient:
        """The low-level API client."""
        with self._lock:
            if self._api is None:
                from docker import APIClient  # noqa: PLC0415 (slow to import, needed only for a change)
                from docker.tls import TLSConfig  # noqa: PLC0415

                tls: Value = False
                folder = self._options.get("certPath") or os.environ.get("DOCKER_CERT_PATH")
                if folder:
                    where = Path(folder)
                    tls = TLSConfig(
                        client_cert=(str(where / "cert.pem"), str(where / "key.pem")),
                        ca_cert=str(where / "ca.pem"),
                        verify=True,
                    )
                self._api = APIClient(
                    base_url=self.host,
                    version="auto",
                    timeout=_TIMEOUT,
                    tls=tls,
                    use_ssh_client=self.host.startswith("ssh://"),
                )
            return self._api

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Value = None,
        params: dict[str, str | int] | None = None,
        data: bytes | None = None,
    ) -> Value:
        """Send a request that docker-py has no function for, or one that takes less than the API does.

        Raises:
            docker.errors.APIError: what the daemon says is wrong.
        """
        from docker.errors import create_api_error_from_http_exception  # noqa: PLC0415
        from requests.exceptions import HTTPError  # noqa: PLC0415

        api = self.api
        url = f"{api.base_url}/v{api.api_version}{path}"
        answer = api.request(method, url, json=json, params=params, data=data, timeout=_TIMEOUT)
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        return answer.json() if answer.content else None


def missing(error: Exception) -> bool:
    """Say whether an error of docker-py means that the thing is not there."""
    from docker.errors import NotFound  # noqa: PLC0415

    return isinstance(error, NotFound)


def said(error: Exception) -> str:
    """Return what the daemon said, without docker-py's request line."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, bytes):
        explanation = explanation.decode(errors="replace")
    return f"Error response from daemon: {explanation}" if explanation else str(error)
