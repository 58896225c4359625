"""Run one Pulumi program to its end, in this process or in one of its own."""

from __future__ import annotations

import asyncio
import gc
import linecache
import logging
import os
import runpy
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import grpc
import pulumi
import pulumi.runtime
from pulumi.runtime import stack as sdk_stack
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, language_pb2
from pulumi.runtime.settings import SETTINGS

#: First argument of a process that runs a single program for a host on another interpreter.
ALONE: Final = "--alone"

#: The engine's own limit on a message, in bytes: state with many resources goes over gRPC's default of 4 MiB.
_LIMIT: Final = 1024 * 1024 * 400
MESSAGE_LIMITS: Final = (("grpc.max_receive_message_length", _LIMIT), ("grpc.max_send_message_length", _LIMIT))

_WORKERS_PER_OPERATION: Final = 4

_sdk_wait_for_rpcs: Final = sdk_stack.wait_for_rpcs

#: New objects between two collections: Python's own 700 suits processes that live longer than a program does.
_GARBAGE: Final = 50_000


def run(request: language_pb2.RunRequest, engine: str, *, debug: bool) -> language_pb2.RunResponse:
    """Run a program in this process, which must not have run one before: modules and globals stay.

    Args:
        request: The engine's request.
        engine: The engine's address, for messages.
        debug: Whether it is told those for debugging, too.

    Returns:
        `bail` when the program failed and its user has been told why.
    """
    directory = Path(request.info.program_directory or request.pwd)
    program = directory / (request.info.entry_point or request.program or ".")
    pulumi.runtime.set_all_config(dict(request.config), list(request.configSecretKeys))
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=request.project,
            stack=request.stack,
            monitor=request.monitor_address,
            engine=_Engine(engine, debug=debug),
            parallel=request.parallel,
            dry_run=request.dryRun,
            organization=request.organization,
            root_directory=request.info.root_directory,
        )
    )
    sys.argv = [str(program), *request.args]
    os.chdir(request.pwd or directory)
    # The SDK tells the engine where in the program each resource is declared, and has every file of the way looked at
    # each time, whether it has changed; and one that is none is looked for anew.
    linecache.checkcache = lambda *_: None
    linecache.cache["<frozen runpy>"] = (0, None, [], "<frozen runpy>")
    sdk_stack.wait_for_rpcs = _wait_for_rpcs
    # Unobserved futures are normal at the end of a failed program; asyncio would complain about each.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    failed = _run_to_the_end(program, max(request.parallel, 1) * _WORKERS_PER_OPERATION)
    sys.stdout.flush()
    sys.stderr.flush()
    return language_pb2.RunResponse(bail=failed)


class _Engine:
    """The engine, which is told something for debugging where somebody reads it.

    The SDK logs several such messages about each resource, one after the other, and waits for the answer to each.
    """

    def __init__(self, address: str, *, debug: bool) -> None:
        self._debug = debug
        channel = grpc.insecure_channel(address, options=MESSAGE_LIMITS)
        self._stub: Any = engine_pb2_grpc.EngineStub(channel)  # generated code without types

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - see above
        return getattr(self._stub, name)

    def Log(self, request: engine_pb2.LogRequest) -> object:  # noqa: N802 - the protocol's name
        """Hand a message on."""
        return self._stub.Log(request) if self._debug or request.severity != engine_pb2.DEBUG else None


def _outstanding() -> list[asyncio.Task[Any]]:
    settings: Any = SETTINGS  # whose attributes are descriptors that pyright can't follow
    with settings.lock:
        return list(settings.outputs)


async def _wait_for_rpcs(await_all_outstanding_tasks: bool = True) -> None:
    """Wait for a program's outputs all at once, and then as the SDK does.

    By itself it waits for any of them, and begins again for each that comes: some hundred times a few hundred.
    """
    while await_all_outstanding_tasks and (pending := _outstanding()):
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        if any(task.cancelled() or task.exception() is not None for task in done):
            break  # which it raises, with what it knows of the reason
    await _sdk_wait_for_rpcs(await_all_outstanding_tasks)


def _run_to_the_end(program: Path, workers: int) -> bool:
    """Run a program's main module and wait for its resources; tell whether it failed."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=workers)
    loop.set_default_executor(executor)
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    gc.enable()

    def main() -> None:
        runpy.run_path(str(program), run_name="__main__")

    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(main))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
    except grpc.RpcError as error:
        # An engine that is shutting down has said why; nobody is left to talk to.
        if error.code() != grpc.StatusCode.UNAVAILABLE:  # pyright: ignore[reportAttributeAccessIssue]
            pulumi.log.error(_unhandled(program, error))
    except SystemExit as error:
        if not error.code:
            return False
        pulumi.log.error(f"Program exited with code {error.code}")
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is its user's to read
        pulumi.log.error(_unhandled(program, error))
    else:
        return False
    finally:
        executor.shutdown(wait=True)
        loop.close()
    return True


def _unhandled(program: Path, error: BaseException) -> str:
    """The traceback from the program's own first line on: what runs it is of no interest to its author."""
    folder = str(program.resolve())
    frames = error.__traceback__
    while frames is not None and not _within(frames, folder):
        frames = frames.tb_next
    shown = traceback.format_exception(type(error), error, frames or error.__traceback__)
    return "Program failed with an unhandled exception:\n" + "".join(shown)


def _within(frame: TracebackType, folder: str) -> bool:
    name = frame.tb_frame.f_code.co_filename
    return not name.startswith("<") and str(Path(name).resolve()).startswith(folder)


def run_apart(python: Path, request: language_pb2.RunRequest, engine: str, *, debug: bool) -> language_pb2.RunResponse:
    """Run a program in a process of its own, on its own interpreter.

    The request holds the stack's secrets in plain text, so it goes through a pipe: arguments and environment can be
    read by others.
    """
    reader, writer = os.pipe()
    program = str(Path(__file__).with_name("__main__.py"))
    command = [str(python), "-u", program, ALONE, engine, str(writer), *(["--debug"] if debug else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[writer]) as process:
        os.close(writer)
        if process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(request.SerializeToString())
        with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
            data = answer.read()
    if process.returncode == 0:
        return language_pb2.RunResponse.FromString(data)
    return language_pb2.RunResponse(error=f"{python} ended with exit code {process.returncode}")


def main() -> int:
    """Run the program whose request comes on stdin; for `run_apart`."""
    engine, writer = sys.argv[2], int(sys.argv[3])
    request = language_pb2.RunRequest.FromString(sys.stdin.buffer.read())
    response = run(request, engine, debug="--debug" in sys.argv)
    with open(writer, "wb") as answer:
        answer.write(response.SerializeToString())
    return 0
