"""Requests per second: concurrent clients that log one metric after the other, each over a connection of its own.

Each client sends what MLflow's own client sends for `log_metric`, and like its `requests` session keeps its
connection open. It is written on bare sockets so that it leaves the processor to the side that is measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from bench.cgroups import CannotMeasureError

_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """How a side is reached.

    Attributes:
        uri: Its address.
        login: User and password; None where there are no users.
        root: File with the root certificate that vouches for it; None without HTTPS.
    """

    uri: str
    login: tuple[str, str] | None = None
    root: str | None = None

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What a connection is made with."""
        return ssl.create_default_context(cafile=self.root) if self.root else None

    @property
    def headers(self) -> dict[str, str]:
        """What each request bears."""
        if self.login is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(self.login).encode()).decode()}


@dataclass(slots=True)
class Window:
    """What a window of load gave.

    Attributes:
        seconds: How long requests were counted.
        latencies: Seconds that each counted request took.
        answered: All requests that were answered, those of the warm-up too.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list[float])
    answered: int = 0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency in milliseconds that this share of the requests kept to."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


def run(access: Access, clients: int, seconds: float, warm_up: float) -> Window:
    """Load a server.

    Args:
        access: How it is reached.
        clients: How many clients log at the same time, each to a run of its own.
        seconds: How long requests are counted.
        warm_up: Seconds of the same load before that.

    Raises:
        CannotMeasureError: An answer was other than 200, or none.
    """
    try:
        runs = [_create_run(access) for _ in range(clients)]
        return asyncio.run(_load(access, runs, seconds, warm_up))
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        raise CannotMeasureError(f"{access.uri}: under load: {error!r}") from error


def _create_run(access: Access) -> str:
    body = json.dumps({"experiment_id": "0", "start_time": _now(), "run_name": "load"}).encode()
    request = urllib.request.Request(  # noqa: S310 - always HTTP or HTTPS
        f"{access.uri}/api/2.0/mlflow/runs/create", body, {"Content-Type": "application/json", **access.headers}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT, context=access.tls) as answer:  # noqa: S310 - see above
        created: dict[str, Any] = json.load(answer)
    return str(created["run"]["info"]["run_id"])


def _now() -> int:
    return int(time.time() * 1000)


async def _load(access: Access, runs: list[str], seconds: float, warm_up: float) -> Window:
    window = Window(seconds)
    begin = time.monotonic() + warm_up
    async with asyncio.timeout(warm_up + seconds + _TIMEOUT), asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(_client(access, run, begin, begin + seconds, window))
    return window


async def _client(access: Access, run: str, begin: float, end: float, window: Window) -> None:
    address = urlsplit(access.uri)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, ssl=access.tls)
    more = "".join(f"{name}: {value}\r\n" for name, value in access.headers.items())
    step = 0
    try:
        while (sent := time.monotonic()) < end:
            step += 1
            writer.write(_request(address.netloc, run, step, more))
            await _answer(reader)
            done = time.monotonic()
            window.answered += 1
            if begin <= done < end:
                window.latencies.append(done - sent)
    finally:
        writer.close()


def _request(host: str, run: str, step: int, more: str) -> bytes:
    metric = {"run_uuid": run, "run_id": run, "key": "loss", "value": 1 / step, "timestamp": _now(), "step": step}
    body = json.dumps(metric).encode()
    head = (
        f"POST /api/2.0/mlflow/runs/log-metric HTTP/1.1\r\nHost: {host}\r\nUser-Agent: mlflow-python-client\r\n"
        "Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> None:
    """Read one answer to its end.

    Raises:
        CannotMeasureError: It is other than 200.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    if int(status.split()[1]) != HTTPStatus.OK:
        raise CannotMeasureError(f"a server under load answered {status}: {body[:200].decode(errors='replace')}")
