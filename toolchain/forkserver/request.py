"""What a process is to be: how a client says it, how it is handed to a process, and how that takes it on."""

from __future__ import annotations

import marshal
import os
import socket
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass

#: Seconds for a request to come whole, and for a process that waits for one to answer: a client waits longer.
_WITHIN = 5.0
_ANSWER_WITHIN = 1.0

_STREAMS = 3

#: What a process says that is to take a request on.
_GOT_IT = b"+"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client was started as.

    Attributes:
        kind: `client.LANGUAGE`, or the name of a provider.
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
        """Let go of the streams."""
        for descriptor in self.streams:
            os.close(descriptor)

    def hand_to(self, process: socket.socket) -> None:
        """Have a process that waits for it (`wait_for`) take it on.

        Raises:
            OSError: It is gone, or does not answer.
        """
        data = marshal.dumps((self.kind, self.arguments, self.folder, self.environment))
        process.settimeout(_ANSWER_WITHIN)
        socket.send_fds(process, [len(data).to_bytes(4, "big")], self.streams)
        process.sendall(data)
        if process.recv(1) != _GOT_IT:
            raise ConnectionResetError

    def take_on(self) -> None:
        """Have this process be what the client was started as, down to its streams."""
        for number, descriptor in enumerate(self.streams):
            os.dup2(descriptor, number)
        self.close()
        os.chdir(self.folder)
        # The engine adds little to what it was started with, and what is the same had better not be touched: there
        # may be threads already.
        for name in os.environ.keys() - self.environment.keys():
            del os.environ[name]
        for name, value in self.environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        sys.argv = [self.kind, *self.arguments]


def wait_for(server: socket.socket) -> Request:
    """The request that the server hands to this process, some time.

    Raises:
        OSError: The server has ended.
        EOFError: Likewise.
    """
    request = _read(server)
    server.sendall(_GOT_IT)
    server.close()
    return request


def _read(sender: socket.socket) -> Request:
    """A request, from a process of this very user on this very Python: nobody else gets to the socket."""
    size, streams, _, _ = socket.recv_fds(sender, 4, _STREAMS)
    try:
        data = b"".join(_parts(sender, int.from_bytes(size, "big")))
        kind, arguments, folder, environment = marshal.loads(data)  # noqa: S302 - see above
        return Request(kind, arguments, folder, environment, streams)
    except BaseException:
        for descriptor in streams:
            os.close(descriptor)
        raise


def of_client(client: socket.socket, kinds: Collection[str]) -> Request:
    """The request of a client that waits for the answer; its socket does not block from then on.

    Args:
        client: Connection to it.
        kinds: What can be asked for.

    Raises:
        OSError: It does not come in time.
        EOFError: It ends early.
        ValueError: It is none.
    """
    client.settimeout(_WITHIN)
    request = _read(client)
    client.setblocking(False)
    if len(request.streams) == _STREAMS and request.kind in kinds:
        return request
    request.close()
    raise ValueError(request.kind)


def waits(client: socket.socket) -> bool:
    """Whether a client still waits for the answer; one that has waited for too long does without."""
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _parts(sender: socket.socket, size: int) -> Iterator[bytes]:
    while size:
        part = sender.recv(size)
        if not part:
            raise EOFError
        size -= len(part)
        yield part
