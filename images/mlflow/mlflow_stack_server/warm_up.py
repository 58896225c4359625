"""Ask the application a few harmless questions before the workers exist.

A server loads much of itself with its first requests: modules, compiled SQL, service descriptions of S3. Done once
before the fork, all workers share it: each starts with a fast first answer and some 20 MiB less memory of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from mlflow_stack_server.application import Application

REQUESTS: tuple[tuple[str, str, dict[str, object] | None], ...] = (
    ("GET", "/", None),
    ("GET", "/version", None),
    ("GET", "/api/3.0/mlflow/server-info", None),
    ("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1}),
    ("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": ["0"], "max_results": 1}),
    ("GET", "/api/2.0/mlflow/registered-models/search?max_results=1", None),
    ("GET", "/api/2.0/mlflow/metrics/get-history?run_id=none&metric_key=none", None),
)
"""Questions that change nothing, whatever is in the database."""


def run(application: Application, login: bytes | None = None) -> None:
    """Start the application, ask, and stop it again. A question that fails is no reason not to serve.

    Args:
        application: What is asked.
        login: Header by which a user logs in, where there are users.
    """
    asyncio.run(_run(application, login))
    _load_s3()


async def _run(application: Application, login: bytes | None) -> None:
    events = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> dict[str, Any]:
        return {"type": events.pop(0)}

    started = asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] != "lifespan.startup.complete":
            return
        started.set()
        for method, target, body in REQUESTS:
            await _ask(application, method, target, body, login)

    await application({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


async def _ask(
    application: Application, method: str, target: str, body: dict[str, object] | None, login: bytes | None
) -> None:
    path, _, query = target.partition("?")
    content = json.dumps(body).encode() if body is not None else b""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            *([(b"authorization", login)] if login else []),
        ],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        del message

    try:
        await application(scope, receive, send)
    except Exception:  # noqa: BLE001  (whatever it is, the real request will show it)
        logging.getLogger("mlflow_stack_server").warning("warm-up: %s %s failed", method, path)


def _load_s3() -> None:
    """Make MLflow's S3 client once: the description of the service is parsed then, and stays in the session."""
    from mlflow.store.artifact import s3_artifact_repo  # noqa: PLC0415

    get_client = getattr(s3_artifact_repo, "_get_s3_client", None)
    if get_client is not None:
        get_client()
