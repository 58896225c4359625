"""What a deployment did, from the engine's own event log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_MEND: Final = ". mend: "

#: What Pulumi does to a resource without touching anything outside of its state.
_HARMLESS: Final = {"same", "read", "read-replacement", "refresh", "read-discard", "discard-replaced"}

#: How the engine calls a policy whose violation ends a run.
_MANDATORY: Final = "mandatory"

_STACK: Final = "pulumi:pulumi:Stack"


@dataclass
class Outcome:
    """What a run of the engine did.

    Attributes:
        touched: Whether it began to change anything outside of the state.
        errors: Its error messages, each as the program, a provider or a policy gave it.
        not_created: What could not be created, in the form in which a state has it, secrets hidden.
        interrupted: Whether somebody asked it to end before it had; the log does not tell.
    """

    touched: bool = False
    errors: list[str] = field(default_factory=list[str])
    not_created: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    interrupted: bool = False

    @property
    def mends(self) -> list[str]:
        """The lines among the errors that name what mends them."""
        return [line for message in self.errors for line in message.splitlines() if _MEND in line]

    @property
    def was_refused(self) -> bool:
        """Whether the program declined before anything was touched."""
        return not self.touched and bool(self.mends)


def read(path: Path) -> Outcome:
    """Read an event log, whole or cut short."""
    outcome = Outcome()
    for event in _events(path):
        if "diagnosticEvent" in event and event["diagnosticEvent"].get("severity") == "error":
            outcome.errors.append(str(event["diagnosticEvent"].get("message", "")).strip())
        if "policyEvent" in event and event["policyEvent"].get("enforcementLevel") == _MANDATORY:
            outcome.errors.append(str(event["policyEvent"].get("message", "")).strip())
        failed: dict[str, Any] = event.get("resOpFailedEvent", {}).get("metadata", {})
        if failed.get("op") == "create":
            outcome.not_created.append(_entry(failed))
        before: dict[str, Any] = event.get("resourcePreEvent", {})
        # A preview tells each operation, too, as one that is only planned.
        metadata: dict[str, Any] = {} if before.get("planning") else before.get("metadata", {})
        component = not (metadata.get("new") or metadata.get("old") or {}).get("custom", True)
        if metadata and metadata.get("op") not in _HARMLESS and metadata.get("type") != _STACK and not component:
            outcome.touched = True
    return outcome


def _entry(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was to be created, as a state would have it."""
    new: dict[str, Any] = metadata.get("new") or {}
    kept = ("urn", "type", "parent", "protect", "inputs")
    return {"custom": True, "provider": metadata.get("provider", ""), **{key: new[key] for key in kept if key in new}}


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
