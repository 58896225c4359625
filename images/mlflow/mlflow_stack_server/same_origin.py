"""Requests that a page of another site makes are refused, before MLflow sees them.

MLflow lets every page of `localhost` call it, whatever its port, and knows no difference between its own pages and
others under a public name. Browsers say where a request comes from: by `Origin`, and by `Sec-Fetch-Site` where
there is no `Origin` (Fetch Metadata Request Headers, W3C). Clients that are no browsers send neither.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_OWN = frozenset({b"same-origin", b"none"})


def is_foreign(headers: dict[bytes, bytes], allowed: tuple[str, ...]) -> bool:
    """Say whether a request comes from a page that is not this server's.

    A link or an address typed in is no request of a page. The scheme is not compared: behind somebody else's HTTPS
    this server does not know it.

    Args:
        headers: Of the request, by name in lower case.
        allowed: Other origins whose pages may call, such as `https://notebooks.example.org`.
    """
    origin = headers.get(b"origin")
    if origin is not None:
        text = origin.decode("latin-1").lower()
        return text not in allowed and not is_own(headers)
    site = headers.get(b"sec-fetch-site", b"none")
    return site not in _OWN and headers.get(b"sec-fetch-mode") != b"navigate"


def is_own(headers: dict[bytes, bytes]) -> bool:
    """Say whether a request names this server as the origin of the page that makes it."""
    origin = headers.get(b"origin")
    return origin is not None and _authority(origin.decode("latin-1").lower()) == _host(headers)


def _authority(origin: str) -> str | None:
    parts = urlsplit(origin)
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc:
        return None  # `null`, an extension, a file
    return parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])


def _host(headers: dict[bytes, bytes]) -> str:
    host = headers.get(b"host", b"").decode("latin-1").lower()
    for port in _DEFAULT_PORTS.values():
        host = host.removesuffix(port)
    return host
