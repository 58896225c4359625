"""Containers that look at an image and are gone afterwards, whatever happens to whoever started them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, cast

import docker
import docker.errors
import requests

from toolchain.images.progress import StepFailedError

#: Seconds after which a look is given up: inside the container, so that it ends without us, too.
_SECONDS: Final = 240
_TAIL: Final = 10
#: Stands before the exit code, at the end of the output.
_MARK: Final = b"\x1e"


def shell(client: docker.DockerClient, image: str, script: str, *, network: bool = False) -> str:
    """Run a shell script as root in a new container of an image, and give what it prints.

    The container ends by itself and Docker removes it: a killed command leaves nothing behind.

    Args:
        client: The Docker daemon.
        image: Reference or id of the image; it needs a shell.
        script: The script; it stops at the first command that fails.
        network: Whether it reaches out.

    Raises:
        StepFailedError: It failed, or could not be run; the text is what it complained about.
    """
    whole = f"(\nset -eu\n{script}\n)\nprintf '\\036%d' $?"
    printed, complained = bytearray(), bytearray()
    try:
        container = client.containers.create(
            image,
            command=[str(_SECONDS), "sh", "-c", whole],
            entrypoint=["timeout"],
            user="0",
            network_mode="bridge" if network else "none",
            auto_remove=True,
        )
        output = cast(
            "Iterable[tuple[bytes | None, bytes | None]]", container.attach(stream=True, logs=False, demux=True)
        )
        container.start()
        for out, error in output:
            printed += out or b""
            complained += error or b""
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise StepFailedError(str(getattr(error, "explanation", None) or error)) from error
    text, mark, code = bytes(printed).rpartition(_MARK)
    if not mark or code.strip() != b"0":
        lines = bytes(complained).decode(errors="replace").strip().splitlines()
        raise StepFailedError("\n".join(lines[-_TAIL:]) or f"it did not end within {_SECONDS} s")
    return text.decode(errors="replace")


def copy_out(client: docker.DockerClient, image: str, path: str, target: Path) -> bool:
    """Copy one file out of an image, by a container that is never started.

    Returns:
        Whether there is such a file.
    """
    container: Any = client.containers.create(image, command=["true"], network_mode="none")
    try:
        stream, _ = container.get_archive(path)
        with tarfile.open(fileobj=_Stream(stream), mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    with target.open("wb") as file:
                        while chunk := content.read(1 << 20):
                            file.write(chunk)
                    return True
    except docker.errors.NotFound:
        return False
    finally:
        container.remove(force=True, v=True)
    return False


class _Stream(io.RawIOBase):
    """Docker's chunks as a file that can be read once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill a buffer with what comes next."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
