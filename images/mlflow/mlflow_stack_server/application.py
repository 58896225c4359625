"""The ASGI application that is served: MLflow's own, with the deep health check before it.

What happens here to a request before MLflow sees it: /health is answered by us, pages of other sites are sent away, a
login is asked for on the routes that MLflow leaves open, and the address under which the caller reached us is
remembered for `front_door`. Routes, middleware and answers are MLflow's, but for a file that the gateway fetches
itself: there the answer says where it is.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mlflow_stack_server.front_door import Download, download_in_hand, origin_of, request_origin
from mlflow_stack_server.same_origin import is_foreign, is_own

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from mlflow_stack_server.health import Health, SharedHealth
    from mlflow_stack_server.users import Login

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEALTH_PATH = "/health"

_SENDFILE_TYPE = b"x-sendfile-type"
_ACCEL_REDIRECT = b"x-accel-redirect"


class Application:
    """MLflow's ASGI application behind the health check and the note of the caller's address."""

    def __init__(
        self,
        mlflow_app: App,
        health: SharedHealth,
        *,
        front_door: bool,
        threads: int,
        origins: tuple[str, ...] = (),
        login: Login | None = None,
    ) -> None:
        """Wrap `mlflow_app`.

        Args:
            mlflow_app: What is served.
            health: Answers /health.
            front_door: Presigned URLs are for the address of the request in hand.
            threads: How many requests one worker hands to MLflow at a time.
            origins: Origins beside our own whose pages may call.
            login: Asks for a login where MLflow does not; None where there are no users.
        """
        self._origins = origins
        self._login = login
        self._app = mlflow_app
        self._health = health
        self._front_door = front_door
        self._threads = threads
        # A pool of its own: where all of MLflow's threads hang on a frozen database, the check must still answer.
        self._pool: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] == "http":
            if scope["path"] == HEALTH_PATH and scope["method"] in ("GET", "HEAD"):
                await self._answer(scope["method"], send)
                return
            headers: dict[bytes, bytes] = dict(scope["headers"])
            if is_foreign(headers, self._origins):
                await _refuse(send, 403, b"This page may not call this server.")
                return
            if is_own(headers):
                # MLflow takes a page of its own under a public name for another site's.
                scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"origin"]}
            if self._login is not None and not await self._login.admits(scope["path"], headers):
                await _refuse(send, 401, b"You are not authenticated.")
                return
            if self._front_door:
                origin = origin_of(
                    headers.get(b"host", b"").decode("latin-1"),
                    headers.get(b"x-forwarded-proto", b"").decode("latin-1"),
                    scope.get("scheme", "http"),
                )
                request_origin.set(origin)
                offered = headers.get(_SENDFILE_TYPE, b"").lower() == _ACCEL_REDIRECT
                if offered and origin is not None and scope["method"] == "GET":
                    download = Download()
                    download_in_hand.set(download)
                    send = _unless_handed_over(send, download)
        elif scope["type"] == "lifespan":
            self._limit_threads()
        await self._app(scope, receive, send)

    async def _answer(self, method: str, send: Send) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health")
        outcome: Health = await asyncio.get_running_loop().run_in_executor(self._pool, self._health.current)
        body = outcome.reason.encode()
        headers = [
            (b"content-type", b"text/html; charset=utf-8" if outcome.well else b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200 if outcome.well else 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    def _limit_threads(self) -> None:
        """Hand no more requests to MLflow's threads than there are database connections for.

        With more, requests take turns for a connection and the last ones fail after 30 seconds in the queue of the
        pool; with this they wait where waiting has no limit.
        """
        from anyio import to_thread  # noqa: PLC0415  (needs a running loop anyway)

        to_thread.current_default_thread_limiter().total_tokens = self._threads


async def _refuse(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status == 401:  # noqa: PLR2004 - Unauthorized
        headers.append((b"www-authenticate", b'Basic realm="mlflow"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _unless_handed_over(send: Send, download: Download) -> Send:
    """Send MLflow's answer, or where the file is that it would have been; who may read it is MLflow's word in both."""

    async def answer(message: MutableMapping[str, Any]) -> None:
        if download.location is None:
            await send(message)
        elif message["type"] == "http.response.start":
            headers = [(name, value) for name, value in message["headers"] if not name.lower().startswith(b"content-")]
            headers += [(_ACCEL_REDIRECT, download.location.encode("latin-1")), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        elif not message.get("more_body"):
            await send({"type": "http.response.body", "body": b""})

    return answer
