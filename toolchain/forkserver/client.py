"""Be one of the engine's processes: ask its fork server to fork one, or, where there is none, run it here.

Run by its path, as `python -I -S client.py KIND [ARGUMENT …]`: without the packages Python starts in ten milliseconds,
and the modules behind `signal` and `socket` do without `enum` and `typing`, which would take ten more. It stays as long
as the fork does, and ends with its exit code. A language host is given the signals that the engine sends; a plugin has
nothing to end with, and goes with this process.
"""

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingImports] - built in, and without stubs
import os
import sys

TYPE_CHECKING = False  # as in typing, for those who read types
if TYPE_CHECKING:
    import _socket
    from typing import Final

_signal.signal(_signal.SIGINT, lambda *_: os._exit(0))  # an engine that changed its mind while this starts

#: Kind of the language host; every other one is a provider plugin.
LANGUAGE: Final = "language"

#: What the server sends first, once there is a process; the exit code comes last, as a byte.
FORKED: Final = b"+"

ROOT: Final = os.path.realpath(__file__).rsplit("/", 3)[0]

#: Folder of the sockets: for this user alone (see `toolchain.paths`).
FOLDER: Final = f"{ROOT}/.local"

#: Seconds for the server to import everything; the engine waits twice as long for a process to tell its port.
_READY_WITHIN: Final = 5.0


def socket_name(engine: int | str) -> str:
    """Name of the socket in `FOLDER` of an engine's fork server, by the engine's process id; with `*`, of any."""
    return f"fork-{engine}.sock"


def through(folder: int, name: str) -> str:
    """A path for a socket that is short enough whatever its folder's, whose descriptor is given."""
    return f"/proc/self/fd/{folder}/{name}"


def _asked(kind: str, arguments: list[str]) -> _socket.socket | None:
    """The connection to the process that was forked for us; None where nobody does that."""
    name = socket_name(os.getppid())
    if not os.path.exists(f"{FOLDER}/{name}"):  # noqa: PTH110 - pathlib takes longer to import than all of this
        return None
    import _socket  # noqa: PLC0415 - as the next one, not needed where there is no server
    import marshal  # noqa: PLC0415

    request = marshal.dumps((kind, arguments, os.getcwd(), dict(os.environ)))  # noqa: PTH109 - as above
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    connection.settimeout(_READY_WITHIN)
    try:
        connection.connect(through(folder, name))
        connection.sendmsg([len(request).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
        connection.sendall(request)
        if connection.recv(1) == FORKED:
            connection.settimeout(None)
            return connection
    except OSError:  # it ends, or could not import something: what is wrong shows here then
        pass
    finally:
        os.close(folder)
    connection.close()
    return None


def _stay(connection: _socket.socket) -> int:
    """Wait for the exit code."""
    try:
        code = connection.recv(1)
    except OSError:
        code = b""
    return code[0] if code else 1


def _hand_signals_on(connection: _socket.socket) -> None:
    """Wait until the process has ended, or its server."""
    import select  # noqa: PLC0415 - see above

    # A signal writes its own number into the pipe, whatever this process is just doing.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, lambda *_: None)
    while connection not in select.select([connection, reader], [], [])[0]:
        try:
            connection.sendall(os.read(reader, 16))
        except OSError:  # it has just ended
            break


def _run_here(kind: str, arguments: list[str]) -> None:
    if kind == LANGUAGE:
        command = ["-u", f"{ROOT}/toolchain/language/__main__.py"]
    else:
        command = ["-P", "-m", f"toolchain.plugins.{kind}"]
        path = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{ROOT}:{path}" if path else ROOT
    os.execv(sys.executable, [sys.executable, *command, *arguments])  # noqa: S606 - there is nothing for a shell to do


if __name__ == "__main__":
    made = _asked(sys.argv[1], sys.argv[2:])
    if made is None:
        _run_here(sys.argv[1], sys.argv[2:])
    else:
        if sys.argv[1] == LANGUAGE:
            _hand_signals_on(made)
        os._exit(_stay(made))
