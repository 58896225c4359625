"""How a plugin describes its resources.

A field is what the vendor's provider declares for it: its kind, whether a change replaces the resource, whether the
server fills it in, its default. Names are the ones Pulumi programs use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolchain.plugins.wire import Value

Kind = Literal["string", "int", "float", "bool", "list", "set", "map"]


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a resource or of a nested object."""

    kind: Kind
    elem: Field | dict[str, Field] | None = None
    required: bool = False
    optional: bool = True
    computed: bool = False
    force_new: bool = False
    default: Value = None
    secret: bool = False
    max_one: bool = False
    conflicts: tuple[str, ...] = ()
    autoname: bool = False
    check: Callable[[Value], str | None] | None = None
    """Says what is wrong with a known value, None when nothing is."""
    suppress: Callable[[Value, Value], bool] | None = None
    """Says whether a change from the first value to the second is none."""
    normal: Callable[[Value], Value] | None = None
    """What the provider makes of an input before it is kept."""

    @property
    def is_input(self) -> bool:
        """Whether a program may set it."""
        return self.optional or self.required

    @property
    def fields(self) -> dict[str, Field] | None:
        """The fields of the element, where it is an object."""
        return self.elem if isinstance(self.elem, dict) else None

    @property
    def is_block(self) -> bool:
        """Whether an absent value is an empty list rather than null."""
        return self.fields is not None and not self.computed


Fields = dict[str, Field]


class Options(TypedDict, total=False):
    """What can be said of a field beside its kind."""

    required: bool
    computed: bool
    force_new: bool
    default: Value
    secret: bool
    max_one: bool
    conflicts: tuple[str, ...]
    autoname: bool
    check: Callable[[Value], str | None]
    suppress: Callable[[Value, Value], bool]
    normal: Callable[[Value], Value]


def string(**options: Unpack[Options]) -> Field:
    """Describe a string."""
    return Field("string", **options)


def integer(**options: Unpack[Options]) -> Field:
    """Describe an integer."""
    return Field("int", **options)


def boolean(**options: Unpack[Options]) -> Field:
    """Describe a boolean."""
    return Field("bool", **options)


def strings(kind: Kind = "set", **options: Unpack[Options]) -> Field:
    """Describe a set (or list) of strings."""
    return Field(kind, elem=Field("string"), **options)


def mapping(**options: Unpack[Options]) -> Field:
    """Describe a map of strings."""
    return Field("map", elem=Field("string"), **options)


def objects(fields: Fields, kind: Kind = "set", **options: Unpack[Options]) -> Field:
    """Describe a set (or list) of objects."""
    return Field(kind, elem=fields, **options)


def output(kind: Kind = "string", elem: Fields | None = None) -> Field:
    """Describe a property that only the server sets."""
    return Field(kind, elem=elem, optional=False, computed=True)


def unsupported(kind: Kind = "string", *, block: bool = False, **options: Unpack[Options]) -> Field:
    """Describe an input that the vendor has and we refuse; its place in the state is kept, empty."""
    return Field(kind, elem={} if block else None, optional=False, **options)


def forced(**fields: Field) -> Fields:
    """Return the fields, a change of any of which replaces the resource."""
    return {name: replace(item, force_new=True) for name, item in fields.items()}
