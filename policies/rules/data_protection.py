"""Outside of dev, nothing that holds data can be deleted by a slip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rules.container import role
from rules.resource import Resource
from rules.rule import Finding, ResourceRule

_DEV: Final = "dev"
_STORES: Final = frozenset({"postgres", "minio"})

#: Policy config: the stacks, beside dev, whose data may go.
_ALLOWED: Final = "allowUnprotected"


def _data_volume(volume: Resource) -> bool:
    name = volume.props.get("name")
    return role(volume) in _STORES and (name if isinstance(name, str) else volume.name).endswith("-data")


def _always(_: Resource) -> bool:
    return True


#: Type → which of its resources hold data.
_HOLDS_DATA: Final[Mapping[str, Callable[[Resource], bool]]] = {
    "docker:index/volume:Volume": _data_volume,
    "minio:index/s3Bucket:S3Bucket": _always,
    "postgresql:index/database:Database": _always,
}


def unprotected(resource: Resource) -> Iterator[Finding]:
    """Data that `pulumi destroy` would delete without a further question."""
    holds_data = _HOLDS_DATA.get(resource.type)
    allowed: list[Any] = list(resource.config.get(_ALLOWED) or ())
    if holds_data is None or not holds_data(resource) or resource.protected or resource.stack in {_DEV, *allowed}:
        return
    yield Finding(
        resource,
        "protect: false",
        f"holds the data of the stack {resource.stack}; only the stack {_DEV}, and those that the policy's "
        f"{_ALLOWED} names, may leave it unprotected",
        "pulumi config set dataProtection true",
    )


RULES: Final = (
    ResourceRule(
        "data-is-protected",
        f"Data volumes, buckets and databases are protected on every stack but {_DEV}.",
        unprotected,
        config={
            _ALLOWED: {
                "type": "array",
                "items": {"type": "string"},
                "description": f"Stacks beside {_DEV} whose data may be deleted, such as the throw-away ones of CI.",
                "default": [],
            }
        },
    ),
)
