"""From what a resource turned out to be to the state that is kept, and back to inputs after a refresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolchain.plugins.inputs import DEFAULTS
from toolchain.plugins.plan import is_zero, ordered, shape
from toolchain.plugins.wire import UNKNOWN, Properties, Secret, Value, is_known

if TYPE_CHECKING:
    from toolchain.plugins.schema import Field


_ZEROES: Final[Properties] = {"string": "", "int": 0, "float": 0, "bool": False}


def applied(fields: dict[str, Field], planned: Properties, found: Properties) -> Properties:
    """Return the state after a create or update: what was found, in the form that was planned."""
    return {
        key: _settled(item, planned.get(key), shape_found(item, found[key]) if key in found else planned.get(key))
        for key, item in fields.items()
    }


def _settled(item: Field, plan: Value, value: Value) -> Value:
    if value is UNKNOWN:
        return [] if item.kind in ("list", "set") and not item.max_one else None
    if item.kind == "set" and not item.max_one:
        if plan not in (None, UNKNOWN) and is_known(plan):
            return plan
    elif item.kind in ("list", "set") and item.fields is not None and isinstance(value, (list, dict)) and value:
        return _settled_elements(item, plan, value)
    if item.kind in ("list", "set", "map") and plan is not UNKNOWN and is_zero(plan) and is_zero(value):
        return plan
    return plan if plan == "" and value is None else value


def _settled_elements(item: Field, plan: Value, value: Value) -> Value:
    """Fill in zeroes for what is absent in the objects of a list, as the SDK does when it writes the state."""
    fields = item.fields or {}

    def settled(one: Value, planned: Value) -> Properties:
        plans = planned if isinstance(planned, dict) else {}
        found = {key: _settled(each, plans.get(key), one.get(key)) for key, each in fields.items()}
        return {key: _ZEROES.get(fields[key].kind) if each is None else each for key, each in found.items()}

    if isinstance(value, dict):
        return settled(value, plan)
    plans = plan if isinstance(plan, list) and len(plan) == len(value) else [None] * len(value)
    return [settled(one, planned) for one, planned in zip(value, plans, strict=True)]


def refreshed(fields: dict[str, Field], prior: Properties, found: Properties) -> Properties:
    """Return the state after a read."""
    state: Properties = {}
    for key, item in fields.items():
        old = prior.get(key)
        value = shape_found(item, found[key]) if key in found else old
        state[key] = old if value is None and old == "" else _zeroed(item, value)
    return state


def _zeroed(item: Field, value: Value) -> Value:
    """Fill in zeroes for absent numbers, booleans and texts in nested objects, as the SDK does when it reads."""
    fields = item.fields
    if fields is None or not value:
        return value
    if isinstance(value, list):
        return [_zeroed(item, each) for each in value]
    return {
        key: _ZEROES.get(each.kind) if value.get(key) is None else _zeroed(each, value[key])
        for key, each in fields.items()
    }


def shape_found(item: Field, value: Value) -> Value:
    """Return a value from a server as the state holds it."""
    if value is None:
        return [] if item.is_block and not item.max_one else None
    if item.kind == "set" and not item.max_one and item.fields is None:
        return ordered(list(value))
    if item.fields is not None:
        return shape(item, value)
    return value


def outputs(fields: dict[str, Field], resource_id: str, state: Properties) -> Properties:
    """Return the state as it is sent: marked secrets, the id inside."""
    sent: Properties = {"id": resource_id}
    for key, item in fields.items():
        value = state.get(key)
        sent[key] = Secret(value) if item.secret else value
    return sent


def inputs_after_refresh(fields: dict[str, Field], inputs: Properties, state: Properties) -> Properties:
    """Return the inputs with the values that the world now has; only keys that were there before."""
    result, _ = _refresh_object(fields, inputs, state)
    return result


def _refresh_object(fields: dict[str, Field], inputs: Properties, state: Properties) -> tuple[Properties, bool]:
    had_defaults = DEFAULTS in inputs
    defaults = set(inputs.get(DEFAULTS) or ())
    result: Properties = {}
    possible = True
    for key, old in inputs.items():
        if key == DEFAULTS:
            continue
        unchanged = False
        if state.get(key) is not None and key in fields:
            result[key], unchanged = _refresh_value(fields[key], old, state[key])
        if not unchanged:
            possible = False
            defaults.discard(key)
    if had_defaults:
        result[DEFAULTS] = sorted(defaults)
    return result, possible or not had_defaults


def _refresh_value(item: Field, old: Value, new: Value) -> tuple[Value, bool]:
    if item.secret:
        return Secret(new), old == new
    if item.max_one and item.fields is not None and isinstance(old, dict) and isinstance(new, dict):
        return _refresh_object(item.fields, old, new)
    if isinstance(old, list) and isinstance(new, list):
        return _refresh_list(item, old, new)
    if isinstance(old, dict) and isinstance(new, dict):
        kept = {key: new[key] for key in old if key in new}
        return kept, kept == old
    if isinstance(old, str) and isinstance(new, str) and item.normal is not None:
        return old, item.normal(old) == new
    return new, old == new


def _refresh_list(item: Field, old: list[Value], new: list[Value]) -> tuple[list[Value], bool]:
    places: dict[int, int] | None = None
    if item.kind == "set" and all(isinstance(each, dict) for each in (*old, *new)):
        places = match_elements(old, new)
    result: list[Value] = []
    same = True
    for index, each in enumerate(old):
        place = index if places is None else places.get(index, -1)
        if not 0 <= place < len(new):
            same = False
            continue
        if item.fields is not None and isinstance(each, dict) and isinstance(new[place], dict):
            value, unchanged = _refresh_object(item.fields, each, new[place])
        else:
            value, unchanged = new[place], each == new[place]
        same = same and unchanged
        result.append(value)
    return result, same


def match_elements(old: list[Properties], new: list[Properties]) -> dict[int, int]:
    """Return which new element each old element of a set most likely is."""
    scores = sorted(
        (
            (sum(3 if one[key] == other[key] else 1 for key in one if key in other), -first, -second)
            for first, one in enumerate(old)
            for second, other in enumerate(new)
        ),
        reverse=True,
    )
    matched: dict[int, int] = {}
    used: set[int] = set()
    for _, first, second in scores:
        if -first not in matched and -second not in used:
            matched[-first] = -second
            used.add(-second)
    return matched


def inputs_of_import(fields: dict[str, Field], state: Properties) -> Properties:
    """Return the inputs that a found resource would have had: no outputs, no defaults, no zeroes."""
    result: Properties = {}
    for key, item in fields.items():
        value = state.get(key)
        if not (item.optional or item.required) or value is None:
            continue
        value = _import_value(item, value)
        default = value == item.default if item.default is not None else is_zero(value) or value == {DEFAULTS: []}
        if default and not item.required:
            continue
        result[key] = Secret(value) if item.secret else value
    result[DEFAULTS] = []
    return result


def _import_value(item: Field, value: Value) -> Value:
    if item.fields is not None:
        if isinstance(value, dict):
            return inputs_of_import(item.fields, value)
        return [inputs_of_import(item.fields, each) for each in value]
    if item.kind == "map":
        return {**value, DEFAULTS: []}
    return value
