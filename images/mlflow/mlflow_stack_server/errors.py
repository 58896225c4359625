"""How a mode of the launcher ends: one line on stderr and an exit code."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_WRONG_SCHEMA = 3


class LauncherError(Exception):
    """An end with a reason that a person can act on.

    The text has the shape ``KEY: VALUE: what is wrong and the limit. mend: COMMAND`` and never holds a secret.
    """

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RefusedError(LauncherError):
    """Refused before anything was touched."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_REFUSED)


class WrongSchemaError(LauncherError):
    """The database has another schema revision than this MLflow was written for."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_WRONG_SCHEMA)
