"""A registry on this machine: serves one image of the Docker host, under any name."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import docker

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """What it serves.

    Attributes:
        address: `host:port`; Docker talks plain HTTP to loopback addresses.
        digest: Digest of the manifest.
        asked: Paths that were asked for.
    """

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        """Take an image out of the Docker host."""
        saved = io.BytesIO(b"".join(client.images.get(image).save()))
        self.blobs: dict[str, bytes] = {}
        with tarfile.open(fileobj=saved) as archive:

            def read(name: str) -> bytes:
                member = archive.extractfile(name)
                assert member is not None
                return member.read()

            (content,) = json.loads(read("manifest.json"))
            layers = [self._blob(read(name)) for name in content["Layers"]]
            config = self._blob(read(content["Config"]))
        config["mediaType"] = "application/vnd.docker.container.image.v1+json"
        for layer in layers:
            layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        self.manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        ).encode()
        self.digest = f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"
        self.address = ""
        self.asked: list[str] = []

    def _blob(self, data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    def reference(self, name: str, digest: str = "") -> str:
        """A reference by tag and digest, as the vendors' are pinned."""
        return f"{self.address}/{name}@{digest or self.digest}"


@contextmanager
def serving(client: docker.DockerClient, image: str) -> Generator[Registry]:
    """A registry while the block runs."""
    registry = Registry(client, image)

    class Handler(BaseHTTPRequestHandler):
        """The few requests of a pull."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer one of them."""
            registry.asked.append(self.path)
            kind, _, digest = self.path.rpartition("/")
            if self.path == "/v2/":
                self._answer(b"{}", "application/json")
            elif kind.endswith("/manifests"):
                self._answer(registry.manifest, _MANIFEST)
            elif kind.endswith("/blobs") and digest in registry.blobs:
                self._answer(registry.blobs[digest], "application/octet-stream")
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def _answer(self, body: bytes, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", registry.digest)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
