"""The mode `rekey`: encrypt anew what MLflow keeps encrypted in its database, in one transaction.

MLflow's own command for the one key asks for it on a terminal, counts up a version that the server must then be told,
and has no counterpart for the other. Here both are done alike: a row that the new key reads is left as it is, one that
the old key reads is written anew, and one that neither reads stops everything. So it can be run again at any time.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from mlflow_stack_server import credentials, database
from mlflow_stack_server.errors import LauncherError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow_stack_server.settings import Settings

NEW_KEYS = Path("/home/mlflow")
"""Where the new keys are put: `kek-passphrase` and `webhook-key`, either of them or both."""

KEK_VERSION = 1
"""MLflow's number for its key: the one that a server takes which is told none. A new passphrase makes a new key."""


def run(settings: Settings, *, check: bool = False) -> None:
    """Encrypt anew.

    Args:
        settings: The launcher's.
        check: Only print, as JSON, how many rows the new keys read already (`anew`), and which rows can be read by
            neither key (`unreadable`: table, column of the identity, identity).

    Raises:
        LauncherError: A row can be read by neither key, or the database refuses; nothing was changed.
    """
    credentials.load(serving=True)
    connection = database.connect(settings.database_wait)
    try:
        with connection, connection.cursor() as cursor:  # one transaction
            cursor.execute(f"SET LOCAL lock_timeout = '{settings.lock_timeout}s'")
            if check:
                _check(cursor)
            else:
                _encrypt(cursor)
    except psycopg2.Error as error:
        message = f"database: {database.where()}: {database.first_line(error)}: nothing was changed. mend: make rotate"
        raise LauncherError(message) from error
    finally:
        connection.close()


@dataclass(frozen=True)
class _Table:
    """Where something encrypted is kept.

    The names are this module's own, never a caller's.
    """

    name: str
    identity: str
    column: str
    new_key: Path
    make: Callable[[str], Callable[[bytes], bytes | None]]


@dataclass(frozen=True)
class _Row:
    """Something encrypted.

    Attributes:
        new: What takes its place; None where the new key reads it already, or neither does.
        error: Why neither key reads it.
    """

    identity: str
    new: bytes | str | None
    error: Exception | None = None


def _encrypt(cursor: Any) -> None:  # noqa: ANN401  (psycopg2 has no static type for it)
    for table in _tables():
        rows = list(_rows(cursor, table))
        for row in rows:
            if row.error is not None:
                message = (
                    f"{table.name}: {row.identity}: can be read by neither the old key nor the new one: nothing was "
                    "changed. mend: restore the key that it was written with, or delete the row"
                )
                raise LauncherError(message) from row.error
            if row.new is not None:
                cursor.execute(
                    f"UPDATE {table.name} SET {table.column} = %s WHERE {table.identity} = %s",  # noqa: S608
                    (row.new, row.identity),
                )
        done = sum(row.new is not None for row in rows)
        sys.stdout.write(f"rekey: {table.name}: {done} of {len(rows)} rows encrypted anew\n")


def _check(cursor: Any) -> None:  # noqa: ANN401  (as above)
    anew, unreadable = 0, []
    for table in _tables():
        for row in _rows(cursor, table):
            if row.error is not None:
                unreadable.append((table.name, table.identity, row.identity))
            elif row.new is None:
                anew += 1
    sys.stdout.write(json.dumps({"anew": anew, "unreadable": unreadable}) + "\n")


def _tables() -> list[_Table]:
    """Those whose key is to change."""
    known = (
        _Table("secrets", "secret_id", "wrapped_dek", NEW_KEYS / "kek-passphrase", _kek),
        _Table("webhooks", "webhook_id", "secret", NEW_KEYS / "webhook-key", _fernet),
    )
    return [table for table in known if table.new_key.exists()]


def _rows(cursor: Any, table: _Table) -> Iterator[_Row]:  # noqa: ANN401  (as above)
    """Give what is encrypted; nobody else changes it until the transaction ends."""
    anew = table.make(table.new_key.read_text().strip("\r\n"))
    cursor.execute(
        f"SELECT {table.identity}, {table.column} FROM {table.name} "  # noqa: S608
        f"WHERE {table.column} IS NOT NULL FOR UPDATE"
    )
    for identity, value in cursor.fetchall():
        as_text = isinstance(value, str)
        try:
            new = anew(value.encode() if as_text else bytes(value))
        except Exception as error:  # noqa: BLE001  (whatever it is: neither key fits)
            yield _Row(identity, None, error)
        else:
            yield _Row(identity, new.decode() if as_text and new is not None else new)


def _kek(new: str) -> Callable[[bytes], bytes | None]:
    """Wrap a data key anew; what is encrypted by the data key stays as it is."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from mlflow.utils.crypto import KEKManager, rotate_secret_encryption, unwrap_dek  # noqa: PLC0415

    old_key = KEKManager(os.environ["MLFLOW_CRYPTO_KEK_PASSPHRASE"], KEK_VERSION)
    new_key = KEKManager(new, KEK_VERSION)

    def anew(wrapped: bytes) -> bytes | None:
        try:
            unwrap_dek(wrapped, new_key.get_kek())
        except MlflowException:
            return rotate_secret_encryption(b"", wrapped, old_key, new_key).wrapped_dek
        return None

    return anew


def _fernet(new: str) -> Callable[[bytes], bytes | None]:
    from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415

    old_key, new_key = Fernet(os.environ["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"]), Fernet(new)

    def anew(token: bytes) -> bytes | None:
        try:
            new_key.decrypt(token)
        except InvalidToken:
            return new_key.encrypt(old_key.decrypt(token))
        return None

    return anew
