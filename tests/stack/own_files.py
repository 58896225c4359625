"""What a stack's own files hold, read without Pulumi's CLI, which takes a third of a second of one core for it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from toolchain import deployment
from toolchain.passphrase import Passphrase
from toolchain.session import PROJECT


def outputs(root: Path, name: str) -> dict[str, Any] | None:
    """A stack's outputs, secrets in plain; None where its state is not in the checkout.

    Args:
        root: The checkout.
        name: The stack's.
    """
    decrypt = _decrypter(root, name)
    found = deployment.from_folder(root / ".local" / "state", name).raw_outputs
    if decrypt is None or not found:
        return None
    plain = partial(_plain, decrypt)
    return {key: deployment.without_secrets(value, plain) for key, value in found.items()}


def credentials(root: Path, name: str) -> dict[str, str] | None:
    """The secrets of a stack's file, by key, in plain; None where this checkout has no passphrase for it."""
    decrypt = _decrypter(root, name)
    if decrypt is None:
        return None
    config: dict[str, Any] = _stack_file(root, name).get("config") or {}
    return {
        key.removeprefix(f"{PROJECT}:"): decrypt(str(value["secure"]))
        for key, value in config.items()
        if isinstance(value, dict) and "secure" in value
    }


def _stack_file(root: Path, name: str) -> dict[str, Any]:
    path = root / f"Pulumi.{name}.yaml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {}


def _decrypter(root: Path, name: str) -> Callable[[str], str] | None:
    file = root / ".local" / "passphrase"
    if not file.exists():
        return None
    found = _passphrase(str(_stack_file(root, name).get("encryptionsalt", "")), file.read_text(encoding="utf-8"))
    return found.decrypt if found else None


@functools.lru_cache
def _passphrase(salt: str, passphrase: str) -> Passphrase | None:
    return Passphrase.of({"encryptionsalt": salt}, {"PULUMI_CONFIG_PASSPHRASE": passphrase.strip()})


def _plain(decrypt: Callable[[str], str], ciphertext: str) -> object:
    return json.loads(decrypt(ciphertext))
