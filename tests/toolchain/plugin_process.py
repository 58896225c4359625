"""A provider plugin as the engine runs it: its own process, spoken to over gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from toolchain.paths import PLUGINS_BIN
from toolchain.plugins.wire import SECRET, SIGNATURE, decode, encode

Properties = dict[str, Any]

#: Seconds for the port to appear, and for one request.
_LIMIT = 300


class PluginError(Exception):
    """A request that failed.

    Attributes:
        text: What the plugin said.
        half: The half-made resource that the engine is to keep, if there is one: its id and properties.
    """

    def __init__(self, error: grpc.RpcError) -> None:
        self.text = str(error.details())  # pyright: ignore[reportAttributeAccessIssue]
        self.half: tuple[str, Properties] | None = None
        # The stub says that one entry is no pair; it is a named tuple of two.
        metadata: list[Any] = list(error.trailing_metadata() or ())  # pyright: ignore[reportAttributeAccessIssue]
        for key, value in metadata:
            if key == "grpc-status-details-bin":
                status = status_pb2.Status.FromString(value)
                detail = provider_pb2.ErrorResourceInitFailed()
                status.details[0].Unpack(detail)
                self.half = (detail.id, decode(detail.properties))
        super().__init__(self.text)


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that a plugin has made.

    Attributes:
        token: Its type.
        id: Its id.
        inputs: As checked.
        outputs: Its properties.
        secrets: Names of the properties that were marked secret.
    """

    token: str
    id: str
    inputs: Properties
    outputs: Properties
    secrets: frozenset[str]


class Plugin:
    """Speaks to one plugin."""

    def __init__(self, stub: provider_pb2_grpc.ResourceProviderStub, process: subprocess.Popen[str]) -> None:
        self.stub = stub
        self.process = process

    @property
    def version(self) -> str:
        """What it says it is."""
        return self.stub.GetPluginInfo(Empty(), timeout=_LIMIT).version

    def configure(self, **settings: str) -> None:
        """Give it its settings."""
        self._call("Configure", provider_pb2.ConfigureRequest(args=encode(settings), acceptSecrets=True))

    def check(self, token: str, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> Properties:
        """Checked inputs; what is refused is an assertion."""
        inputs, failures = self.checked(token, news, olds)
        assert failures == []
        return inputs

    def checked(
        self, token: str, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None
    ) -> tuple[Properties, list[str]]:
        """Checked inputs, and what is refused."""
        request = provider_pb2.CheckRequest(
            urn=_urn(token), olds=encode(olds or {}), news=encode(news), randomSeed=b"seed"
        )
        answer = self._call("Check", request)
        return decode(answer.inputs), [each.reason for each in answer.failures]

    def create(self, token: str, news: Mapping[str, Any], *, preview: bool = False) -> Made:
        """Check and create."""
        inputs = self.check(token, news)
        request = provider_pb2.CreateRequest(urn=_urn(token), properties=encode(inputs), preview=preview)
        answer = self._call("Create", request)
        return Made(token, answer.id, inputs, decode(answer.properties), _secrets(answer.properties))

    def diff(self, made: Made, news: Mapping[str, Any]) -> dict[str, str]:
        """Changed path → kind of change, for new inputs."""
        return {
            path: provider_pb2.PropertyDiff.Kind.Name(each.kind)
            for path, each in self.full_diff(made, news).detailedDiff.items()
        }

    def full_diff(self, made: Made, news: Mapping[str, Any]) -> provider_pb2.DiffResponse:
        """The whole answer to new inputs."""
        inputs = self.check(made.token, news, made.inputs)
        return self._call(
            "Diff",
            provider_pb2.DiffRequest(
                id=made.id,
                urn=_urn(made.token),
                olds=encode(made.outputs),
                news=encode(inputs),
                old_inputs=encode(made.inputs),
            ),
        )

    def update(self, made: Made, news: Mapping[str, Any]) -> Made:
        """Check and update."""
        inputs = self.check(made.token, news, made.inputs)
        answer = self._call(
            "Update",
            provider_pb2.UpdateRequest(
                id=made.id, urn=_urn(made.token), olds=encode(made.outputs), news=encode(inputs)
            ),
        )
        return Made(made.token, made.id, inputs, decode(answer.properties), _secrets(answer.properties))

    def read(self, made: Made) -> Made | None:
        """Refresh; None when it is gone."""
        request = provider_pb2.ReadRequest(
            id=made.id, urn=_urn(made.token), properties=encode(made.outputs), inputs=encode(made.inputs)
        )
        return self._read(made.token, request)

    def find(self, token: str, resource_id: str) -> Made | None:
        """Import; None when it is not there."""
        return self._read(token, provider_pb2.ReadRequest(id=resource_id, urn=_urn(token)))

    def _read(self, token: str, request: provider_pb2.ReadRequest) -> Made | None:
        answer = self._call("Read", request)
        if not answer.id:
            return None
        inputs, outputs = decode(answer.inputs), decode(answer.properties)
        return Made(token, answer.id, inputs, outputs, _secrets(answer.properties))

    def delete(self, made: Made) -> None:
        """Take it away."""
        request = provider_pb2.DeleteRequest(id=made.id, urn=_urn(made.token), properties=encode(made.outputs))
        self._call("Delete", request)

    def _call(self, method: str, request: object) -> Any:
        try:
            return getattr(self.stub, method)(request, timeout=_LIMIT)
        except grpc.RpcError as error:
            raise PluginError(error) from None


def _urn(token: str) -> str:
    return f"urn:pulumi:test::project::{token}::r"


def _secrets(struct: Any) -> frozenset[str]:
    return frozenset(
        key for key, value in struct.fields.items() if value.struct_value.fields[SIGNATURE].string_value == SECRET
    )


@contextmanager
def started(name: str, launcher: Path | None = None, cwd: Path | None = None) -> Generator[Plugin]:
    """Run a plugin of this checkout, by its launcher."""
    environment = {**os.environ, "MLFLOW_STACK_PYTHON": sys.executable}
    process = subprocess.Popen(
        [launcher or PLUGINS_BIN / f"pulumi-resource-{name}", "127.0.0.1:1"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdigit(), f"the plugin's first line is its port, not {port!r}"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Plugin(provider_pb2_grpc.ResourceProviderStub(channel), process)
    finally:
        process.kill()
        process.wait()
