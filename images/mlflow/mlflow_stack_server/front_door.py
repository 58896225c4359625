"""One front door: presigned URLs carry the address under which the caller reached us, and downloads skip the server.

MLflow's server hands presigned URLs to its clients for large transfers. Signed by the built-in repository they point
at the artifact store's internal name, which no client can resolve. Here they are signed for the Host of the request
in hand; the gateway sends whatever carries an S3 signature on to the artifact store with that Host kept, so the
signature holds.

A file that MLflow's server would send itself, it first fetches whole into a folder of its own. Where the gateway
offers to do better, by the header that web servers and their applications agreed on for this long ago
(`X-Sendfile-Type`, answered by `X-Accel-Redirect`), the answer is the presigned URL, and the gateway fetches the object
and sends it on as it comes. MLflow has checked by then that the caller may have it.

The class is registered as the `mlflow.artifact_repository` entry point `s3` and does nothing but this. A Host that a
caller made up ends up in the URL of that caller alone, and MLflow's own host check comes before.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
from mlflow.utils.mime_type_utils import _guess_mime_type  # pyright: ignore[reportPrivateUsage] - what its handlers use

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from mlflow.entities.presigned_download import PresignedDownloadUrlResponse

request_origin: ContextVar[tuple[str, str] | None] = ContextVar("request_origin", default=None)
"""Scheme and Host of the request in hand; None outside of a request, and then the internal address stands."""

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,253})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_OPERATIONS = ("GetObject", "PutObject", "UploadPart")


@dataclass
class Download:
    """A request whose answer the gateway would fetch itself, if it is told where the file is.

    Attributes:
        content_type: What the gateway is to call the content: what MLflow would have called it.
        location: Path and query of the file's presigned URL, once it turned out that the answer is a file.
    """

    content_type: str | None = None
    location: str | None = None


download_in_hand: ContextVar[Download | None] = ContextVar("download_in_hand", default=None)
"""What the gateway offered to fetch for the request in hand; None where it did not."""

ONE_STREAM_BYTES = 2 * 1024**3
"""Up to this size a client gets a download as one stream.

MLflow's client fetches what it is told the size of in ranges of 100 MiB, ten at a time, and puts each together from
pieces of 10 KiB: on a fast line that takes twice as long as one stream does. Above, it is worth its price: a range that
failed is fetched again alone.
"""


def origin_of(host: str, forwarded_proto: str, scheme: str) -> tuple[str, str] | None:
    """Return scheme and network location for a request's headers; None where the Host is no host.

    The default port is left out, as clients leave it out of the Host header that the signature covers.
    """
    if not _HOST.fullmatch(host):
        return None
    proto = forwarded_proto.split(",", maxsplit=1)[0].strip().lower()
    if proto not in _DEFAULT_PORTS:
        proto = scheme if scheme in _DEFAULT_PORTS else "http"
    return proto, host.lower().removesuffix(_DEFAULT_PORTS[proto])


class FrontDoorS3ArtifactRepository(S3ArtifactRepository):
    """MLflow's S3 repository, whose presigned URLs point at the front door.

    What it does is MLflow's own. Only the S3 client is told, just before it signs a URL, which address the URL is for;
    and where the gateway asks for it, a download ends with its URL.
    """

    def _get_s3_client(self) -> Any:  # noqa: ANN401  (boto3 clients have no static type)
        client = super()._get_s3_client()
        for operation in _OPERATIONS:
            client.meta.events.register(
                f"before-sign.s3.{operation}", _point_at_front_door, unique_id=f"mlflow-stack-front-door-{operation}"
            )
        return client

    def get_download_presigned_url(self, artifact_path: str, expiration: int = 300) -> PresignedDownloadUrlResponse:
        """Return MLflow's own answer, without the size where one stream is faster than ranges.

        A client that is not told the size asks the server for the file, which hands it over to the gateway.
        """
        answer = super().get_download_presigned_url(artifact_path, expiration)
        if download_in_hand.get() is not None and (answer.file_size or 0) <= ONE_STREAM_BYTES:
            answer.file_size = None
        return answer

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Hand a file over to the gateway where it offers that, else fetch it as MLflow does.

        The server downloads in order to send what it downloaded, and for nothing else. What it says of the exception
        never leaves it: the answer is `Application`'s.

        Raises:
            MlflowException: The file is handed over.
        """
        download = download_in_hand.get()
        presign = getattr(super(), "get_download_presigned_url", None)  # MLflow 2 has none
        if download is not None and presign is not None:
            download.content_type = _guess_mime_type(artifact_path)
            try:
                url = urlsplit(presign(artifact_path).url)
            except MlflowException:
                pass  # a directory, or nothing: MLflow's own answer to that is its own
            else:
                download.location = urlunsplit(("", "", url.path, url.query, ""))
                raise MlflowException.invalid_parameter_value("handed over to the gateway")
        return super().download_artifacts(artifact_path, dst_path)


def _point_at_front_door(request: AWSRequest, **_: object) -> None:
    context: dict[str, object] = request.context
    origin = request_origin.get()
    if origin is None or not context.get("is_presign_request"):
        return
    parts = urlsplit(request.url)
    scheme, host = origin
    query, download = str(parts.query), download_in_hand.get()
    if download is not None and download.content_type is not None:
        query += "&" + urlencode({"response-content-type": download.content_type}, quote_via=quote)
    request.url = urlunsplit((scheme, host, str(parts.path), query, str(parts.fragment)))
