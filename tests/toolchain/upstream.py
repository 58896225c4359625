"""A server that tells what reached it: stands for MLflow and for MinIO behind the gateway.

Runs in a container, so it uses nothing but the standard library.
"""

import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = sys.argv[1]
CHUNK = 1 << 16


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked, or with a stream, or with a large body."""

    protocol_version = "HTTP/1.1"

    def _head(self, content_type: str, length: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if NAME == "minio":
            self.send_header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
            if origin := self.headers.get("Origin"):
                self.send_header("Access-Control-Allow-Origin", origin)
        self.end_headers()

    def _answer(self) -> None:
        if self.path.startswith("/events"):
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for number in range(3):
                self.wfile.write(f"data: {number}\n\n".encode())
                self.wfile.flush()
                time.sleep(1)
            return
        if self.path.startswith("/large/"):
            length = int(self.path.split("?")[0].rpartition("/")[2])
            self._head("application/octet-stream", length)
            for _ in range(length // CHUNK):
                self.wfile.write(b"\x5a" * CHUNK)
            return
        if self.path.startswith("/file/") and self.headers.get("X-Sendfile-Type") == "X-Accel-Redirect":
            self.send_response(200)
            self.send_header(
                "X-Accel-Redirect", f"/bucket/{self.path.removeprefix('/file/')}?type=a%2Fb&X-Amz-Signature=1"
            )
            self.send_header("Access-Control-Allow-Origin", "http://allowed.example")
            self.send_header("X-Frame-Options", "SAMEORIGIN")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        digest, left = hashlib.sha256(), int(self.headers.get("Content-Length", "0"))
        received = left
        while left:
            data = self.rfile.read(min(left, CHUNK))
            digest.update(data)
            left -= len(data)
        body = json.dumps(
            {
                "name": NAME,
                "method": self.command,
                "path": self.path,
                "headers": {key.lower(): value for key, value in self.headers.items()},
                "received": received,
                "sha256": digest.hexdigest(),
            }
        ).encode()
        self._head("application/json", len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _answer  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
