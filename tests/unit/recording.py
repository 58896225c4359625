"""Runs the program under Pulumi's mocks and records what it registers: inputs and resource options."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime import stack as stack_runtime
from pulumi.runtime.sync_await import _sync_await  # pyright: ignore[reportPrivateUsage] - the SDK's own runner

from components.credentials import Credentials
from components.preflight import Checked
from components.settings import PROJECT, SECRETS, Settings, load
from components.stack import MlflowStack, MlflowStackArgs

os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "1"


@dataclass
class Registered:
    """One resource as the engine was asked for it."""

    type: str
    name: str
    inputs: dict[str, Any]
    request: Any
    secret_inputs: set[str] = field(default_factory=set[str])


class RecordingMonitor(mocks.MockMonitor):
    """A mock monitor that keeps every request: `MockResourceArgs` leaves the resource options out."""

    def __init__(self, answer: Callable[[mocks.MockResourceArgs], dict[str, Any]]) -> None:
        super().__init__(_Answers(answer))
        self.registered: dict[str, Registered] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        """Keep the request under its URN."""
        response: Any = super().RegisterResource(request)
        inputs: dict[str, Any] = rpc.deserialize_properties(request.object, keep_unknowns=True)
        secret = {
            key
            for key, value in request.object.fields.items()
            if rpc._special_secret_sig in str(value)  # pyright: ignore[reportPrivateUsage] - the wire form of a secret
        }
        plain = {key: rpc.unwrap_rpc_secret(value) for key, value in inputs.items()}
        self.registered[response.urn] = Registered(request.type, request.name, plain, request, secret)
        return response


class _Answers(mocks.Mocks):
    def __init__(self, answer: Callable[[mocks.MockResourceArgs], dict[str, Any]]) -> None:
        self._answer = answer

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        return f"{args.name}-id", {**args.inputs, **self._answer(args)}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"the program calls no function of a provider, but called {args.token}")


@dataclass
class Recorded:
    """What a run of the program registered and exported."""

    resources: dict[str, Registered]
    outputs: dict[str, Any]

    def of(self, type_: str, name: str) -> Registered:
        """The resource of a type and name."""
        found = [each for each in self.resources.values() if each.type == type_ and each.name == name]
        assert len(found) == 1, f"{len(found)} resources {type_} {name} among {sorted(self.resources)}"
        return found[0]

    def all(self, type_: str) -> dict[str, Registered]:
        """Every resource of a type, by name."""
        return {each.name: each for each in self.resources.values() if each.type == type_}


def dummy_secrets() -> dict[str, str]:
    """A valid value for each credential, told apart by its key."""
    return {secret.key: secret.generate() for secret in SECRETS}


def run_stack(
    changes: dict[str, str] | None = None,
    *,
    stack: str = "dev",
    attempt: str = "1",
    exit_code: int = 0,
    preview: bool = True,
) -> Recorded:
    """Run the program on the given settings, each run on an event loop of its own.

    Args:
        changes: Settings other than the defaults.
        stack: Name of the stack.
        attempt: Name of the migration's attempt.
        exit_code: What the migration job ends with.
        preview: Whether this is a dry run; otherwise the check of the stack runs, too.
    """
    secrets = dummy_secrets()
    checked: Settings = load({**secrets, **(changes or {})})

    def answer(args: mocks.MockResourceArgs) -> dict[str, Any]:
        if args.typ == "docker:index/container:Container" and args.name == "migration":
            return {"exitCode": exit_code, "containerLogs": "first line\nthe reason"}
        return {}

    asyncio.set_event_loop(asyncio.new_event_loop())
    monitor = RecordingMonitor(answer)
    settings.reset_options()
    pulumi.runtime.set_mocks(monitor.mocks, project=PROJECT, stack=stack, preview=preview, monitor=monitor)
    pulumi.runtime.set_all_config(
        {f"{PROJECT}:{key}": value for key, value in secrets.items()}, [f"{PROJECT}:{key}" for key in secrets]
    )
    outputs: dict[str, Any] = {}

    def program() -> None:
        args = MlflowStackArgs(stack, checked, Credentials.from_config(pulumi.Config(PROJECT)), Checked(attempt))
        outputs.update(MlflowStack("mlflow", args).outputs)

    state: Any = settings.SETTINGS
    state.rpc_manager.clear()
    state.outputs.clear()
    _sync_await(stack_runtime.run_pulumi_func(program))
    resolved = {key: _sync_await(pulumi.Output.from_input(value).future()) for key, value in outputs.items()}
    return Recorded(monitor.registered, resolved)
