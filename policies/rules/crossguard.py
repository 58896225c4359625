"""The rules as pulumi-policy's policies: the one module that knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Secret,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from rules.container import CONTAINER
from rules.credentials import UPLOADED
from rules.resource import UNKNOWN, Path, Resource
from rules.rule import ResourceRule, Rule, StackRule

#: Under this key pulumi-policy's proxies hand out what they stand for, with the marks of secrets.
_TARGET: Final = "__target"

#: A shorter secret may be part of any text by chance.
_TELLING: Final = 8


@dataclass
class Seen:
    """What the engine has asked about so far.

    pulumi-policy takes the marks of secrets off before it asks for a validation, and leaves them on for a remediation,
    which the engine asks for first. So a rule that needs them has one that remedies nothing and remembers.

    A rule about several resources gets to see their outputs, in which a preview may not know what stands in the
    inputs. So those are remembered, too.

    Attributes:
        inputs: URN → the inputs.
        marked: URN → the inputs that are marked as secret.
        secrets: The marked texts of all resources, whichever they are.
    """

    inputs: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    marked: dict[str, frozenset[Path]] = field(default_factory=dict[str, frozenset[Path]])
    secrets: set[str] = field(default_factory=set[str])

    def remember(self, args: ResourceValidationArgs) -> None:
        """Note the marks of a resource; asks for no change."""
        found = list(_secrets(args.props, ()))
        self.marked[args.urn] = frozenset(path for path, _ in found)
        texts = [leaf for path, value in found for leaf in _texts(value, path)]
        # Of a container the files' contents alone: a mark on anything else is refused for itself.
        kept = [text for path, text in texts if args.resource_type != CONTAINER or path[-1] in UPLOADED]
        self.secrets.update(text for text in kept if len(text) >= _TELLING)


def _secrets(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    """The marked inputs below a place."""
    if isinstance(value, Secret):
        yield path, value.value
    else:
        for key, entry in _entries(value):
            yield from _secrets(entry, (*path, key))


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """The texts below a place, whether they are marked or not."""
    if isinstance(value, str):
        yield path, value
    for key, entry in _entries(value.value if isinstance(value, Secret) else value):
        yield from _texts(entry, (*path, key))


def _entries(value: Any) -> Iterator[tuple[str | int, object]]:  # noqa: ANN401 - whatever a provider takes
    """What a list or a map holds, with the marks that pulumi-policy's proxies of maps would take off."""
    if isinstance(value, Mapping):
        entries: Mapping[str, object] = value if isinstance(value, dict) else value[_TARGET]
        yield from entries.items()
    if isinstance(value, list):
        items: list[object] = value
        yield from enumerate(items)


def policies(rules: Sequence[Rule]) -> list[Policy]:
    """A policy a rule."""
    seen = Seen()
    return [_policy(rule, seen) for rule in rules]


def _policy(rule: Rule, seen: Seen) -> Policy:
    return _of_stack(rule, seen) if isinstance(rule, StackRule) else _of_resource(rule, seen)


def _of_resource(rule: ResourceRule, seen: Seen) -> Policy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        seen.inputs[args.urn] = _plain(args.props)
        for finding in rule.check(_resource(args, seen, args.get_config())):
            report(finding.line(rule.name))

    return ResourceValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        # To the engine a violation of a policy that remedies is as mandatory as any other.
        remediate=seen.remember if rule.sees_secrets else None,
        enforcement_level=EnforcementLevel.REMEDIATE if rule.sees_secrets else EnforcementLevel.MANDATORY,
        config_schema=PolicyConfigSchema(properties=dict(rule.config)) if rule.config else None,
    )


def _of_stack(rule: StackRule, seen: Seen) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = [_resource(resource, seen, {}) for resource in args.resources]
        for finding in rule.check(resources, frozenset(seen.secrets)):
            report(finding.line(rule.name), finding.resource.urn)

    return StackValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )


def _resource(given: ResourceValidationArgs | PolicyResource, seen: Seen, config: Mapping[str, Any]) -> Resource:
    return Resource(
        type=given.resource_type,
        name=given.name,
        urn=given.urn,
        props=seen.inputs[given.urn] if given.urn in seen.inputs else _plain(given.props),
        protected=given.opts.protect,
        secret=seen.marked.get(given.urn, frozenset()),
        config=config,
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a provider takes
    """Plain lists and dictionaries of what pulumi-policy hands over; `UNKNOWN` where it would raise."""
    if isinstance(value, Mapping):
        entries: Mapping[str, Any] = value
        return {key: _known(entries, key) for key in entries}
    if isinstance(value, Sequence) and not isinstance(value, str):
        items: Sequence[Any] = value
        return [_known(items, number) for number in range(len(items))]
    return value


def _known(values: Any, key: Any) -> Any:  # noqa: ANN401 - see above
    try:
        return _plain(values[key])
    except UnknownValueError:
        return UNKNOWN
