"""A stack's config file, `Pulumi.<stack>.yaml`.

Pulumi keeps a stack's encrypted secrets in it. They are added as text, so that comments and order of what a user
wrote there stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import yaml

from toolchain import store
from toolchain.errors import RefusedError

_CONFIG_LINE: Final = re.compile(r"^config:[ \t]*(\{\s*\})?[ \t]*(#.*)?$", re.MULTILINE)


def read(path: Path) -> dict[str, Any]:
    """The file's content; empty where there is none.

    Raises:
        RefusedError: It is no YAML, or no mapping.
    """
    try:
        content: object = yaml.safe_load(store.read(path) or "")
    except yaml.YAMLError as error:
        wrong = " ".join(str(error).split())
        raise RefusedError("stack file", str(path), wrong, f"git checkout {path.name}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        wrong = "must hold `config:` and keys below it"
        raise RefusedError("stack file", str(path), wrong, f"git checkout {path.name}")
    return cast("dict[str, Any]", content)


def config_keys(path: Path) -> frozenset[str]:
    """The keys that have a value, plain or secret."""
    config: dict[str, Any] | None = read(path).get("config")
    return frozenset(key for key, value in (config or {}).items() if value not in (None, ""))


def add_secrets(path: Path, ciphertexts: Mapping[str, str]) -> None:
    """Add encrypted values, all or none.

    Args:
        path: The file.
        ciphertexts: Key with its namespace → encrypted value, as `pulumi config set --secret` writes it.
    """
    lines = "".join(f"\n  {key}:\n    secure: {value}" for key, value in sorted(ciphertexts.items()))
    text = store.read(path) or ""
    if _CONFIG_LINE.search(text):
        text = _CONFIG_LINE.sub(lambda found: f"config:{' ' + found[2] if found[2] else ''}{lines}", text, count=1)
    else:
        text = f"{text.rstrip()}\nconfig:{lines}\n".lstrip()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    store.write(path, text, mode)


def add_salt(path: Path, salt: str) -> None:
    """Add the salt with which the secrets to come are encrypted."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    store.write(path, f"encryptionsalt: {salt}\n{store.read(path) or ''}", mode)


def change_secrets(path: Path, ciphertexts: Mapping[str, str | None]) -> None:
    """Write encrypted values in place of those that are there, or beside them, or take them out: all or none.

    Args:
        path: The file.
        ciphertexts: Key with its namespace → encrypted value; None takes the key out.
    """
    text = store.read(path) or ""
    for key in ciphertexts:
        # As `pulumi config set --secret` writes it, or on one line as a person may have.
        text = re.sub(rf"^  {re.escape(key)}:(\n    secure: .*| *\{{ *secure: .*\}} *)\n", "", text, flags=re.MULTILINE)
    mode = path.stat().st_mode & 0o777
    wanted = {key: value for key, value in ciphertexts.items() if value is not None}
    lines = "".join(f"\n  {key}:\n    secure: {value}" for key, value in sorted(wanted.items()))
    text = _CONFIG_LINE.sub(lambda found: f"config:{' ' + found[2] if found[2] else ''}{lines}", text, count=1)
    store.write(path, text, mode)


def secrets(path: Path) -> dict[str, str]:
    """The encrypted values, by key with its namespace."""
    config: dict[str, Any] = read(path).get("config") or {}
    return {key: str(value["secure"]) for key, value in config.items() if isinstance(value, dict) and "secure" in value}
