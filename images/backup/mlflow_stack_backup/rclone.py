"""rclone, which moves objects and files between the bucket and wherever the sets are kept.

Its remotes: `bucket:` is the artifact store's bucket, `target:` the place of the sets, `keys:` the same place with what
is written there encrypted by rclone's own `crypt`. Their credentials are in a file in the container's memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from mlflow_stack_backup.errors import Problem

CONFIG: Final = Path("/tmp/rclone.conf")  # noqa: S108 - in the container's own memory
_NAMES: Final = Path("/tmp/names")  # noqa: S108 - the same
_CHUNK: Final = 1 << 20
_TAIL: Final = 5

#: In the lines that tell how far it is.
_PROGRESS: Final = ", ETA "

#: rclone's exit code for a folder that is not there.
_NO_SUCH_FOLDER: Final = 3

#: Objects moved at a time; what one of them holds in memory is bounded by the chunk size of an upload.
_AT_ONCE: Final = 8

_OPTIONS: Final = (
    f"--config={CONFIG}",
    f"--transfers={_AT_ONCE}",
    f"--checkers={2 * _AT_ONCE}",
    "--retries=1",
    "--low-level-retries=5",
    "--contimeout=10s",
    "--timeout=60s",
    "--stats=10s",
    "--stats-one-line",
    "--stats-log-level=NOTICE",
    "--use-mmap",
    "--buffer-size=1M",
    "--s3-chunk-size=16M",
    "--s3-upload-concurrency=2",
    # What a store gives for the MD5 of an encrypted object is not that of its content. All is read back and compared by
    # its SHA-256 anyway.
    "--ignore-checksum",
    # Objects that begin to be written under their own name would be taken for whole ones after a kill.
    "--inplace=false",
)


class Missing(Problem):
    """There is no such place."""


def configure(remotes: Mapping[str, Mapping[str, str]], key: str) -> None:
    """Write rclone's configuration.

    Args:
        remotes: Name → options.
        key: Encrypts `keys:`, which is made where it is not empty.
    """
    whole = dict(remotes)
    if key:
        obscured = subprocess.run(["rclone", "obscure", "-"], input=key, capture_output=True, text=True, check=True)
        whole["keys"] = {
            "type": "crypt",
            "remote": "target:",
            "password": obscured.stdout.strip(),
            "filename_encryption": "off",
            "directory_name_encryption": "false",
        }
    text = "\n".join(
        f"[{name}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())
        for name, options in whole.items()
    )
    with os.fdopen(os.open(CONFIG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def run(*arguments: str, stdin: Iterable[bytes] = ()) -> None:
    """Run a command to its end.

    Args:
        arguments: The command of rclone, and its arguments.
        stdin: What it reads, piece by piece.

    Raises:
        Problem: It failed; the text has its last words.
    """
    with _started(*arguments) as process:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            for piece in stdin:
                process.stdin.write(piece)
            process.stdin.close()


def tried(*arguments: str) -> bool:
    """Run a command that may fail in part, and say whether it did not."""
    try:
        run(*arguments)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return False
    return True


def lines(*arguments: str, missing_is_empty: bool = False) -> Iterator[str]:
    """What a command prints, line by line.

    Args:
        arguments: The command of rclone, and its arguments.
        missing_is_empty: A place that is not there has nothing in it.

    Raises:
        Missing: There is no such place.
        Problem: It failed.
    """
    try:
        with _started(*arguments) as process:
            assert process.stdout is not None
            for line in process.stdout:
                yield line.decode().rstrip("\n")
    except Missing:
        if not missing_is_empty:
            raise


def pieces(path: str) -> Iterator[bytes]:
    """The content of a file.

    Raises:
        Problem: It can't be read.
    """
    with _started("cat", path) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(_CHUNK):
            yield piece


def text(path: str) -> str:
    """The content of a small file of text.

    Raises:
        Problem: It can't be read, or is no text.
    """
    try:
        return b"".join(pieces(path)).decode()
    except UnicodeDecodeError:
        raise Problem("file", path, "holds no text", "use another set") from None


def digest(path: str) -> tuple[int, str]:
    """Size and SHA-256 of a file, as read back.

    Raises:
        Problem: It can't be read.
    """
    size, found = 0, hashlib.sha256()
    for piece in pieces(path):
        size += len(piece)
        found.update(piece)
    return size, found.hexdigest()


@contextlib.contextmanager
def names(paths: Iterable[str]) -> Generator[str]:
    """An option that limits a command to some paths."""
    file = _NAMES.with_name(f"{_NAMES.name}-{threading.get_ident()}")
    with file.open("w", encoding="utf-8") as opened:
        opened.writelines(f"{path}\n" for path in paths)
    try:
        yield f"--files-from-raw={file}"
    finally:
        file.unlink()


@contextlib.contextmanager
def _started(*arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """A command at work; ended when the block is left.

    Raises:
        Missing: There is no such place.
        Problem: It failed, and what the block does has no reason of its own to.
    """
    command = ["rclone", *arguments, *_OPTIONS]
    said: deque[str] = deque(maxlen=_TAIL)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        listener = threading.Thread(target=_listen, args=(process.stderr, said))
        listener.start()
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                assert process.stdin is not None
                process.stdin.close()
            process.wait()
            listener.join()
    if process.returncode:
        kind = Missing if process.returncode == _NO_SUCH_FOLDER else Problem
        raise kind(
            "rclone", " ".join(arguments[:2]), " | ".join(said) or f"exit code {process.returncode}", "make doctor"
        )


def _listen(stream: IO[bytes] | None, said: deque[str]) -> None:
    assert stream is not None
    for line in stream:
        words = line.decode(errors="replace").strip()
        if not words:
            continue
        print(words, file=sys.stderr, flush=True)
        if _PROGRESS not in words:
            said.append(words)
