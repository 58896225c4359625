"""Property values on the wire: protobuf structs to plain Python values and back.

The encoding is the Pulumi engine's (sdk/go/common/resource/plugin/rpc.go): secrets and outputs are objects
with a signature key, unknown values are fixed strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf import struct_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A property value: null, a boolean, a number, a text, a list, an object, `UNKNOWN` or a `Secret`. What it may be is
#: the schema's to say, so it has no narrower type.
Value = Any
Properties = dict[str, Any]

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a protocol constant)
OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
RESOURCE: Final = "5cf8f73096256a8f31e491e813e4eb8e"

UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWN_TEXTS: Final = frozenset(
    {
        UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)


class Unknown:
    """A value that is not known yet (a preview)."""

    def __repr__(self) -> str:
        """Name the marker."""
        return "UNKNOWN"

    def __deepcopy__(self, _memo: dict[int, object]) -> Unknown:
        """Stay the one marker."""
        return self


UNKNOWN: Final = Unknown()


class Secret:
    """A value to be marked secret when it leaves."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        """Hold the plain value."""
        self.value = value

    def __repr__(self) -> str:
        """Show nothing of the value."""
        return "Secret(...)"


def decode(struct: struct_pb2.Struct) -> Properties:
    """Return the struct's properties without nulls, secrets unwrapped."""
    found = {key: _decode(value) for key, value in struct.fields.items()}
    return {key: value for key, value in found.items() if value is not None}


def _decode(value: struct_pb2.Value) -> Value:  # noqa: PLR0911 (one line a kind of value)
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in _UNKNOWN_TEXTS else text
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields:
            mark = fields[SIGNATURE].string_value
            if mark == OUTPUT and "value" not in fields:
                return UNKNOWN
            if mark in (SECRET, OUTPUT):
                return _decode(fields["value"])
            if mark == RESOURCE:
                return _decode(fields["id"]) if "id" in fields else _decode(fields["urn"])
        return decode(value.struct_value)
    return None


def encode(properties: Mapping[str, Value]) -> struct_pb2.Struct:
    """Return properties as a struct."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        _encode(value, struct.fields[key])
    return struct


def _encode(value: Value, into: struct_pb2.Value) -> None:  # noqa: C901 (one case a kind of value)
    if value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif value is UNKNOWN:
        into.string_value = UNKNOWN_TEXT
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, (int, float)):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, Secret):
        fields = into.struct_value.fields
        fields[SIGNATURE].string_value = SECRET
        _encode(value.value, fields["value"])
    elif isinstance(value, dict):
        fields = into.struct_value.fields
        into.struct_value.SetInParent()
        for key, item in value.items():
            _encode(item, fields[key])
    elif isinstance(value, (list, tuple)):
        into.list_value.SetInParent()
        for item in value:
            _encode(item, into.list_value.values.add())
    else:
        msg = f"a value of type {type(value).__name__} cannot be sent"
        raise TypeError(msg)


def is_known(value: Value) -> bool:
    """Say whether a value holds no unknown, at any depth."""
    if value is UNKNOWN:
        return False
    if isinstance(value, dict):
        return all(is_known(item) for item in value.values())
    if isinstance(value, list):
        return all(is_known(item) for item in value)
    return True


def known(value: Value) -> Value:
    """Return a planned value, None where only the server can tell."""
    return None if value is UNKNOWN else value
