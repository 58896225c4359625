"""What a set says of itself; `docs/backup.md` describes every field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from mlflow_stack_backup.errors import Refusal

FORMAT: Final = 1
NAME: Final = "manifest.json"
_CHECKSUM: Final = "checksum"


def written(content: Mapping[str, Any]) -> bytes:
    """The text of a manifest, with a checksum over the rest of it."""
    return json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=2, ensure_ascii=False).encode() + b"\n"


def read(path: str, text: str) -> dict[str, Any]:
    """The content of a manifest.

    Args:
        path: Where it stands, for the error.
        text: What stands there.

    Raises:
        Refusal: It is damaged, or of a format that this program does not know.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        checksum, format_ = content.pop(_CHECKSUM), content["format"]
    except (ValueError, KeyError, AttributeError, TypeError):
        raise _damaged(path) from None
    if checksum != _checksum(content):
        raise _damaged(path)
    if format_ != FORMAT:
        wrong = f"is of format {format_}, and this program knows format {FORMAT}"
        raise Refusal("set", path, wrong, "use the version of this project that made the set")
    return content


def key_id(key: str) -> str:
    """A name for a key that does not tell the key: it is told which one is missing."""
    return hashlib.sha256(f"mlflow-stack backup key\0{key}".encode()).hexdigest()[:12]


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _damaged(path: str) -> Refusal:
    return Refusal("set", path, "is damaged: its content is not that of the backup", "restore another set (SET=)")
