"""A provider's own settings on the wire: everything that is no string is JSON in a string.

The rules are the vendor's bridge's (pulumi-terraform-bridge, pkg/tfbridge/config_encoding.go).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from toolchain.plugins.wire import UNKNOWN, Properties, Secret, Value, is_known

if TYPE_CHECKING:
    from toolchain.plugins.diff import Change
    from toolchain.plugins.schema import Fields

#: What the engine adds to the settings for itself.
_ENGINES: Final = ("version", "pluginDownloadURL")


def checked(fields: Fields, given: Properties) -> tuple[Properties, list[str]]:
    """Return the settings to keep, and what is wrong with others.

    Raises:
        ValueError: a setting that is no text is not JSON either.
    """
    kept: Properties = {}
    wrong: list[str] = []
    for key, value in given.items():
        item = fields.get(key)
        if key in _ENGINES or key.startswith("__"):
            kept[key] = value
        elif item is None or not item.is_input:
            wrong.append(f"`{key}` is not a setting that this plugin, made from packages, has")
        else:
            _unfolded(fields, key, value)
            kept[key] = Secret(_folded(value)) if item.secret else _folded(value)
    for key, item in fields.items():
        if item.required and key not in given:
            wrong.append(f"Missing required property '{key}'")
    return kept, wrong


def changes(olds: Properties, news: Properties) -> dict[str, Change]:
    """Return which settings are others than before; one that is not known yet is not."""
    found: dict[str, Change] = {}
    for key in sorted({*olds, *news}):
        if news.get(key) is not UNKNOWN and olds.get(key) != news.get(key):
            found[key] = "add" if key not in olds else "delete" if key not in news else "update"
    return found


def unfolded(fields: Fields, given: Properties) -> Properties:
    """Return the settings as values."""
    return {key: _unfolded(fields, key, value) for key, value in given.items()}


def _folded(value: Value) -> Value:
    if value is UNKNOWN or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True) if is_known(value) else UNKNOWN


def _unfolded(fields: Fields, key: str, value: Value) -> Value:
    item = fields.get(key)
    if item is None or item.kind == "string" or not isinstance(value, str):
        return value
    return json.loads(value) if value else None
