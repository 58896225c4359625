"""What a set can't be read without, and the key that it is encrypted with on its way into the set."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolchain import environment, paths, store
from toolchain.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolchain.session import Session

FILE: Final = "keys.json"
BACKUP_KEY: Final = "backupKey"


def of(session: Session, credentials: Mapping[str, str]) -> dict[str, str]:
    """The files that go encrypted into a set: name → text.

    Args:
        session: The stack.
        credentials: The credentials to keep.

    Raises:
        FailedError: The backend does not give the state.
    """
    from components import backup  # noqa: PLC0415 - imports the SDK

    return {FILE: backup.keys(credentials), **of_checkout(session)}


def of_checkout(session: Session) -> dict[str, str]:
    """Those of them that are in this checkout: stack file, state and passphrase.

    Raises:
        FailedError: The backend does not give the state.
    """
    files = {
        session.stack_file.name: store.read(session.stack_file) or "",
        "state.json": session.ask("stack", "export", "--stack", session.stack),
    }
    passphrase = _passphrase()
    return {**files, "passphrase": passphrase} if passphrase else files


def _passphrase() -> str | None:
    """What the secrets in the stack file and in the state are encrypted with; nothing in Pulumi's own cloud."""
    if "PULUMI_CONFIG_PASSPHRASE" in os.environ:
        return os.environ["PULUMI_CONFIG_PASSPHRASE"]
    named = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if named is None and environment.in_pulumi_cloud():
        return None
    return store.read(Path(named) if named else paths.passphrase_file())


def given(key_file: str) -> str | None:
    """The key in a file that the user names.

    Raises:
        RefusedError: It can't be read, is empty, or others may read it.
    """
    if not key_file:
        return None
    path = Path(key_file).expanduser()
    mend = "make restore KEY_FILE=FILE"
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        raise RefusedError("KEY_FILE", str(path), f"can't be read: {reason}", mend) from None
    if mode & 0o077:
        raise RefusedError("KEY_FILE", str(path), "others may read it", f"chmod 600 {path}")
    if not text:
        raise RefusedError("KEY_FILE", str(path), "is empty", mend)
    return text


def asked() -> str | None:
    """The key as typed on a terminal, unseen; None where there is nobody."""
    if not sys.stdin.isatty():
        return None
    return getpass.getpass("The backup key that this set was made with: ").strip() or None
