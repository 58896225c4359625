"""The mode `rekey`: encrypt anew what MLflow keeps encrypted in its database, in one transaction.

MLflow's own command for the one key asks for it on a terminal, counts up a version that the server must then be told,
and has no counterpart for the other. Here both are done alike: a row that the new key reads is left as it is, one that
the old key reads is written anew, and one that neither reads stops everything. So it can be run again at any time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from mlflow_stack_server import credentials, database
from mlflow_stack_server.errors import LauncherError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_stack_server.settings import Settings

NEW_KEYS = Path("/home/mlflow")
"""Where the new keys are put: `kek-passphrase` and `webhook-key`, either of them or both."""

KEK_VERSION = 1
"""MLflow's number for its key: the one that a server takes which is told none. A new passphrase makes a new key."""


def run(settings: Settings) -> None:
    """Encrypt anew.

    Raises:
        LauncherError: A row can be read by neither key, or the database refuses; nothing was changed.
    """
    credentials.load(serving=True)
    connection = database.connect(settings.database_wait)
    try:
        with connection, connection.cursor() as cursor:  # one transaction
            cursor.execute(f"SET LOCAL lock_timeout = '{settings.lock_timeout}s'")
            for table, identity, column, new_key, make in (
                ("secrets", "secret_id", "wrapped_dek", NEW_KEYS / "kek-passphrase", _kek),
                ("webhooks", "webhook_id", "secret", NEW_KEYS / "webhook-key", _fernet),
            ):
                if new_key.exists():
                    done, rows = _table(cursor, table, identity, column, make(new_key.read_text().strip("\r\n")))
                    sys.stdout.write(f"rekey: {table}: {done} of {rows} rows encrypted anew\n")
    except psycopg2.Error as error:
        message = f"database: {database.where()}: {database.first_line(error)}: nothing was changed. mend: make rotate"
        raise LauncherError(message) from error
    finally:
        connection.close()


def _table(
    cursor: Any,  # noqa: ANN401  (psycopg2 has no static type for it)
    table: str,
    identity: str,
    column: str,
    anew: Callable[[bytes], bytes | None],
) -> tuple[int, int]:
    """Go through the rows of a table; return how many were written, and how many there are.

    The names are this module's own, never a caller's.
    """
    cursor.execute(f"SELECT {identity}, {column} FROM {table} WHERE {column} IS NOT NULL FOR UPDATE")  # noqa: S608
    rows = cursor.fetchall()
    done = 0
    for name, value in rows:
        as_text = isinstance(value, str)
        try:
            new = anew(value.encode() if as_text else bytes(value))
        except Exception as error:
            message = (
                f"{table}: {name}: can be read by neither the old key nor the new one: nothing was changed. "
                "mend: restore the key that it was written with, or delete the row"
            )
            raise LauncherError(message) from error
        if new is not None:
            cursor.execute(
                f"UPDATE {table} SET {column} = %s WHERE {identity} = %s",  # noqa: S608
                (new.decode() if as_text else new, name),
            )
            done += 1
    return done, len(rows)


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
