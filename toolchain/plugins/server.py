"""A provider plugin's gRPC server: what is the same for every resource of every provider."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty

from toolchain.plugins import settings, state
from toolchain.plugins.diff import differences
from toolchain.plugins.inputs import DEFAULTS, Checker, plain
from toolchain.plugins.plan import plan, shape, shown_in_preview
from toolchain.plugins.protocol import plugin_pb2, provider_pb2, provider_pb2_grpc
from toolchain.plugins.resource import EngineLog, Partial
from toolchain.plugins.status import half_made, reported
from toolchain.plugins.wire import UNKNOWN, Properties, decode, encode
from toolchain.stopping import Stopping, engine_is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from toolchain.plugins.resource import Provider, Resource

_MAX_MESSAGE: Final = 400 * 1024 * 1024  # bytes, the engine's own limit
_THREADS: Final = 32
_PARENT_WATCH: Final = 2.0  # seconds

_KINDS: Final = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def _token(urn: str) -> str:
    """Return the resource's own type: the third part of a URN ends with it, after its parents' types."""
    return urn.split("::")[2].rsplit("$", 1)[-1]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _top(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine for one provider."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    # -- the plugin itself

    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: ARG002, D102, N802
        return plugin_pb2.PluginInfo(version=self._provider.version)

    def Cancel(self, request: Empty, context: grpc.ServicerContext) -> Empty:  # noqa: ARG002, D102, N802
        return Empty()

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> Empty:  # noqa: ARG002, D102, N802
        self._provider.log = EngineLog(request.address)
        return Empty()

    def GetSchema(  # noqa: D102, N802
        self,
        request: provider_pb2.GetSchemaRequest,  # noqa: ARG002
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> provider_pb2.GetSchemaResponse:
        schema = {"name": self._provider.name, "version": self._provider.version}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    # -- the provider's own settings

    def CheckConfig(  # noqa: D102, N802
        self,
        request: provider_pb2.CheckRequest,
        context: grpc.ServicerContext,
    ) -> provider_pb2.CheckResponse:
        with reported(context):
            kept, wrong = settings.checked(self._provider.settings, decode(request.news))
        failures = [provider_pb2.CheckFailure(reason=reason) for reason in wrong]
        return provider_pb2.CheckResponse(inputs=None if failures else encode(kept), failures=failures)

    def DiffConfig(  # noqa: D102, N802
        self,
        request: provider_pb2.DiffRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> provider_pb2.DiffResponse:
        found = settings.changes(decode(request.old_inputs) or decode(request.olds), decode(request.news))
        if not found:
            return provider_pb2.DiffResponse()
        detailed = {
            key: provider_pb2.PropertyDiff(kind=_KINDS[change, False], inputDiff=True) for key, change in found.items()
        }
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME,
            diffs=list(found),
            detailedDiff=detailed,
        )

    def Configure(  # noqa: D102, N802
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        with reported(context):
            self._provider.configure(settings.unfolded(self._provider.settings, decode(request.args)))
        # Secrets are not accepted, as by the vendor's: the engine sends plain values and marks the answers itself.
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    # -- resources

    def Check(  # noqa: D102, N802
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        native = self._provider.natives.get(_token(request.urn))
        if native is not None:
            with reported(context):
                return native.check(request, self._provider.log)
        resource = self._resource(request.urn, context)
        proposed = request.autonaming.proposed_name if request.HasField("autonaming") else ""
        checker = Checker(_name(request.urn), request.randomSeed, proposed)
        kept = checker.check(resource.fields, decode(request.olds), decode(request.news))
        failures = [provider_pb2.CheckFailure(reason=reason) for reason in checker.refused]
        return provider_pb2.CheckResponse(inputs=encode(kept), failures=failures)

    def Diff(  # noqa: D102, N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        native = self._provider.natives.get(_token(request.urn))
        if native is not None:
            with reported(context):
                return native.diff(request)
        resource = self._resource(request.urn, context)
        prior, news = _kept(resource, decode(request.olds)), decode(request.news)
        inputs = _ignoring(plain(news), prior, request.ignoreChanges)
        found = differences(resource.fields, prior, plan(resource.fields, prior, inputs), inputs)
        replaces = sorted(_top(key) for key, (_, replace) in found.items() if replace)
        # A name that the program gave is taken until the old one is gone.
        named = DEFAULTS in news and any(
            item.autoname and key in news and key not in news[DEFAULTS] for key, item in resource.fields.items()
        )
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=replaces,
            stables=sorted(key for key, item in resource.fields.items() if item.force_new and key not in replaces),
            deleteBeforeReplace=bool(replaces) and (resource.delete_before_replace or named),
            diffs=sorted({_top(key) for key in found}),
            detailedDiff={key: provider_pb2.PropertyDiff(kind=_KINDS[change]) for key, change in found.items()},
            hasDetailedDiff=True,
        )

    def Create(  # noqa: D102, N802
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        native = self._provider.natives.get(_token(request.urn))
        if native is not None:
            with reported(context):
                return native.create(request, self._provider.log)
        resource = self._resource(request.urn, context)
        planned = plan(resource.fields, None, plain(decode(request.properties)))
        if request.preview:
            sent = {**_outputs(resource, "", shown_in_preview(resource.fields, planned)), "id": UNKNOWN}
            return provider_pb2.CreateResponse(properties=encode(sent))
        with reported(context, "creating", request.urn):
            try:
                resource_id, found = resource.create(planned)
            except Partial as half:
                raise self._half(resource, half, planned, "creating", request.urn) from half
        sent = _outputs(resource, resource_id, state.applied(resource.fields, planned, found))
        return provider_pb2.CreateResponse(id=resource_id, properties=encode(sent))

    def Read(  # noqa: D102, N802
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        if _token(request.urn) in self._provider.natives:
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        resource = self._resource(request.urn, context)
        olds = decode(request.properties)
        with reported(context, "refreshing", request.urn):
            resource_id, prior = (request.id, _kept(resource, olds)) if olds else resource.imported(request.id)
            result = resource.read(resource_id, prior)
        if result is None:
            return provider_pb2.ReadResponse()
        resource_id, found = result
        now = state.refreshed(resource.fields, prior, found)
        inputs = (
            state.inputs_after_refresh(resource.fields, decode(request.inputs), now)
            if olds
            else state.inputs_of_import(resource.fields, now)
        )
        sent = _outputs(resource, resource_id, now)
        return provider_pb2.ReadResponse(id=resource_id, properties=encode(sent), inputs=encode(inputs))

    def Update(  # noqa: D102, N802
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        native = self._provider.natives.get(_token(request.urn))
        if native is not None:
            with reported(context):
                return native.update(request, self._provider.log)
        resource = self._resource(request.urn, context)
        prior = _kept(resource, decode(request.olds))
        inputs = _ignoring(plain(decode(request.news)), prior, request.ignoreChanges)
        planned = plan(resource.fields, prior, inputs)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=encode(_outputs(resource, request.id, planned)))
        with reported(context, "updating", request.urn):
            try:
                resource_id, found = resource.update(request.id, prior, planned)
            except Partial as half:
                raise self._half(resource, half, planned, "updating", request.urn) from half
        sent = _outputs(resource, resource_id, state.applied(resource.fields, planned, found))
        return provider_pb2.UpdateResponse(properties=encode(sent))

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> Empty:  # noqa: D102, N802
        if _token(request.urn) not in self._provider.natives:
            resource = self._resource(request.urn, context)
            with reported(context, "deleting", request.urn):
                resource.delete(request.id, _kept(resource, decode(request.properties)))
        return Empty()

    # -- helpers

    def _resource(self, urn: str, context: grpc.ServicerContext) -> Resource:
        resource = self._provider.resources.get(_token(urn))
        return resource if resource is not None else self._refuse(urn, context)

    def _refuse(self, urn: str, context: grpc.ServicerContext) -> NoReturn:
        name = self._provider.name
        known = ", ".join(sorted({*self._provider.resources, *self._provider.natives}))
        context.abort(
            grpc.StatusCode.UNKNOWN,
            f"unrecognized resource type {_token(urn)}: the {name} plugin made from packages has {known}",
        )

    @staticmethod
    def _half(resource: Resource, half: Partial, planned: Properties, verb: str, urn: str) -> Exception:
        kept = state.applied(resource.fields, planned, half.known)
        return half_made(half, _outputs(resource, half.resource_id, kept), verb, urn)


def _outputs(resource: Resource, resource_id: str, kept: Properties) -> Properties:
    meta = {} if resource.meta is None else {"__meta": resource.meta}
    return {**state.outputs(resource.fields, resource_id, kept), **meta}


def _kept(resource: Resource, properties: Properties) -> Properties:
    """Return a state from the engine in the form that plans have."""
    kept: Properties = {}
    for key, item in resource.fields.items():
        value = plain(properties.get(key))
        if value is None and item.is_block and not item.max_one:
            value = []
        kept[key] = shape(item, value) if item.fields is not None else value
    return kept


def _ignoring(inputs: Properties, prior: Properties, paths: Iterable[str]) -> Properties:
    """Put the old value in place of what the program told the engine to ignore (whole properties)."""
    for key in map(_top, paths):
        if prior.get(key) is not None:
            inputs[key] = prior[key]
        else:
            inputs.pop(key, None)
    return inputs


def serve(provider: Provider, serving: Callable[[], None] = lambda: None) -> None:
    """Serve until the engine ends us, or is gone itself: print the port, then wait.

    Args:
        provider: What is served.
        serving: Called before anybody is told the port; arguments, environment and streams are looked at afterwards.
    """
    # The engine's way to end a plugin; it keeps the terminal's Ctrl-C away from us. A shell starts what it runs in the
    # background, and so all below it, with SIGINT ignored: it is taken over in any case.
    stopping = Stopping((signal.SIGINT,))
    parent = os.getppid()
    server = grpc.server(
        ThreadPoolExecutor(max_workers=_THREADS),
        options=(
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ("grpc.max_send_message_length", _MAX_MESSAGE),
            ("grpc.so_reuseport", 0),
        ),
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    serving()
    provider.log = EngineLog(next((argument for argument in sys.argv[1:] if not argument.startswith("-")), ""))
    print(port, flush=True)
    while not engine_is_gone() and os.getppid() == parent and not stopping.wait(_PARENT_WATCH):
        pass
    # At once: what is still under way nobody waits for any more. The engine waits for the end of the streams, which
    # comes last by itself, after all memory has been given back.
    os.closerange(0, 3)
    os._exit(0)
