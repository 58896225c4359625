"""Connections to one MinIO server: the S3 side and the admin side, both of the `minio` package."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from minio import Minio
    from minio.minioadmin import MinioAdmin

    from toolchain.plugins.wire import Properties, Value

_TIMEOUT: Final = 60.0  # seconds a request
_RETRIES: Final = 3


class Client:
    """What a provider's settings lead to. The `minio` package is imported at the first use."""

    def __init__(self) -> None:
        """Know nothing yet; `configure` tells."""
        self._settings: Properties = {}
        self._s3: Minio | None = None
        self._admin: MinioAdmin | None = None
        self._lock = threading.Lock()
        # The policies of a user are one value, read and written whole; the server does the same with the
        # configuration of a bucket and loses one of two concurrent changes.
        self.attaching = threading.Lock()
        self.configuring = threading.Lock()
        self.region = "us-east-1"

    def configure(self, settings: Properties) -> None:
        """Take the provider's settings; environment variables stand in for what is not set.

        Raises:
            ValueError: no server is named.
        """
        environment = os.environ

        def setting(key: str, variable: str) -> Value:
            given = settings.get(key)
            return environment.get(variable) if given is None else given

        self._settings = {
            "server": setting("minioServer", "MINIO_ENDPOINT"),
            "user": setting("minioUser", "MINIO_USER") or "",
            "password": setting("minioPassword", "MINIO_PASSWORD") or "",
            "session": setting("minioSessionToken", "MINIO_SESSION_TOKEN") or None,
            "ssl": _true(setting("minioSsl", "MINIO_ENABLE_HTTPS")),
            "insecure": _true(setting("minioInsecure", "MINIO_INSECURE")),
            "authority": setting("minioCacertFile", "MINIO_CACERT_FILE"),
        }
        self.region = settings.get("minioRegion") or "us-east-1"
        if not self._settings["server"]:
            msg = "minioServer is not set"
            raise ValueError(msg)

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"{'https' if self._settings['ssl'] else 'http'}://{self._settings['server']}"

    @property
    def s3(self) -> Minio:
        """The S3 side."""
        self._connect()
        assert self._s3 is not None  # noqa: S101 (for the type checker)
        return self._s3

    @property
    def admin(self) -> MinioAdmin:
        """The admin side."""
        self._connect()
        assert self._admin is not None  # noqa: S101 (for the type checker)
        return self._admin

    def _connect(self) -> None:
        with self._lock:
            if self._admin is not None:
                return
            # Slow to import, needed only for a change.
            import certifi  # noqa: PLC0415
            import urllib3  # noqa: PLC0415
            from minio import Minio  # noqa: PLC0415
            from minio.credentials.providers import StaticProvider  # noqa: PLC0415
            from minio.minioadmin import MinioAdmin  # noqa: PLC0415

            settings = self._settings
            authority = settings["authority"] or os.environ.get("SSL_CERT_FILE") or certifi.where()
            pool = urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=_TIMEOUT, read=_TIMEOUT),
                maxsize=10,
                cert_reqs="CERT_NONE" if settings["insecure"] else "CERT_REQUIRED",
                ca_certs=authority,
                retries=urllib3.Retry(total=_RETRIES, backoff_factor=0.2, status_forcelist=[502, 503, 504]),
            )
            provider = StaticProvider(settings["user"], settings["password"], settings["session"])
            secure = settings["ssl"]
            self._s3 = Minio(
                settings["server"], credentials=provider, secure=secure, region=self.region, http_client=pool
            )
            self._admin = MinioAdmin(
                endpoint=settings["server"],
                credentials=provider,
                secure=secure,
                region=self.region,
                http_client=pool,
            )

    def user_info(self, name: str) -> Properties | None:
        """Return what the server knows of a user, None when there is none.

        Raises:
            RuntimeError: the server cannot be asked.
        """
        try:
            return json.loads(self.admin.user_info(name))
        except Exception as error:
            if code(error) == "XMinioAdminNoSuchUser":
                return None
            raise


def _true(value: Value) -> bool:
    return value is True or str(value).lower() in ("true", "1", "t")


def _body(error: Exception) -> Properties:
    body = getattr(error, "_body", None)
    try:
        parsed = json.loads(body) if isinstance(body, str) else {}
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def code(error: Exception) -> str:
    """Return the server's name of an error, "" when the server did not answer."""
    return str(getattr(error, "code", None) or _body(error).get("Code") or "")


def fatal(what: str, resource: str, error: Exception | str) -> RuntimeError:
    """Return an error in the vendor's words."""
    if isinstance(error, str):
        text = error
    else:
        text = str(getattr(error, "message", None) or _body(error).get("Message") or error)
    return RuntimeError(f"[FATAL] {what} ({resource}): {text}")
