"""The mode `serve`: backups by a schedule, old ones removed, and a loud voice when one failed or is late.

It answers on a port of its own: `/health` (503 with the reason when the last backup failed, or one is overdue),
`/metrics` for Prometheus, `/status` as JSON, and, to the container itself alone, `/now`, which makes a backup.
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from mlflow_stack_backup import backup, manifest, rclone, sets
from mlflow_stack_backup.errors import Problem
from mlflow_stack_backup.request import Request
from mlflow_stack_backup.schedule import Schedule

PORT: Final = 9100
FILES: Final = Path("/run/mlflow-stack")
#: What the last `make up` left for the next backups: stack file, state, passphrase.
_KEPT: Final = FILES / "kept"
_LOOPBACK: Final = "127.0.0.1"

#: A backup that is not there so long after its time is overdue.
_GRACE: Final = timedelta(hours=1)
#: Seconds until one that failed is tried again.
_AGAIN: Final = 600.0
#: Seconds between two looks at the clock: a machine that slept, or whose clock was set, is noticed.
_LOOK: Final = 10.0


@dataclass
class Keeper:
    """Makes the backups of one stack, one at a time.

    Attributes:
        request: What a backup is made from.
        schedule: When.
        keep: How many sets stay.
        hold: Holds the target.
        since: When this began.
        last: When the newest whole set was finished; None where there is none.
        error: Why the last attempt failed; None where it did not.
        failures: Attempts that failed since this began.
        size: Bytes of the newest set.
        seconds: That it took.
    """

    request: Request
    schedule: Schedule
    keep: int
    hold: Callable[[], Any]
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    last: datetime | None = None
    error: str | None = None
    failures: int = 0
    size: int = 0
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Learn what is in the target; one that can't be reached is an error at once, not in the first night."""
        try:
            with self.hold():
                sets.claim(str(self.request.about["project"]), str(self.request.about["stack"]))
                known = sets.whole()
                if known:
                    where = sets.path(known[-1], manifest.NAME)
                    content = manifest.read(where, rclone.text(where))
                    self.last = datetime.fromisoformat(content["finished"])
                    self.size = sum(entry["size"] for entry in content["files"]) + content["objects"]["bytes"]
        except Problem as problem:
            self._failed(problem)

    def make(self) -> dict[str, Any]:
        """Make a backup, and remove those beyond the number to keep.

        Raises:
            Problem: It failed.
        """
        with self._lock:
            try:
                kept = {path.name: path.read_text(encoding="utf-8") for path in _KEPT.glob("*")}
                with self.hold():
                    made = backup.run(self.request, kept)
                    gone = sets.prune(self.keep)
            except Problem as problem:
                self._failed(problem)
                raise
            self.last, self.error = datetime.now(UTC), None
            self.size, self.seconds = made["bytes"], made["seconds"]
            removed = ", ".join(gone) or "none"
            counts = made["objects"]
            new = f"{counts['new']} new objects ({counts['spoilt']} of them were spoilt in the backup)"
            say(f"backup {made['set']}: {new}, {made['seconds']} s; removed: {removed}")
            return made

    def _failed(self, problem: Problem) -> None:
        self.error = str(problem)
        self.failures += 1
        say(f"backup FAILED: {problem}")

    @property
    def due(self) -> datetime:
        """When the next backup is due: the first time of the schedule after the last one."""
        return self.schedule.after(self.last or self.since)

    @property
    def trouble(self) -> str | None:
        """What is wrong; None where nothing is."""
        if self.error is not None:
            return f"the last backup failed: {self.error}"
        if datetime.now(UTC) > self.due + _GRACE:
            return f"a backup was due at {self.due.isoformat()}, and is not there"
        return None

    def status(self) -> dict[str, Any]:
        """All of it, for `make status`."""
        return {
            "last": self.last.isoformat(timespec="seconds") if self.last else None,
            "next": self.due.isoformat(timespec="minutes"),
            "bytes": self.size,
            "trouble": self.trouble,
        }

    def metrics(self) -> str:
        """The same for Prometheus."""
        values = {
            "last_success_timestamp_seconds": self.last.timestamp() if self.last else 0,
            "next_timestamp_seconds": self.due.timestamp(),
            "ok": int(self.trouble is None),
            "failures_total": self.failures,
            "size_bytes": self.size,
            "duration_seconds": self.seconds,
        }
        return "".join(
            f"# TYPE mlflow_stack_backup_{name} {'counter' if name.endswith('_total') else 'gauge'}\n"
            f"mlflow_stack_backup_{name} {value}\n"
            for name, value in values.items()
        )


def run(keeper: Keeper) -> None:
    """Serve until the container is stopped."""
    keeper.look()
    server = ThreadingHTTPServer(("0.0.0.0", PORT), _handler(keeper))  # noqa: S104 - in a container, on the stack's networks
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(f"the next backup is due at {keeper.due.isoformat()}")
    pause = threading.Event()
    while True:
        pause.wait(_LOOK)
        if datetime.now(UTC) < keeper.due:
            continue
        try:
            keeper.make()
        except Problem:
            pause.wait(_AGAIN)


def ask(path: str) -> int:
    """Ask the server in this container, and print its answer; return an exit code."""
    with urllib.request.urlopen(f"http://{_LOOPBACK}:{PORT}{path}") as answer:
        text = answer.read().decode()
    print(text, flush=True)
    return 1 if "problem" in json.loads(text) else 0


def say(text: str) -> None:
    """Log a line."""
    print(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}", file=sys.stderr, flush=True)


def _handler(keeper: Keeper) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                trouble = keeper.trouble
                self._answer(f"{trouble or 'OK'}\n", "text/plain", ok=trouble is None)
            elif self.path == "/metrics":
                self._answer(keeper.metrics(), "text/plain; version=0.0.4")
            elif self.path == "/status":
                self._answer(json.dumps(keeper.status()), "application/json")
            elif self.path == "/now" and self.client_address[0] == _LOOPBACK:
                try:
                    outcome = keeper.make()
                except Problem as problem:
                    outcome = {"problem": problem.parts}
                self._answer(json.dumps(outcome), "application/json")
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _answer(self, text: str, kind: str, *, ok: bool = True) -> None:
            body = text.encode()
            self.send_response(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            del format, args

    return Handler
