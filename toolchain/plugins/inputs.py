"""What Check does: convert inputs to their declared types, fill in defaults, refuse what is not known.

The rules are those of the vendor's bridge (pulumi-terraform-bridge, pkg/tfbridge/schema.go): every object carries the
names of its defaulted properties under `__defaults`, a default that is false, zero or empty is left out, and a
property that was defaulted before keeps its old value.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from toolchain.plugins.schema import Field
from toolchain.plugins.wire import UNKNOWN, Properties, Secret, Value, is_known

if TYPE_CHECKING:
    from toolchain.plugins.schema import Kind

DEFAULTS: Final = "__defaults"
_CAMEL: Final = re.compile("[A-Z]")


class Checker:
    """Checks the inputs of one resource."""

    def __init__(self, name: str, seed: bytes, proposed_name: str = "") -> None:
        """Take the resource's name and seed, for names made up."""
        self.name = name
        self.seed = seed
        self.proposed_name = proposed_name
        self.refused: list[str] = []

    def check(self, fields: dict[str, Field], olds: Properties, news: Properties) -> Properties:
        """Return the inputs to keep."""
        return self._object(fields, olds, news, "")

    def _object(self, fields: dict[str, Field], olds: Properties, news: Properties, path: str) -> Properties:
        kept: Properties = {}
        for key, value in news.items():
            if key.startswith("__"):
                continue
            where = f"{path}.{key}" if path else key
            item = fields.get(key)
            if item is None or not (item.optional or item.required):
                self.refused.append(self._at(where, "Invalid or unknown key"))
                continue
            if value is None:
                continue
            converted = self._value(item, olds.get(key), value, where)
            kept[key] = Secret(converted) if item.secret else converted
        self._conflicts(fields, kept, path)
        defaulted = self._defaults(fields, olds, kept)
        for key, item in fields.items():
            if item.required and key not in kept:
                where = f"{path}.{key}" if path else key
                self.refused.append(self._missing(where))
        kept[DEFAULTS] = sorted(defaulted)
        return kept

    def _missing(self, path: str) -> str:
        argument = re.sub(r"\[(\d+)\]", r".\1", _snake(path))
        return self._at(
            path, f'Missing required argument. The argument "{argument}" is required, but no definition was found.'
        )

    def _at(self, path: str, reason: str) -> str:
        return f"{reason}. Examine values at '{self.name}.{path}'."

    def _conflicts(self, fields: dict[str, Field], kept: Properties, path: str) -> None:
        for key in kept:
            for other in fields[key].conflicts:
                if other in kept:
                    where = f"{path}.{key}" if path else key
                    reason = f'Conflicting configuration arguments. "{_snake(key)}": conflicts with {_snake(other)}'
                    self.refused.append(self._at(where, reason))

    def _defaults(self, fields: dict[str, Field], olds: Properties, kept: Properties) -> list[str]:
        old_defaults = olds.get(DEFAULTS)
        reusable: set[str] = set(olds) if old_defaults is None else set(old_defaults)
        excluded = {other for key in kept for other in fields[key].conflicts}
        excluded |= {key for key, item in fields.items() if any(other in kept for other in item.conflicts)}
        made: list[str] = []
        for key, item in fields.items():
            if key in kept or key in excluded:
                continue
            if item.autoname:
                old = olds.get(key)
                kept[key] = old if isinstance(old, str) else self._new_name()
            elif item.default is None:
                continue
            elif key in olds and key in reusable:
                kept[key] = self._value(item, None, olds[key], key)
            elif item.default:
                kept[key] = item.default
            else:
                continue
            made.append(key)
        return made

    def _new_name(self) -> str:
        if self.proposed_name:
            return self.proposed_name
        digest = hashlib.sha256(self.seed + self.name.encode()).hexdigest()
        return f"{self.name}-{digest[:7]}"

    def _value(self, item: Field, old: Value, value: Value, path: str) -> Value:
        if value is UNKNOWN:
            return UNKNOWN
        if item.max_one:
            one = _at(value, 0) if isinstance(value, list) else value
            return None if one is None else self._element(item, old, one, path)
        if item.kind in ("list", "set"):
            many = value if isinstance(value, list) else [value]
            olds = old if isinstance(old, list) else []
            return [
                self._element(item, _at(olds, index), each, f"{path}[{'?' if item.kind == 'set' else index}]")
                for index, each in enumerate(many)
            ]
        if item.kind == "map":
            if not isinstance(value, dict):
                self.refused.append(self._at(path, "expected a map"))
                return value
            return {
                key: self._element(item, None, each, f"{path}.{key}")
                for key, each in value.items()
                if each is not None and key != DEFAULTS
            }
        return self._scalar(item, value, path)

    def _element(self, item: Field, old: Value, value: Value, path: str) -> Value:
        if value is UNKNOWN:
            return UNKNOWN
        fields = item.fields
        if fields is None:
            return self._value(item.elem, old, value, path) if isinstance(item.elem, Field) else value
        if not isinstance(value, dict):
            self.refused.append(self._at(path, "expected an object"))
            return value
        return self._object(fields, old if isinstance(old, dict) else {}, value, path)

    def _scalar(self, item: Field, value: Value, path: str) -> Value:
        try:
            value = coerce(item.kind, value)
        except ValueError:
            self.refused.append(self._at(path, f"expected type '{item.kind}', got unconvertible type"))
            return value
        if item.check is not None and is_known(value):
            wrong = item.check(value)
            if wrong:
                # Elements of sets have no place that could be named.
                self.refused.append(self._at(path.split("[?]", 1)[0], wrong))
        return value


def _snake(name: str) -> str:
    """Return what the vendor's upstream calls a property."""
    return _CAMEL.sub(lambda found: f"_{found.group().lower()}", name)


def _at(items: list[Value], index: int) -> Value:
    return items[index] if index < len(items) else None


_TRUE: Final = frozenset({"true", "True", "TRUE", "1", "t", "T"})
_FALSE: Final = frozenset({"false", "False", "FALSE", "0", "f", "F"})


def coerce(kind: Kind, value: Value) -> Value:
    """Turn a value into the declared kind.

    Raises:
        ValueError: it cannot be turned into one.
    """
    if kind == "bool":
        return _boolean(value)
    return _text(value) if kind == "string" else _number(kind, value)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        return str(value)
    raise ValueError


def _boolean(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _TRUE | _FALSE:
        return value in _TRUE
    raise ValueError


def _number(kind: Kind, value: Value) -> int | float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value) if kind == "float" else int(value)
    raise ValueError


def plain(value: Value) -> Value:
    """Return a value without secret marks and without bookkeeping keys."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
