"""What a tracking server has acknowledged, written down, and asked for again later."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import requests

_TIMEOUT = 20


def client() -> requests.Session:
    """A client that comes anew each time: one that kept a connection would take a new gateway for a broken one."""
    session = requests.Session()
    session.headers["Connection"] = "close"
    return session


@dataclass(frozen=True, slots=True)
class Entry:
    """One run, acknowledged as a whole.

    Attributes:
        run: Its id.
        value: What its parameter, its metric and its artifact hold.
    """

    run: str
    value: str


@dataclass
class Ledger:
    """A client that keeps account.

    Attributes:
        uri: The tracking server.
        entries: Everything that was acknowledged.
        session: By whom it asks.
        begun: How many runs it has asked for, acknowledged or not.
    """

    uri: str
    entries: list[Entry] = field(default_factory=list[Entry])
    session: requests.Session = field(default_factory=client)
    begun: int = 0
    _experiment: str = ""

    def log(self, count: int = 1) -> None:
        """Log runs with a parameter, a metric and an artifact each, and write down those that were acknowledged whole.

        Raises:
            requests.RequestException: The server did not acknowledge one of them; those before it are in the ledger.
        """
        if not self._experiment:
            self._experiment = self._post("experiments/create", name=f"ledger {uuid.uuid4()}")["experiment_id"]
        for _ in range(count):
            now = int(time.time() * 1000)
            self.begun += 1
            made = self._post("runs/create", experiment_id=self._experiment, start_time=now)
            run, value = made["run"]["info"]["run_id"], uuid.uuid4().hex
            self._post("runs/log-parameter", run_id=run, key="value", value=value)
            self._post("runs/log-metric", run_id=run, key="value", value=int(value[:8], 16), timestamp=now, step=1)
            self.session.put(self._artifact(run), data=value.encode(), timeout=_TIMEOUT).raise_for_status()
            self.entries.append(Entry(run, value))

    def log_large(self, size: int, count: int) -> requests.Response:
        """Log a run with so many tags of so many characters; no part of the account."""
        now = int(time.time() * 1000)
        made = self._ask("runs/create", experiment_id=self._experiment, start_time=now)
        if not made.ok:
            return made
        self.begun += 1
        tags = [{"key": f"t{number}", "value": uuid.uuid4().hex * (size // 32)} for number in range(count)]
        return self._ask("runs/log-batch", run_id=made.json()["run"]["info"]["run_id"], tags=tags)

    def put_large(self, size: int) -> requests.Response:
        """Store an artifact of so many bytes; no part of the account."""
        url = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/large/{uuid.uuid4()}"
        return self.session.put(url, data=bytes(size), timeout=_TIMEOUT)

    def doubled(self) -> list[str]:
        """What the server has more of than was asked for."""
        found = [
            f"{entry.run}: {len(history)} values of one metric"
            for entry in self.entries
            if len(history := self._history(entry.run)) != 1
        ]
        runs = self._count()
        return found if runs <= self.begun else [*found, f"{runs} runs, of {self.begun} that were asked for"]

    def _history(self, run: str) -> list[Any]:
        params = {"run_id": run, "metric_key": "value"}
        url = f"{self.uri}/api/2.0/mlflow/metrics/get-history"
        answer = self.session.get(url, params=params, timeout=_TIMEOUT)
        answer.raise_for_status()
        return answer.json().get("metrics", [])

    def _count(self) -> int:
        runs, token = 0, ""
        while True:
            page = self._post(
                "runs/search", experiment_ids=[self._experiment], max_results=1000, page_token=token or None
            )
            runs += len(page.get("runs", []))
            token = page.get("next_page_token", "")
            if not token:
                return runs

    def missing(self) -> list[str]:
        """What the server does not give back as it was acknowledged."""
        return [f"{entry.run}: {found}" for entry in self.entries if (found := self._wrong(entry)) is not None]

    def _wrong(self, entry: Entry) -> str | None:
        answer = self.session.get(f"{self.uri}/api/2.0/mlflow/runs/get", params={"run_id": entry.run}, timeout=_TIMEOUT)
        if answer.status_code != requests.codes.ok:
            return f"run: {answer.status_code} {answer.text[:200]}"
        data: dict[str, Any] = answer.json()["run"]["data"]
        if {item["key"]: item["value"] for item in data.get("params", [])} != {"value": entry.value}:
            return f"parameter: {data}"
        if [item["value"] for item in data.get("metrics", [])] != [int(entry.value[:8], 16)]:
            return f"metric: {data}"
        artifact = self.session.get(self._artifact(entry.run), timeout=_TIMEOUT)
        if artifact.content != entry.value.encode():
            return f"artifact: {artifact.status_code} {artifact.text[:200]}"
        return None

    def _artifact(self, run: str) -> str:
        return f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{self._experiment}/{run}/artifacts/value.txt"

    def _post(self, route: str, **body: Any) -> dict[str, Any]:
        answer = self._ask(route, **body)
        answer.raise_for_status()
        return answer.json()

    def acknowledges(self) -> bool:
        """Log a run, and say whether the stack has acknowledged it."""
        try:
            self.log()
        except requests.RequestException:
            return False
        return True

    def _ask(self, route: str, **body: Any) -> requests.Response:
        return self.session.post(f"{self.uri}/api/2.0/mlflow/{route}", json=body, timeout=_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Load:
    """A client at work.

    Attributes:
        ledger: Where it keeps account.
    """

    ledger: Ledger

    def acknowledged(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more runs are acknowledged.

        Raises:
            AssertionError: They are not, in that time.
        """
        wanted, end = len(self.ledger.entries) + count, time.monotonic() + seconds
        while len(self.ledger.entries) < wanted:
            assert time.monotonic() < end, f"{count} runs more: not acknowledged within {seconds} s"
            time.sleep(0.02)


@dataclass
class Pace:
    """How fast clients log, all of them.

    Attributes:
        rest: Seconds between two runs; without any, one client keeps a core busy and leaves it to no other test.
    """

    rest: float = 0.25


PACE = Pace()


@contextmanager
def under_load(ledger: Ledger) -> Generator[Load]:
    """A client that logs all the time, and goes on when it was refused.

    Raises:
        AssertionError: Nothing was acknowledged to it in all that time.
    """
    stop, before = threading.Event(), len(ledger.entries)

    def log() -> None:
        while not stop.is_set():
            with suppress(requests.RequestException):
                ledger.log()
            stop.wait(PACE.rest)

    worker = threading.Thread(target=log)
    worker.start()
    try:
        yield Load(ledger)
    finally:
        stop.set()
        worker.join()
    assert len(ledger.entries) > before, "the client got nothing acknowledged in all that time"
