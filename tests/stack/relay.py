"""A TCP tunnel, with nothing but the standard library, so that it also runs inside a container.

    python relay.py tcp:127.0.0.1:15001 unix:/tunnel/socket     # one end
    python relay.py unix:/tunnel/socket tcp:127.0.0.1:5001      # the other

It copies bytes and knows nothing of HTTP: what comes through is exactly what a client sent, `Host` header and all,
as with `ssh -L 15001:127.0.0.1:5001`.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from pathlib import Path

_CHUNK = 1024 * 1024


def _socket(address: str) -> tuple[socket.socket, str | tuple[str, int]]:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return socket.socket(socket.AF_UNIX), rest
    host, _, port = rest.rpartition(":")
    return socket.socket(), (host, int(port))


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy one direction until its end, and pass the end on."""
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with contextlib.suppress(OSError):
        while length := source.recv_into(buffer):
            target.sendall(view[:length])
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _serve(accepted: socket.socket, target: str) -> None:
    outward, address = _socket(target)
    with accepted, outward:
        try:
            outward.connect(address)
        except OSError:
            return  # nobody is there now: the client sees its connection end
        back = threading.Thread(target=_copy, args=(outward, accepted), daemon=True)
        back.start()
        _copy(accepted, outward)
        back.join()


def listen(source: str) -> socket.socket:
    """Open the near end."""
    listener, address = _socket(source)
    if isinstance(address, str):
        listener.bind(address)
        Path(address).chmod(0o666)  # the other end is another user, in a container
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    listener.listen(64)
    return listener


def serve_forever(listener: socket.socket, target: str) -> None:
    """Carry every connection to the target, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            accepted, _ = listener.accept()
            threading.Thread(target=_serve, args=(accepted, target), daemon=True).start()


if __name__ == "__main__":
    serve_forever(listen(sys.argv[1]), sys.argv[2])
