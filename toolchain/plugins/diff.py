"""Where prior and planned state differ, as the engine wants to hear it.

Two questions, answered by two of the vendor's layers, and so kept apart here. Whether anything must be replaced is the
plugin SDK's to say: a changed field that is marked so, or a changed number of elements in a collection that is. Which
paths changed is the bridge's (pulumi-terraform-bridge, pkg/tfbridge/detailed_diff.go): elements of sets are compared
by content and named by their index in the inputs; where they cannot be told apart, the whole set is named.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal

from toolchain.plugins.plan import is_zero, set_identity
from toolchain.plugins.wire import UNKNOWN, Properties, Value

if TYPE_CHECKING:
    from toolchain.plugins.schema import Field

Change = Literal["add", "delete", "update"]
Differences = dict[str, tuple[Change, bool]]
"""Property path to the change and whether it replaces."""


def differences(fields: dict[str, Field], prior: Properties, planned: Properties, inputs: Properties) -> Differences:
    """Return what differs between two states of a resource."""
    found: Differences = {}
    for key, item in sorted(fields.items()):
        found |= _property(item, key, prior.get(key), planned.get(key), inputs.get(key), parent_forces=False)
    replaces = any(_requires_new(item, prior.get(key), planned.get(key)) for key, item in fields.items())
    if not replaces:
        return {key: (change, False) for key, (change, _) in found.items()}
    if not any(replace for _, replace in found.values()):
        found["__meta"] = ("update", True)
    return found


def _requires_new(item: Field, old: Value, new: Value) -> bool:  # noqa: PLR0911 (one case a kind of field)
    """Say whether the SDK would replace the resource for this change."""
    if new is UNKNOWN:
        return item.force_new or _any_forces(item)
    if item.max_one:
        if is_zero(old) != is_zero(new):
            return item.force_new or _any_forces(item)
        return not is_zero(new) and _element_requires_new(item, old, new)
    if item.kind == "list":
        olds, news = old or [], new or []
        if len(olds) != len(news):
            return item.force_new or _any_forces(item)
        return any(_element_requires_new(item, one, other) for one, other in zip(olds, news, strict=True))
    if item.kind == "set":
        olds = {set_identity(item, each): each for each in old or []}
        news = {set_identity(item, each): each for each in new or []}
        if len(olds) != len(news) and item.force_new:
            return True
        gone = [each for key, each in olds.items() if key not in news]
        come = [each for key, each in news.items() if key not in olds]
        return any(_element_requires_new(item, None, each) for each in (*gone, *come))
    if item.kind == "map":
        return item.force_new and (old or {}) != (new or {})
    return item.force_new and not _same_scalar(old, new)


def _element_requires_new(item: Field, old: Value, new: Value) -> bool:
    fields = item.fields
    if fields is None:
        return item.force_new and old != new
    olds = old if isinstance(old, dict) else {}
    news = new if isinstance(new, dict) else {}
    return any(_requires_new(each, olds.get(key), news.get(key)) for key, each in fields.items())


def _any_forces(item: Field) -> bool:
    return any(each.force_new or _any_forces(each) for each in (item.fields or {}).values())


def _same_scalar(old: Value, new: Value) -> bool:
    return (is_zero(old) and is_zero(new)) or (old == new and isinstance(old, bool) == isinstance(new, bool))


def _absent(value: Value) -> bool:
    return value is None or value == []


def _triggers(item: Field, value: Value) -> bool:
    """Say whether a whole value that comes or goes would replace, for itself or for a field inside."""
    if item.force_new:
        return True
    fields = item.fields
    if fields is None or value is UNKNOWN:
        return False
    many = value if isinstance(value, list) else [value]
    return any(
        _triggers(each, one[key])
        for one in many
        if isinstance(one, dict)
        for key, each in fields.items()
        if key in one and one[key] is not None
    )


def _property(item: Field, path: str, old: Value, new: Value, given: Value, *, parent_forces: bool) -> Differences:  # noqa: PLR0911
    force = item.force_new or parent_forces
    if new is not UNKNOWN and _absent(old) and _absent(new):
        return {}
    if _absent(old):
        return {path: ("add", force or _triggers(item, new))}
    if new is UNKNOWN:
        return {path: ("update", force)}
    if _absent(new):
        return {path: ("delete", force or _triggers(item, old))}
    if item.max_one:
        return _element(item, path, old, new, given)
    if item.kind == "list":
        return _list(item, path, old, new, given)
    if item.kind == "set":
        return _set(item, path, old, new, given)
    if item.kind == "map":
        return _map(path, old, new, force)
    return {} if old == new and isinstance(old, bool) == isinstance(new, bool) else {path: ("update", force)}


def _element(item: Field, path: str, old: Value, new: Value, given: Value) -> Differences:
    """Compare two elements of a collection, either of which may be missing."""
    if old is None or new is None or new is UNKNOWN or item.fields is None:
        if old == new:
            return {}
        change: Change = "add" if old is None else "delete" if new is None else "update"
        value = new if old is None else old
        return {path: (change, item.force_new or _triggers(item, value))}
    found: Differences = {}
    for key, each in sorted(item.fields.items()):
        inside = given.get(key) if isinstance(given, dict) else None
        found |= _property(each, f"{path}.{key}", old.get(key), new.get(key), inside, parent_forces=item.force_new)
    return found


def _list(item: Field, path: str, old: list[Value], new: list[Value], given: Value) -> Differences:
    if item.fields is None:
        return _scalars(item, path, old, new)
    found: Differences = {}
    for index in range(max(len(old), len(new))):
        one, other = _at(old, index), _at(new, index)
        found |= _element(item, f"{path}[{index}]", one, other, _at(given, index))
    return found


def _at(items: Value, index: int) -> Value:
    return items[index] if isinstance(items, list) and index < len(items) else None


def _scalars(item: Field, path: str, old: list[Value], new: list[Value]) -> Differences:
    found: dict[str, Change] = {}
    matcher = SequenceMatcher(a=[str(each) for each in old], b=[str(each) for each in new], autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            continue
        for index in range(old_from, old_to):
            found[f"{path}[{index}]"] = "update" if f"{path}[{index}]" in found else "delete"
        for index in range(new_from, new_to):
            found[f"{path}[{index}]"] = "update" if f"{path}[{index}]" in found else "add"
    return {key: (change, item.force_new) for key, change in found.items()}


def _set(item: Field, path: str, old: list[Value], new: list[Value], given: Value) -> Differences:
    olds = {set_identity(item, each): index for index, each in enumerate(old)}
    news = {set_identity(item, each): index for index, each in enumerate(new)}
    removed = {index for key, index in olds.items() if key not in news}
    added = sorted(index for key, index in news.items() if key not in olds)
    if not removed and not added:
        return {}
    matched = _match(item, added, new, given)
    if matched is None:
        return {path: ("update", item.force_new)}
    found: Differences = {}
    for index in sorted({*removed, *matched}):
        one = old[index] if index in removed else None
        other = new[matched[index]] if index in matched else None
        found |= _element(item, f"{path}[{index}]", one, other, _at(given, index))
    return found


def _match(item: Field, added: list[int], new: list[Value], given: Value) -> dict[int, int] | None:
    """Return the index in the inputs of each added element, None where they cannot be told apart."""
    inputs = given if isinstance(given, list) else []
    if len(inputs) < len(new):
        return None
    matched: dict[int, int] = {}
    for index in added:
        for place, each in enumerate(inputs):
            if place not in matched and _could_be(item, each, new[index]):
                matched[place] = index
                break
    return matched if len(matched) == len(added) else None


def _could_be(item: Field, given: Value, planned: Value) -> bool:
    """Say whether a planned element is an input and nothing more: as exact as the bridge is."""
    fields = item.fields
    if fields is None or not isinstance(given, dict) or not isinstance(planned, dict):
        return given == planned
    for key, each in fields.items():
        one, other = given.get(key), planned.get(key)
        if one is None and (each.computed or (other in ([], {}) and each.kind in ("list", "set", "map"))):
            continue
        if each.fields is not None and isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other) or not all(map(lambda a, b, f=each: _could_be(f, a, b), one, other)):
                return False
            continue
        if each.fields is not None and isinstance(one, dict) and isinstance(other, dict):
            if not _could_be(each, one, other):
                return False
            continue
        if one != other:
            return False
    return True


def _map(path: str, old: Properties, new: Properties, force: bool) -> Differences:
    found: Differences = {}
    for key in sorted({*old, *new}):
        plain = key.replace("_", "a").isalnum() and not key[0].isdigit()
        where = f"{path}.{key}" if plain else f'{path}["{key}"]'
        one, other = old.get(key), new.get(key)
        if one == other:
            continue
        found[where] = ("add" if one is None else "delete" if other is None else "update", force)
    return found
