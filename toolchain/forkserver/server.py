"""One process for an engine's run that has imported the program's and the plugins' modules, and forks on demand.

An `up` starts the language host twice or three times and each plugin once or twice, and every one of them imports the
same packages for longer than it works. The engine starts the language host first of all. That one forks this server,
which imports everything while the engine goes on, and whoever is started later (`client`) is a fork of it. What comes
next is known: so it is forked before it is asked for, and serves already.

It ends with the engine, and it is not there for programs other than this checkout's.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from toolchain.forkserver.client import FOLDER, FORKED, LANGUAGE, ROOT, socket_name, through
from toolchain.forkserver.request import Request, of_client, wait_for, waits
from toolchain.stopping import engine_is_gone

#: What the program imports at once; nobody is answered before.
_FIRST: Final = ("components.config", "components.stack", "docker", "psycopg", "components.preflight")

#: Provider → module that makes it.
PLUGINS: Final[Mapping[str, str]] = {
    "docker": "toolchain.plugins.docker.provider",
    "minio": "toolchain.plugins.minio.provider",
    "postgresql": "toolchain.plugins.postgresql.provider",
}

#: What plugins need that have something to do, and a program at the end of a deployment.
_LAST: Final = ("minio",)

#: Seconds without a request after which what comes next is forked, once all is imported: a program waits for the Docker
#: host then, and nobody for this machine's cores.
_PAUSE: Final = 0.03

#: Seconds for a process to end once its client or its engine is gone.
_WITHIN: Final = 5.0


def begin() -> None:
    """Fork the server of the engine that has started this process, which must have no thread and no channel yet.

    Does nothing for another program than this checkout's, or on a system that can't tell when a process ends.
    """
    if Path.cwd() != Path(ROOT) or not hasattr(os, "pidfd_open"):
        return
    engine = os.getppid()
    try:
        watched = os.pidfd_open(engine)
        if engine_is_gone():
            return
        listener = _listener(engine)
    except OSError:
        return
    if os.fork():
        listener.close()
        os.close(watched)
        return
    try:
        os.setsid()  # the engine ends the language host with its whole group
        _silence()
        with suppress(Exception):  # whoever asks imports it by himself then, and tells what is wrong
            _Server(engine, watched, listener).serve()
        Path(FOLDER, socket_name(engine)).unlink(missing_ok=True)
    finally:
        os._exit(0)


def _listener(engine: int) -> socket.socket:
    for path in Path(FOLDER).glob(socket_name("*")):
        if not Path("/proc", path.stem.rpartition("-")[2]).exists():
            path.unlink(missing_ok=True)  # of a server that was killed
    name = socket_name(engine)
    Path(FOLDER, name).unlink(missing_ok=True)
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(through(folder, name))
    finally:
        os.close(folder)
    listener.listen()
    return listener


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


@dataclass(frozen=True, slots=True)
class _Process:
    """A process that was forked here.

    Attributes:
        pid: Its process id.
        ended: Descriptor that can be read when it has ended.
        other: Connection to the client that it stands for; while it waits for one, to the process itself.
    """

    pid: int
    ended: int
    other: socket.socket

    def close(self) -> None:
        self.other.close()
        os.close(self.ended)


def _nothing() -> None:
    pass


@dataclass
class _Server:
    engine: int
    watched: int
    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    taken: list[_Process] = field(default_factory=list[_Process])
    waiting: dict[str, _Process] = field(default_factory=dict[str, _Process])
    due: dict[int, float] = field(default_factory=dict[int, float])  # process id → when it is to have ended

    def serve(self) -> None:
        """Import everything, and fork for whoever asks, until the engine is gone."""
        sys.path.insert(0, ROOT)
        for name in _FIRST:
            importlib.import_module(name)
        gc.freeze()
        self.selector.register(self.watched, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        pause: float | None = None
        ahead: Iterator[float] = iter(())
        while True:
            events = self.selector.select(self._no_longer_than(pause))
            self._kill_what_is_due()
            if not events:
                pause = None
                with suppress(Exception):  # what can't be made ready is made when it is asked for
                    pause = next(ahead, None)
            for key, _ in events:
                if key.fileobj == self.watched:
                    self._end()
                    return
                if key.fileobj is not self.listener:
                    self._look_after(key.data)
                elif self._answer() == LANGUAGE:
                    pause, ahead = 0, self._go_ahead()

    def _go_ahead(self) -> Iterator[float]:
        """Import and fork what the engine starts next, a step at a time: a program's plugins, then the next host.

        Gives how many seconds each step waits for a request that comes before it.
        """
        if all(name in sys.modules for name in _LAST):
            yield _PAUSE
        for name in ("toolchain.plugins.server", *PLUGINS.values()):
            importlib.import_module(name)
            yield 0
        for kind in PLUGINS:
            self._fork_ahead(kind)
            yield 0
        for name in _LAST:
            importlib.import_module(name)
            yield 0
        self._fork_ahead(LANGUAGE)

    def _fork_ahead(self, kind: str) -> None:
        if kind in self.waiting:
            return
        gc.freeze()
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._fork(kind, ours, serving=lambda: _wait(theirs))
        self.waiting[kind] = process
        self.selector.register(process.ended, selectors.EVENT_READ, process)

    def _answer(self) -> str | None:
        """Have a process stand for a client; tell its kind."""
        client, _ = self.listener.accept()
        try:
            request = of_client(client, {*PLUGINS, LANGUAGE})
        except (OSError, ValueError, EOFError):
            client.close()
            return None
        process = self._hand_over(request, client) if waits(client) else None
        if process is None and waits(client):
            with suppress(OSError):
                process = self._fork(request.kind, client, first=request.take_on)
        request.close()
        if process is None:
            client.close()
            return None
        self.taken.append(process)
        with suppress(OSError):
            client.sendall(FORKED)
        self.selector.register(client, selectors.EVENT_READ, process)
        self.selector.register(process.ended, selectors.EVENT_READ, process)
        return request.kind

    def _hand_over(self, request: Request, client: socket.socket) -> _Process | None:
        """Have the process that waits for such a request take it on; None where there is none."""
        process = self.waiting.pop(request.kind, None)
        if process is None:
            return None
        self.selector.unregister(process.ended)
        try:
            with process.other:
                request.hand_to(process.other)
        except OSError:  # it was killed, or hangs
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
            os.close(process.ended)
            return None
        return _Process(process.pid, process.ended, client)

    def _fork(
        self,
        kind: str,
        other: socket.socket,
        first: Callable[[], None] = _nothing,
        serving: Callable[[], None] = _nothing,
    ) -> _Process:
        """Fork a process that does something first, serves, and does something before it tells where."""
        pid = os.fork()
        if pid == 0:
            try:
                other.close()
                self._leave()
                _become(kind, self.engine, first, serving)
            finally:
                os._exit(1)
        try:
            return _Process(pid, os.pidfd_open(pid), other)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def _leave(self) -> None:
        """In a fork: hold nothing of what the server holds, or nobody would see the others end."""
        self.selector.close()
        self.listener.close()
        os.close(self.watched)
        for process in (*self.taken, *self.waiting.values()):
            process.close()

    def _look_after(self, process: _Process) -> None:
        """Hand on a signal, end a process whose client is gone, or tell a client how its process ended."""
        if process not in self.taken:
            self._forget(process)
            return
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            with suppress(OSError):
                process.other.sendall(bytes([code if code >= 0 else 128 - code]))
            if process.other in self.selector.get_map():
                self.selector.unregister(process.other)
            self.selector.unregister(process.ended)
            self.taken.remove(process)
            self.due.pop(process.pid, None)
            process.close()
            return
        try:
            numbers = process.other.recv(16)
        except BlockingIOError:
            return
        except OSError:
            numbers = b""
        for number in numbers:
            os.kill(process.pid, number)
        if not numbers:
            self.selector.unregister(process.other)
            os.kill(process.pid, signal.SIGINT)  # the client has ended, and so does what it stands for
            self.due[process.pid] = time.monotonic() + _WITHIN

    def _no_longer_than(self, pause: float | None) -> float | None:
        """How many seconds to wait at most, with an eye on what is due."""
        left = [max(0.0, when - time.monotonic()) for when in self.due.values()]
        return min([*left, *([] if pause is None else [pause])], default=None)

    def _kill_what_is_due(self) -> None:
        for pid, when in list(self.due.items()):
            if when <= time.monotonic():
                del self.due[pid]
                os.kill(pid, signal.SIGKILL)

    def _forget(self, process: _Process) -> None:
        """One that waited was killed; or, of a process that stood for a client, two events came together."""
        for kind, waiting in list(self.waiting.items()):
            if waiting is process:
                del self.waiting[kind]
                self.selector.unregister(process.ended)
                os.waitpid(process.pid, 0)
                process.close()

    def _end(self) -> None:
        """The engine is gone: so is whatever was forked for it."""
        for process in self.taken:
            os.kill(process.pid, signal.SIGINT)
        for process in self.waiting.values():
            process.other.close()
        deadline = time.monotonic() + _WITHIN
        for process in (*self.taken, *self.waiting.values()):
            with selectors.DefaultSelector() as selector:
                selector.register(process.ended, selectors.EVENT_READ)
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)


def _wait(server: socket.socket) -> None:
    """In a fork that serves: wait for whom it does."""
    try:
        request = wait_for(server)
    except (OSError, EOFError):  # the server has ended
        os._exit(0)
    request.take_on()


def _become(kind: str, engine: int, first: Callable[[], None], serving: Callable[[], None]) -> NoReturn:
    """In a fork: be a language host or a plugin."""
    try:
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))  # until it has a handler of its own
        first()
        if kind == LANGUAGE:
            from toolchain.language import host  # noqa: PLC0415 - imported long ago

            sys.path.remove(ROOT)  # the host's own folder is none of its programs' affair
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(write_through=True)  # pyright: ignore[reportAttributeAccessIssue] - a text file
            host.main(engine, serving)
        else:
            from toolchain.plugins.server import serve  # noqa: PLC0415 - as above

            gc.enable()
            serve(importlib.import_module(PLUGINS[kind]).make(), serving)
    except BaseException:  # noqa: BLE001 - nothing of the server's own may go on in a fork
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)
