"""Labels, which the provider has as a set of pairs and the API as a map."""

from __future__ import annotations

from toolchain.plugins.schema import Field, objects, string
from toolchain.plugins.wire import Value


def labels_field(**options: Value) -> Field:
    """Describe a set of labels."""
    return objects(
        {"label": string(required=True, force_new=True), "value": string(required=True, force_new=True)},
        force_new=True,
        **options,
    )


def to_map(labels: list[dict[str, str]] | None) -> dict[str, str]:
    """Return the API's form."""
    return {each["label"]: each["value"] for each in labels or []}


def to_pairs(labels: dict[str, str] | None) -> list[dict[str, str]]:
    """Return the provider's form."""
    return [{"label": key, "value": value} for key, value in (labels or {}).items()]
