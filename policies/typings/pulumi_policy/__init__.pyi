# What rules/crossguard.py uses of pulumi-policy, which the environment of the tests does not have.

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

class EnforcementLevel(Enum):
    MANDATORY = "mandatory"
    REMEDIATE = "remediate"

class PolicyConfigSchema:
    def __init__(self, properties: dict[str, dict[str, Any]], required: list[str] | None = ...) -> None: ...

class PolicyResourceOptions:
    protect: bool

class Secret:
    value: Any

class ResourceValidationArgs:
    resource_type: str
    props: Mapping[str, Any]
    urn: str
    name: str
    opts: PolicyResourceOptions
    def get_config(self) -> Mapping[str, Any]: ...

class PolicyResource:
    resource_type: str
    props: Mapping[str, Any]
    urn: str
    name: str
    opts: PolicyResourceOptions

class StackValidationArgs:
    resources: list[PolicyResource]

ReportViolation: TypeAlias = Callable[..., None]

class Policy: ...

class ResourceValidationPolicy(Policy):
    def __init__(
        self,
        name: str,
        description: str,
        validate: Callable[[ResourceValidationArgs, ReportViolation], None],
        enforcement_level: EnforcementLevel | None = ...,
        config_schema: PolicyConfigSchema | None = ...,
        remediate: Callable[[ResourceValidationArgs], None] | None = ...,
    ) -> None: ...

class StackValidationPolicy(Policy):
    def __init__(
        self,
        name: str,
        description: str,
        validate: Callable[[StackValidationArgs, ReportViolation], None],
        enforcement_level: EnforcementLevel | None = ...,
    ) -> None: ...

class PolicyPack:
    def __init__(self, name: str, policies: list[Policy], enforcement_level: EnforcementLevel | None = ...) -> None: ...
