"""What a rule is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rules.resource import Resource


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that breaks a rule.

    Attributes:
        resource: What breaks it.
        value: The input that does and what it is; never the value of a credential.
        limit: What is wrong with it, and what the rule allows.
        mend: What to do.
    """

    resource: Resource
    value: str
    limit: str
    mend: str

    def line(self, rule: str) -> str:
        """The line that a user reads."""
        return f"{rule}: {self.resource.name}: {self.value}: {self.limit}. mend: {self.mend}"


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """A rule that each resource keeps by itself: it is asked before the resource is made.

    Attributes:
        name: Its name, in messages and in a policy config.
        description: One sentence.
        check: Tells everything that breaks it.
        config: What a user may set for it, as JSON schema by key.
        sees_secrets: Whether it asks which inputs are marked as secret.
    """

    name: str
    description: str
    check: Callable[[Resource], Iterator[Finding]]
    config: Mapping[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    sees_secrets: bool = False


@dataclass(frozen=True, slots=True)
class StackRule:
    """A rule about several resources: it is asked at the end, when all are known.

    Attributes:
        name: Its name, in messages and in a policy config.
        description: One sentence.
        check: Tells everything that breaks it, given the resources and the values that are marked as secret anywhere.
    """

    name: str
    description: str
    check: Callable[[Sequence[Resource], frozenset[str]], Iterator[Finding]]


Rule = ResourceRule | StackRule
