"""What a provider and its resources are to the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import grpc

from toolchain.plugins.protocol import engine_pb2, engine_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolchain.plugins.protocol import provider_pb2
    from toolchain.plugins.schema import Fields
    from toolchain.plugins.wire import Properties


class Partial(Exception):  # noqa: N818 (not an error by itself: a thing that exists, half made)
    """A create or update that failed after the thing existed.

    What is known of it goes into the state, so that the next run finds it.
    """

    def __init__(self, resource_id: str, reason: str, known: Properties | None = None) -> None:
        super().__init__(reason)
        self.resource_id = resource_id
        self.reason = reason
        self.known: Properties = known or {}


class Resource(ABC):
    """One kind of resource. States are plain dicts by property name.

    What `create`, `read` and `update` return as known of a resource are the properties that the server tells; the
    others stay as planned, or as they were.

    Attributes:
        fields: Its properties.
        delete_before_replace: Whether the old one must go before the new one can be.
        meta: What the vendor's bridge keeps beside the state: schema version and time limits.
    """

    fields: ClassVar[Fields]
    delete_before_replace: ClassVar[bool] = False
    meta: ClassVar[str | None] = None

    @abstractmethod
    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Make it; return its id and what is now known of it."""

    @abstractmethod
    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Return its id and what is known of it, None when it is gone."""

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:  # noqa: ARG002
        """Change it in place. This one has nothing to do: every input replaces, or only stays in the state."""
        return resource_id, planned

    @abstractmethod
    def delete(self, resource_id: str, state: Properties) -> None:
        """Take it away; well also when it is gone already."""

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Return the id and what the id alone tells, for an import.

        Raises:
            RuntimeError: the id is not of the expected form, or this kind cannot be imported.
        """
        return resource_id, {}


class Native(Protocol):
    """A resource that answers the engine itself, because the vendor's stands outside its bridge."""

    def check(self, request: provider_pb2.CheckRequest, log: EngineLog) -> provider_pb2.CheckResponse:
        """Answer Check."""
        ...

    def diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        """Answer Diff."""
        ...

    def create(self, request: provider_pb2.CreateRequest, log: EngineLog) -> provider_pb2.CreateResponse:
        """Answer Create."""
        ...

    def update(self, request: provider_pb2.UpdateRequest, log: EngineLog) -> provider_pb2.UpdateResponse:
        """Answer Update."""
        ...


class EngineLog:
    """Messages to the engine, for the person at the terminal."""

    def __init__(self, address: str = "") -> None:
        self._address = address
        self._stub: engine_pb2_grpc.EngineStub | None = None

    def say(self, urn: str, text: str, *, passing: bool = True) -> None:
        """Show a message beside a resource; a passing one only while the resource is worked on."""
        if not self._address:
            return
        if self._stub is None:
            # Connected at the first message: most runs have none.
            self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(self._address))
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, urn=urn, ephemeral=passing)
        try:
            self._stub.Log(request, timeout=5)
        except grpc.RpcError:
            # A message that is not shown is no reason to fail.
            return


@dataclass
class Provider:
    """One provider.

    Attributes:
        name: Of the package.
        version: Of the vendor's plugin that this one stands in for.
        settings: The provider's own settings.
        configure: Takes the settings; raises what is wrong with them.
        resources: By token.
        natives: By token.
        log: To the engine.
    """

    name: str
    version: str
    settings: Fields
    configure: Callable[[Properties], None]
    resources: dict[str, Resource]
    natives: dict[str, Native] = field(default_factory=dict[str, Native])
    log: EngineLog = field(default_factory=EngineLog)
