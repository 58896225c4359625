"""What an update would make of a resource: the planned state from the prior state and the inputs.

The rules are the plugin SDK's (terraform-plugin-sdk, helper/schema): an input wins, an absent one falls back to the
default, then, where the server sets it, to what it was.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from toolchain.plugins.wire import UNKNOWN, Properties, Value, is_known

if TYPE_CHECKING:
    from toolchain.plugins.schema import Field


def plan(fields: dict[str, Field], prior: Properties | None, inputs: Properties) -> Properties:
    """Return the planned state, `UNKNOWN` where only the server can tell."""
    return {key: _planned(item, prior, key, inputs.get(key)) for key, item in fields.items()}


def shown_in_preview(fields: dict[str, Field], planned: Properties) -> Properties:
    """Return what a preview tells of a planned new resource: an empty set of plain values shows as none at all."""
    return {
        key: None if value == [] and fields[key].kind == "set" and fields[key].fields is None else value
        for key, value in planned.items()
    }


def _planned(item: Field, prior: Properties | None, key: str, value: Value) -> Value:
    old = None if prior is None else prior.get(key)
    if item.computed and prior is not None and _leaves_it_to_the_server(item, value):
        return old
    if value is None:
        if item.default is not None:
            value = item.default
        elif item.computed:
            return UNKNOWN
        else:
            return _removed(item, old)
    elif value is UNKNOWN or (item.fields is None and item.kind in ("list", "set", "map") and not is_known(value)):
        return UNKNOWN
    else:
        value = shape(item, value, old)
    if prior is not None and is_known(value) and same(item, old, value):
        return old
    return value


def _leaves_it_to_the_server(item: Field, value: Value) -> bool:
    """Say whether an input of a field that the server may fill in asks for nothing."""
    if item.kind == "set":
        return value is None or value is UNKNOWN or (value == [] and item.fields is not None)
    return value is None or value == ""


def _removed(item: Field, old: Value) -> Value:
    """Return the planned value of a field without input, default or server."""
    if old is not None and (is_zero(old) or (item.suppress is not None and item.suppress(old, ""))):
        return old
    if item.kind == "map" and old:
        return {}
    return [] if item.is_block and not item.max_one else None


def shape(item: Field, value: Value, old: Value = None) -> Value:
    """Return an input as the state would hold it: nested defaults filled in, sets in order."""
    if value is UNKNOWN or value is None:
        return value
    if item.max_one:
        return _shape_element(item, value, old)
    if item.kind == "list":
        olds = old if isinstance(old, list) else []
        return [
            _shape_element(item, each, olds[index] if index < len(olds) else None) for index, each in enumerate(value)
        ]
    if item.kind == "set":
        return ordered([_shape_element(item, each, None) for each in value])
    if item.kind == "map":
        return dict(value)
    return item.normal(value) if item.normal is not None else value


def _shape_element(item: Field, value: Value, old: Value) -> Value:
    fields = item.fields
    if fields is None or value is UNKNOWN:
        return value
    planned = plan(fields, old if isinstance(old, dict) else None, value)
    if item.kind == "set":
        # The SDK reads the elements of a set with zero values for what is absent, but for numbers and booleans.
        return {
            key: _ZEROES.get(fields[key].kind) if each is None and not fields[key].max_one else each
            for key, each in planned.items()
        }
    return planned


_ZEROES: Final[Properties] = {"string": "", "list": [], "set": []}


def is_zero(value: Value) -> bool:
    """Say whether a value is the zero of its kind, or absent."""
    return value is None or value is False or (not isinstance(value, bool) and value in ("", 0, [], {}))


def ordered(items: list[Value]) -> list[Value]:
    """Sort the elements of a set the way the vendor's state has them, without duplicates."""
    unique: Properties = {}
    for each in items:
        unique.setdefault(identity(each), each)
    return [unique[key] for key in sorted(unique)]


def identity(value: Value) -> str:  # noqa: PLR0911 (one line a kind of value)
    """Return a text that is equal for equal elements of a set, and sorts like the vendor's."""
    if value is UNKNOWN:
        return "?"
    if value is None or value in ([], {}):
        return "~"
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, (int, float)):
        return f"{value:020}"
    if isinstance(value, dict):
        return "<" + "".join(f"{identity(value[key])};" for key in sorted(value)) + ">"
    if isinstance(value, list):
        return "[" + "".join(f"{identity(each)};" for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def same(item: Field, old: Value, new: Value) -> bool:
    """Say whether a change from one value to the other is none."""
    if item.suppress is not None and old is not None and item.suppress(old, new):
        return True
    if is_zero(old) and is_zero(new):
        return True
    if item.kind == "set" and not item.max_one and isinstance(old, list) and isinstance(new, list):
        return {set_identity(item, each) for each in old} == {set_identity(item, each) for each in new}
    return _equal(old, new)


def set_identity(item: Field, element: Value) -> str:
    """Return what makes an element of this set that element: its values, defaults and zeroes left out."""
    return identity(_meaning(item, element))


def _meaning(item: Field, element: Value) -> Value:
    fields = item.fields
    if fields is None or not isinstance(element, dict):
        return element
    found: Properties = {}
    for key, each in fields.items():
        value = each.default if element.get(key) is None else element[key]
        if not is_zero(value):
            found[key] = _inner_meaning(each, value)
    return found


def _inner_meaning(item: Field, value: Value) -> Value:
    if value is UNKNOWN or item.kind not in ("list", "set"):
        return value
    if item.max_one:
        return _meaning(item, value)
    many = [_meaning(item, one) for one in value]
    return sorted(many, key=identity) if item.kind == "set" else many


def _equal(old: Value, new: Value) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_equal(old.get(key), new.get(key)) for key in {*old, *new})
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_equal(one, other) for one, other in zip(old, new, strict=True))
    if is_zero(old) and is_zero(new):
        return True
    return old == new and isinstance(old, bool) == isinstance(new, bool)
