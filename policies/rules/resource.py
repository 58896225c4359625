"""A resource as the rules see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final


class Unknown(Enum):
    """The type of what only a deployment will tell."""

    VALUE = "(not known yet)"

    def __str__(self) -> str:
        """What a person reads."""
        return self.value


UNKNOWN: Final = Unknown.VALUE

#: Where a value stands within a resource's inputs, such as `("ports", 0, "ip")`.
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """What the engine is about to make or to keep.

    Attributes:
        type: Its type token.
        name: Its name in the program.
        urn: Its URN.
        props: Its inputs, by the names of the provider's schema.
        protected: Whether Pulumi refuses to delete it.
        secret: The places in `props` that are marked as secret.
        config: What the user set for the rule that looks at it.
    """

    type: str
    name: str
    urn: str
    props: Mapping[str, Any] = field(default_factory=dict[str, Any])
    protected: bool = False
    secret: frozenset[Path] = frozenset()
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def stack(self) -> str:
        """Name of its stack."""
        return self.urn.partition("::")[0].removeprefix("urn:pulumi:")

    def listed(self, key: str) -> list[Any]:
        """An input that is a list; empty where it is absent or not known yet."""
        value = self.props.get(key)
        return list(value) if isinstance(value, list | tuple) else []
