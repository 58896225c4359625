"""One process for an engine's run that has imported the program's and the plugins' modules, and forks on demand.

An `up` starts the language host twice or three times and each plugin once or twice, and every one of them imports the
same packages for longer than it works. The engine starts the language host first of all. That one forks this server,
which imports everything while the engine goes on, and whoever is started later (`client`) is a fork of it.

It ends with the engine, and it is not there for programs other than this checkout's.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from toolchain.forkserver.client import FOLDER, FORKED, LANGUAGE, ROOT, socket_name, through

#: Kind → module that is it when imported.
KINDS: Final[Mapping[str, str]] = {
    "docker": "toolchain.plugins.docker.__main__",
    "minio": "toolchain.plugins.minio.__main__",
    "postgresql": "toolchain.plugins.postgresql.__main__",
}

#: What the program imports; nobody is answered before.
_FIRST: Final = ("components.config", "components.stack", "docker", "components.preflight")

#: What the plugins import, and the program at its end: in the order of need, while nobody asks.
_THEN: Final = (
    "toolchain.plugins.server",
    "toolchain.plugins.docker.provider",
    "toolchain.plugins.minio.provider",
    "toolchain.plugins.postgresql.provider",
    "minio",
    "psycopg",
)

#: Seconds for a request to come whole, and for a process to end once its engine is gone.
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
class _Request:
    """What a client was started as.

    Attributes:
        kind: `client.LANGUAGE`, or one of `KINDS`.
        arguments: The engine's.
        folder: Working directory.
        environment: All of it.
        streams: Descriptors of the three standard streams.
    """

    kind: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]

    def close(self) -> None:
        for descriptor in self.streams:
            os.close(descriptor)


@dataclass(slots=True)
class _Forked:
    """A process that was forked for a client.

    Attributes:
        pid: Its process id.
        ended: Descriptor that can be read when it has ended.
        client: Connection to the client.
    """

    pid: int
    ended: int
    client: socket.socket

    def close(self) -> None:
        self.client.close()
        os.close(self.ended)


@dataclass
class _Server:
    engine: int
    watched: int
    listener: socket.socket
    forked: list[_Forked] = field(default_factory=list[_Forked])

    def serve(self) -> None:
        """Import everything, and fork for whoever asks, until the engine is gone."""
        sys.path.insert(0, ROOT)
        for name in _FIRST:
            importlib.import_module(name)
        gc.freeze()
        later = iter(_THEN)
        selector = selectors.DefaultSelector()
        selector.register(self.watched, selectors.EVENT_READ)
        selector.register(self.listener, selectors.EVENT_READ)
        while True:
            events = selector.select(0)
            if not events:
                if (name := next(later, None)) is not None:
                    importlib.import_module(name)
                    continue
                gc.freeze()
                events = selector.select()
            for key, _ in events:
                if key.fileobj == self.watched:
                    self._end()
                    return
                if key.fileobj is self.listener:
                    self._answer(selector)
                else:
                    self._look_after(key.data, selector)

    def _answer(self, selector: selectors.BaseSelector) -> None:
        client, _ = self.listener.accept()
        client.settimeout(_WITHIN)
        try:
            request = _read(client)
        except (OSError, ValueError, EOFError):
            client.close()
            return
        pid = os.fork()
        if pid == 0:
            selector.close()
            self._leave(client)
            _become(request, self.engine)
        request.close()
        process = _Forked(pid, os.pidfd_open(pid), client)
        self.forked.append(process)
        with suppress(OSError):
            client.sendall(FORKED)
        selector.register(client, selectors.EVENT_READ, process)
        selector.register(process.ended, selectors.EVENT_READ, process)

    def _leave(self, client: socket.socket) -> None:
        """In a fork: hold nothing of what the server holds, or nobody would see the others end."""
        client.close()
        self.listener.close()
        os.close(self.watched)
        for process in self.forked:
            process.close()

    def _look_after(self, process: _Forked, selector: selectors.BaseSelector) -> None:
        """Hand on a signal, end a process whose client is gone, or tell a client how its process ended."""
        if process not in self.forked:
            return  # two events of one process came together
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            with suppress(OSError):
                process.client.sendall(bytes([code if code >= 0 else 128 - code]))
            if process.client in selector.get_map():
                selector.unregister(process.client)
            selector.unregister(process.ended)
            self.forked.remove(process)
            process.close()
            return
        try:
            numbers = process.client.recv(16)
        except BlockingIOError:
            return
        except OSError:
            numbers = b""
        for number in numbers:
            os.kill(process.pid, number)
        if not numbers:
            selector.unregister(process.client)
            os.kill(process.pid, signal.SIGKILL)  # the client was killed, and so would be what it stands for

    def _end(self) -> None:
        """The engine is gone: so is whatever was forked for it."""
        for process in self.forked:
            os.kill(process.pid, signal.SIGINT)
        deadline = time.monotonic() + _WITHIN
        for process in self.forked:
            with selectors.DefaultSelector() as selector:
                selector.register(process.ended, selectors.EVENT_READ)
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)


def _read(client: socket.socket) -> _Request:
    """A request, from a process of this very user on this very Python: nobody else gets to the socket.

    Raises:
        OSError: It does not come, or nobody waits for the answer any more.
        EOFError: It ends early.
        ValueError: It is none.
    """
    size, streams, _, _ = socket.recv_fds(client, 4, 3)
    try:
        data = b"".join(_parts(client, int.from_bytes(size, "big")))
        kind, arguments, folder, environment = marshal.loads(data)  # noqa: S302 - see above
        request = _Request(kind, arguments, folder, environment, streams)
        client.setblocking(False)
        _check(request, client)
    except BaseException:
        for descriptor in streams:
            os.close(descriptor)
        raise
    return request


def _check(request: _Request, client: socket.socket) -> None:
    if len(request.streams) != 3 or (request.kind != LANGUAGE and request.kind not in KINDS):  # noqa: PLR2004 - streams
        raise ValueError(request.kind)
    with suppress(BlockingIOError):
        client.recv(1, socket.MSG_PEEK)
        raise EOFError  # it has waited for too long, and does without


def _parts(client: socket.socket, size: int) -> Iterator[bytes]:
    while size:
        part = client.recv(size)
        if not part:
            raise EOFError
        size -= len(part)
        yield part


def _become(request: _Request, engine: int) -> NoReturn:
    """In a fork: be what the client was started as."""
    try:
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))  # until it has a handler of its own
        for number, descriptor in enumerate(request.streams):
            os.dup2(descriptor, number)
        request.close()
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environment)
        sys.argv = [request.kind, *request.arguments]
        if request.kind == LANGUAGE:
            from toolchain.language import host  # noqa: PLC0415 - imported long ago

            sys.path.remove(ROOT)  # the host's own folder is none of its programs' affair
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(write_through=True)  # pyright: ignore[reportAttributeAccessIssue] - a text file
            host.main(engine)
        else:
            gc.enable()
            importlib.import_module(KINDS[request.kind])
    except BaseException:  # noqa: BLE001 - nothing of the server's own may go on in a fork
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)
