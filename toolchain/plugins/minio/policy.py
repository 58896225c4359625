"""Policies, after terraform-provider-minio's resource_minio_iam_policy.go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.minio import names
from toolchain.plugins.minio.client import fatal
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, string
from toolchain.plugins.wire import Properties, Value, known

if TYPE_CHECKING:
    from toolchain.plugins.minio.client import Client


def _document(value: Value) -> str | None:
    if not value.startswith("{"):
        return '"policy" contains an invalid JSON policy'
    try:
        json.loads(value)
    except ValueError as error:
        return f'"policy" contains an invalid JSON: {error}'
    return None


def equivalent(old: Value, new: Value) -> bool:
    """Say whether two policy documents mean the same: order and single-element lists do not matter."""
    try:
        return _normal(json.loads(old)) == _normal(json.loads(new))
    except (ValueError, TypeError):
        return False


def _normal(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items() if item not in ("", [], None)}
    if isinstance(value, list):
        items = sorted((_normal(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        return items[0] if len(items) == 1 else items
    return value


class IamPolicy(Resource):
    """A policy."""

    fields: ClassVar[Fields] = {
        "policy": string(required=True, check=_document, suppress=equivalent),
        "name": string(computed=True, force_new=True, conflicts=("namePrefix",), autoname=True, check=names.policy),
        "namePrefix": string(force_new=True, conflicts=("name",), check=names.policy),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Add the policy."""
        prefix = planned["namePrefix"]
        name: str = known(planned["name"]) or (names.unique(prefix) if prefix else names.unique())
        self._add(name, planned["policy"], "unable to create policy")
        return name, self._found(name)

    def _add(self, name: str, document: str, what: str) -> None:
        try:
            self._client.admin.policy_add(name, policy=json.loads(document))
        except Exception as error:
            raise fatal(what, name, error) from error

    def _found(self, name: str) -> Properties:
        try:
            document = self._client.admin.policy_info(name)
        except Exception as error:
            raise fatal("unable to read policy", name, error) from error
        return {"name": name, "policy": document.strip()}

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:  # noqa: ARG002
        """Read the policy. As the vendor's, a missing one is an error."""
        return resource_id, self._found(resource_id)

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Replace the document."""
        del old
        self._add(resource_id, planned["policy"], "unable to update policy")
        return resource_id, self._found(resource_id)

    def delete(self, resource_id: str, state: Properties) -> None:  # noqa: ARG002
        """Remove the policy."""
        try:
            self._client.admin.policy_remove(resource_id)
        except Exception as error:
            raise fatal("unable to delete policy", resource_id, error) from error
