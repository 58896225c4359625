"""Restore a set into a stack of its own, which is taken away again: the proof that it can be restored.

The stack's name tells what it is. Its lock is held while it is in use; one that a kill left behind is
free, and is taken away by the next run.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import yaml

from toolchain import paths, store
from toolchain.backup import restoring, stores, underway
from toolchain.commands import destroy, init
from toolchain.docker_objects import Objects
from toolchain.errors import FailedError
from toolchain.say import say
from toolchain.session import PROJECT, Session, mend_state

if TYPE_CHECKING:
    from types import FrameType

    from components.front_door_client import FrontDoorClient

PREFIX: Final = "verify-"
_PORTS: Final = ("mlflowPort", "minioApiPort", "minioConsolePort", "postgresPort")

#: How a model is addressed that has no run.
_LOGGED: Final = "models:/"
_ARTIFACTS: Final = "mlflow-artifacts:/"


def verify(session: Session, found: restoring.Set) -> str:
    """Restore a set into a throw-away stack; return what a model of it is, empty where it has none.

    Raises:
        RefusedError: The version of MLflow that the user's stack is set to does not know its schema.
        FailedError: It can't be restored, or a model of it can't be read.
    """
    restoring.refuse_schema(session.stack, stores.settings(session), found)
    _sweep(session)
    with _throwaway(session, found) as made:
        restoring.into(made, found, overwrite=False)
        return _model(made, found)


def _model(session: Session, found: restoring.Set) -> str:
    """Read what describes the newest registered model, by the front door: its name, and what it can be loaded as.

    Raises:
        FailedError: It can't be read.
    """
    if not found.manifest["counts"]["models"]:
        return ""
    client = _front_door(session)
    try:
        api = "/api/2.0/mlflow"
        (version,) = json.loads(client.ask("GET", f"{api}/model-versions/search?max_results=1"))["model_versions"]
        source = str(version["source"])
        if source.startswith(_LOGGED):
            logged = json.loads(client.ask("GET", f"{api}/logged-models/{source.removeprefix(_LOGGED)}"))
            source = str(logged["model"]["info"]["artifact_uri"])
        if not source.startswith(_ARTIFACTS):
            return ""  # its clients have a key of their own to the bucket
        path = quote(f"{source.removeprefix(_ARTIFACTS).strip('/')}/MLmodel")
        described = yaml.safe_load(client.ask("GET", f"/api/2.0/mlflow-artifacts/artifacts/{path}"))
        return f"{version['name']} {version['version']} ({', '.join(described['flavors'])})"
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        wrong = f"the newest registered model can't be read back: {error}"
        raise FailedError("model", found.id, wrong, "make restore into a stack to look at") from error


def _front_door(session: Session) -> FrontDoorClient:
    from components.front_door import FrontDoor  # noqa: PLC0415 - slow to import
    from components.front_door_client import FrontDoorClient  # noqa: PLC0415
    from components.naming import Naming  # noqa: PLC0415

    chosen = stores.settings(session)
    admin = stores.in_use(Objects(session.name)).get("mlflowAdminPassword") if chosen.auth == "basic" else None
    return FrontDoorClient(FrontDoor(chosen, Naming(session.name)), admin)


@contextmanager
def _throwaway(session: Session, found: restoring.Set) -> Generator[Session]:
    """A stack that goes when the block is left, whatever ends it; what SIGKILL leaves, the next run takes away."""
    name = f"{PREFIX}{secrets.token_hex(3)}"
    made = Session(name, session.cli, session.plugins)
    lines = {key: str(port) for key, port in zip(_PORTS, _free_ports(len(_PORTS)), strict=True)}
    kept: dict[str, Any] = found.manifest["settings"]
    lines |= {
        "dataProtection": "false",
        "workers": "1",
        "auth": kept["auth"],
        "bucketName": found.manifest["bucket"],
        "databaseName": kept["databaseName"],
        **_versions(session),
    }
    with _lock(name), _ended_by_signals():
        text = "".join(f'  {PROJECT}:{key}: "{value}"\n' for key, value in lines.items())
        store.write(made.stack_file, f"config:\n{text}")
        try:
            init.initialise(made)
            yield made
        finally:
            _take_away(made)
            _lock_file(name).unlink(missing_ok=True)


def _versions(session: Session) -> dict[str, str]:
    """What the user's stack sets of versions and images: that with which it would take the set in."""
    from components.settings import Settings  # noqa: PLC0415 - slow to import

    keys = {str(field.alias) for name, field in Settings.model_fields.items() if name.endswith(("_image", "_version"))}
    config = session.config(secrets=False)
    return {key: str(config[key]["value"]) for key in sorted(keys & set(config)) if config[key].get("value")}


def _take_away(made: Session) -> None:
    say(f"  taking the stack {made.stack} away")
    if init.exists(made):
        destroy.run(made, yes=True)
        made.ask("stack", "rm", "--yes", "--force", "--stack", made.stack)
    made.stack_file.unlink(missing_ok=True)
    underway.Marker(made.name).remove()


def _sweep(session: Session) -> None:
    """Take away what earlier runs were killed on."""
    for path in paths.local_dir().glob(f"{PREFIX}*.lock"):
        made = Session(path.stem, session.cli, session.plugins)
        with path.open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            say(f"  an earlier make verify-backup was killed: its stack {made.stack} is taken away first")
            mend_state(made)
            _take_away(made)
            path.unlink(missing_ok=True)


@contextmanager
def _lock(name: str) -> Generator[None]:
    with store.lock(_lock_file(name)):
        yield


def _lock_file(name: str) -> Path:
    return paths.ensure_local_dir() / f"{name}.lock"


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """Take a request to end (`kill`, a closed terminal) like Ctrl-C: what is there is taken away first."""

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody has, outside of those that the kernel gives away by itself."""
    found: list[int] = []
    while len(found) < count:
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
