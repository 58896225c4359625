"""What the container that makes backups by itself can't know: the stack file, the state and the passphrase of now."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Final

from toolchain.backup import keys
from toolchain.docker_objects import Objects

if TYPE_CHECKING:
    from toolchain.session import Session

_PATH: Final = "/run/mlflow-stack"
_FOLDER: Final = "kept"


def leave(session: Session) -> None:
    """Leave them among that container's files, for its next backup; nothing where there is no such container.

    Raises:
        FailedError: The backend does not give the state.
    """
    holder = Objects(session.name).container("backup-files")
    if holder is None:
        return
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo(_FOLDER)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for name, text in keys.of_checkout(session).items():
            member = tarfile.TarInfo(f"{_FOLDER}/{name}")
            # As all files of a container: root's, and readable by the one user that is there.
            member.mode, member.size = 0o444, len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    holder.put_archive(_PATH, buffer.getvalue())
