"""Pulumi's encryption by a passphrase: AES-256-GCM under a key that PBKDF2 makes of the passphrase and a salt.

`pulumi config set --secret` takes one value at a time and makes the key anew for each, a quarter of a second of a core.
A stack starts with a dozen of them, so they are encrypted here. The format is version 1 of
`NewSymmetricCrypterFromPassphrase` and `EncryptValue` in `sdk/go/common/resource/config/crypt.go` of pulumi/pulumi.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from Crypto.Cipher._mode_gcm import GcmMode

_VERSION: Final = "v1"
_ROUNDS: Final = 1_000_000
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16

#: What the salt's line has encrypted, by which Pulumi tells a right passphrase from a wrong one.
_PROOF: Final = "pulumi"


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What encrypts the values of one stack."""

    _key: bytes

    @classmethod
    def of(cls, stack_file: Mapping[str, Any], environment: Mapping[str, str]) -> Passphrase | None:
        """The one of a stack whose file has a salt.

        Args:
            stack_file: The file's content.
            environment: Where `pulumi` is told the passphrase.

        Returns:
            None where the secrets are encrypted in another way, or the passphrase is not the right one.
        """
        version, _, rest = str(stack_file.get("encryptionsalt", "")).partition(":")
        salt, _, proof = rest.partition(":")
        provider = str(stack_file.get("secretsprovider", "passphrase"))
        passphrase = _passphrase(environment)
        if provider != "passphrase" or version != _VERSION or passphrase is None:
            return None
        try:
            key = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), b64decode(salt), _ROUNDS, _KEY_BYTES)
            found = cls(key)
            return found if found.decrypt(proof) == _PROOF else None
        except ValueError:  # a wrong passphrase, or a line that somebody has changed: the CLI says which
            return None

    def encrypt(self, value: str) -> str:
        """A value as it stands in a stack file, below `secure`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        encrypted, tag = self._cipher(nonce).encrypt_and_digest(value.encode())
        return ":".join((_VERSION, b64encode(nonce).decode(), b64encode(encrypted + tag).decode()))

    def decrypt(self, text: str) -> str:
        """What was encrypted.

        Raises:
            ValueError: By another passphrase, in another format, or it was changed.
        """
        _, nonce, encrypted = text.split(":")
        content = b64decode(encrypted)
        cipher = self._cipher(b64decode(nonce))
        return cipher.decrypt_and_verify(content[:-_TAG_BYTES], content[-_TAG_BYTES:]).decode()

    def _cipher(self, nonce: bytes) -> GcmMode:
        from Crypto.Cipher import AES  # noqa: PLC0415 - slow to import, and needed before a first deployment only

        return AES.new(self._key, AES.MODE_GCM, nonce=nonce)


def _passphrase(environment: Mapping[str, str]) -> str | None:
    if (given := environment.get("PULUMI_CONFIG_PASSPHRASE")) is not None:
        return given
    try:
        return Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text(encoding="utf-8").strip()
    except (KeyError, OSError, UnicodeError):
        return None
