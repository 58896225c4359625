"""One front door: presigned URLs carry the address under which the caller reached us.

MLflow's server hands presigned URLs to its clients for large transfers. Signed by the built-in repository they point
at the artifact store's internal name, which no client can resolve. Here they are signed for the Host of the request
in hand; the gateway sends whatever carries an S3 signature on to the artifact store with that Host kept, so the
signature holds.

The class is registered as the `mlflow.artifact_repository` entry point `s3` and does nothing but this. A Host that a
caller made up ends up in the URL of that caller alone, and MLflow's own host check comes before.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest

request_origin: ContextVar[tuple[str, str] | None] = ContextVar("request_origin", default=None)
"""Scheme and Host of the request in hand; None outside of a request, and then the internal address stands."""

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,253})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_OPERATIONS = ("GetObject", "PutObject", "UploadPart")


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

    Every method is MLflow's own. Only the client is told, just before it signs a URL, which address the URL is for.
    """

    def _get_s3_client(self) -> Any:  # noqa: ANN401  (boto3 clients have no static type)
        client = super()._get_s3_client()
        for operation in _OPERATIONS:
            client.meta.events.register(
                f"before-sign.s3.{operation}", _point_at_front_door, unique_id=f"mlflow-stack-front-door-{operation}"
            )
        return client


def _point_at_front_door(request: AWSRequest, **_: object) -> None:
    context: dict[str, object] = request.context
    origin = request_origin.get()
    if origin is None or not context.get("is_presign_request"):
        return
    parts = urlsplit(request.url)
    scheme, host = origin
    request.url = urlunsplit((scheme, host, str(parts.path), str(parts.query), str(parts.fragment)))
