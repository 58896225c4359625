"""The gRPC service through which the engine runs a Python program or policy pack."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import queue
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

import grpc
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import LanguageRuntimeServicer, language_pb2, plugin_pb2
from pulumi.runtime.proto.language_pb2_grpc import add_LanguageRuntimeServicer_to_server

from toolchain.language import debugging, interpreter, program
from toolchain.stopping import Stopping

_ANALYZER: Final = "analyzer"


class LanguageHost(LanguageRuntimeServicer):
    """What the engine of Pulumi 3.259 asks of a language in order to deploy."""

    def __init__(self) -> None:
        """Make one that has no engine yet."""
        self._engine = ""
        self._debug = True
        self._ran = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()

    def serve(self, engine: str, *, debug: bool) -> None:
        """Take the engine's address, and whether it is told what a program says for debugging."""
        self._engine = engine
        self._debug = debug

    def Handshake(  # noqa: N802 - the protocol's name, as all below
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Learn where the engine is."""
        del context
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        """Tell the version, that of the SDK."""
        del request, context
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def GetRequiredPackages(  # noqa: N802
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """List the plugins that the engine may have to download."""
        python = self._python(request.info, context)
        packages = [
            plugin_pb2.PackageDependency(name=found.name, kind="resource", version=found.version, server=found.server)
            for found in interpreter.plugins(python)
        ]
        return language_pb2.GetRequiredPackagesResponse(packages=packages)

    def GetRequiredPlugins(  # noqa: N802
        self, request: language_pb2.GetRequiredPluginsRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPluginsResponse:
        """List the same for an older engine."""
        python = self._python(request.info, context)
        plugins = [
            plugin_pb2.PluginDependency(
                name=found.name, kind="resource", version=found.version and f"v{found.version}", server=found.server
            )
            for found in interpreter.plugins(python)
        ]
        return language_pb2.GetRequiredPluginsResponse(plugins=plugins)

    def GetProgramDependencies(  # noqa: N802
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """List the installed packages, for `pulumi about`."""
        python = self._python(request.info, context)
        found = [
            language_pb2.DependencyInfo(name=name, version=version)
            for name, version, _ in sorted(interpreter.distributions(python))
        ]
        return language_pb2.GetProgramDependenciesResponse(dependencies=found)

    def About(  # noqa: N802
        self, request: language_pb2.AboutRequest, context: grpc.ServicerContext
    ) -> language_pb2.AboutResponse:
        """Tell which Python this is."""
        del request, context
        return language_pb2.AboutResponse(executable=sys.executable, version=platform.python_version())

    def RuntimeOptionsPrompts(  # noqa: N802
        self, request: language_pb2.RuntimeOptionsRequest, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        """Ask nothing: a project's options stand in its file."""
        del request, context
        return language_pb2.RuntimeOptionsResponse()

    def InstallDependencies(  # noqa: N802
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Make a program's virtual environment and install its requirements, for `pulumi install`."""
        directory = Path(request.info.program_directory or request.directory)
        root = Path(request.info.root_directory or directory)
        for command in interpreter.installed_in(directory, root, _options(request.info)):
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=directory) as process:
                for line in process.stdout or ():
                    yield language_pb2.InstallDependenciesResponse(stdout=line)
            if process.returncode:
                context.abort(grpc.StatusCode.INTERNAL, f"{' '.join(command)} ended with {process.returncode}")

    def Run(  # noqa: N802
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        """Run a program: in this process when it is on the same Python and the first, else in one of its own."""
        python = self._python(request.info, context)
        if interpreter.is_this(python) and self._ran.acquire(blocking=False):
            return program.run(request, self._engine, debug=self._debug)
        return program.run_apart(python, request, self._engine, debug=self._debug)

    def RunPlugin(  # noqa: N802
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a plugin that is written in Python: a policy pack, or a provider with its source."""
        python = self._python(request.info, context)
        directory = request.info.program_directory or request.program
        if request.kind == _ANALYZER:
            command = [str(python), "-u", "-m", "pulumi.policy", *request.args, directory]
        else:
            command = [str(python), "-u", directory, *request.args]
        environment = dict(entry.split("=", 1) for entry in request.env) if request.env else None
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=request.pwd or directory,
        )
        self._children.add(process)
        context.add_callback(process.terminate)  # the engine has no more use for it
        try:
            yield from _output(process)
            yield language_pb2.RunPluginResponse(exitcode=process.wait())
        finally:
            self._children.discard(process)

    def Cancel(self, request: Empty, context: grpc.ServicerContext) -> Empty:  # noqa: N802
        """End what is being run for the engine; the program itself ends when the engine stops answering."""
        del request, context
        self.end_children()
        return Empty()

    def end_children(self) -> None:
        """End the processes that still run."""
        for process in list(self._children):
            process.terminate()

    @staticmethod
    def _python(info: language_pb2.ProgramInfo, context: grpc.ServicerContext) -> Path:
        try:
            return interpreter.of(Path(info.root_directory or "."), _options(info))
        except interpreter.MissingError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))


def _options(info: language_pb2.ProgramInfo) -> Mapping[str, object]:
    return json_format.MessageToDict(info.options)


def _output(process: subprocess.Popen[bytes]) -> Iterator[language_pb2.RunPluginResponse]:
    """Both output streams of a process, as they come, until both end."""
    chunks: queue.SimpleQueue[language_pb2.RunPluginResponse | None] = queue.SimpleQueue()

    def pump(stream: IO[bytes], name: str) -> None:
        while data := os.read(stream.fileno(), 65536):
            response = language_pb2.RunPluginResponse()
            setattr(response, name, data)
            chunks.put(response)
        chunks.put(None)

    streams = [(stream, name) for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")) if stream]
    for stream, name in streams:
        threading.Thread(target=pump, args=(stream, name), daemon=True).start()
    open_streams = len(streams)
    while open_streams:
        chunk = chunks.get()
        if chunk is None:
            open_streams -= 1
        else:
            yield chunk


def main(engine: int, serving: Callable[[], None] = lambda: None) -> None:
    """Serve until the engine says stop or is gone.

    Args:
        engine: Its process id.
        serving: Called before anybody is told the port; arguments, environment and streams are looked at afterwards.
    """
    host = LanguageHost()
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=program.MESSAGE_LIMITS)
    add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stopping = Stopping((signal.SIGINT, signal.SIGTERM))
    serving()
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    host.serve(arguments[-1] if arguments else "", debug=debugging.asked(engine))
    print(port, flush=True)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_until_alone, args=(stopping,), daemon=True).start()
    stopping.wait()
    host.end_children()
    sys.stdout.flush()
    sys.stderr.flush()
    os.closerange(0, 3)  # which the engine waits for, and by itself comes last, after all memory has been given back
    os._exit(0)  # threads of an unfinished program would keep the interpreter


def _until_alone(stopping: Stopping) -> None:
    """The engine holds the other end of stdin: its end, even by kill -9, is the host's."""
    while os.read(0, 1024):
        pass
    stopping.tell()
