"""`doctor`: what is wrong with this machine or stack, and the line that mends it. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from toolchain import (
    contents,
    deployment,
    engine,
    environment,
    locks,
    missing,
    paths,
    providers,
    pulumi_cli,
    room,
    stack_file,
)
from toolchain.backup import status as backup_status
from toolchain.commands import init
from toolchain.docker_objects import Objects, health, holds_files, is_well, role
from toolchain.errors import DONE, FAILED, ToolchainError
from toolchain.session import PROJECT, Session, check_name, half_written

_LAST_LINES: Final = 3


def run(stack: str) -> int:
    """Run the command; its exit code is 1 when something is wrong."""
    problems = 0
    for check in _checks(stack):
        try:
            for finding in check():
                print(finding, flush=True)
                problems += not finding.startswith("ok: ")
        except ToolchainError as error:
            print(error, flush=True)
            problems += 1
    print("nothing is wrong" if not problems else f"{problems} problem(s)")
    return FAILED if problems else DONE


Check = Callable[[], Iterator[str]]


def _checks(stack: str) -> Iterator[Check]:
    yield lambda: _name(stack)
    yield _engine
    yield _tools
    yield _images
    cli, plugins = pulumi_cli.present(), providers.chosen()
    if cli is None or plugins is None:
        return
    session = Session(stack, cli, plugins)
    yield lambda: _credentials(session)
    if cut_off := half_written(session):
        lines = [
            f"state: {path.name}: was left half written by a killed run. mend: make up STACK={stack}"
            for path in cut_off
        ]
        yield lambda: iter(lines)
        return
    if not init.exists(session):
        yield lambda: iter([f"stack {stack}: not made yet: there is nothing to look at. mend: make up STACK={stack}"])
        return
    yield lambda: _state(session)
    if engine.problem() is None:
        yield lambda: _containers(session)
        yield lambda: _backups(session)
        yield lambda: _settings(session)


def _name(stack: str) -> Iterator[str]:
    check_name(stack)
    yield from ()


def _engine() -> Iterator[str]:
    answer = engine.require()
    yield f"ok: Docker engine {answer.version} at {engine.endpoint()}"


def _tools() -> Iterator[str]:
    cli = pulumi_cli.present()
    if cli is None:
        yield "Pulumi CLI: missing: none that this project can use is installed. mend: make up, which gets one"
    else:
        yield f"ok: {cli.why}"
    plugins = providers.chosen()
    if plugins is None:
        yield "Provider plugins: not chosen yet: make up decides. mend: make up"
    else:
        yield f"ok: {plugins.why}"


def _images() -> Iterator[str]:
    from toolchain.images import recorded  # noqa: PLC0415 - imports a Docker client

    sources = recorded()
    if sources is None:
        yield "images: not chosen yet: make up decides. mend: make up"
    else:
        yield f"ok: images: {sources.source}: {sources.why}"


def _credentials(session: Session) -> Iterator[str]:
    from components.settings import SECRET_KEYS  # noqa: PLC0415 - slow to import

    content = stack_file.read(session.stack_file)
    name = session.stack_file.name
    if "encryptionsalt" in content and not environment.brings_passphrase() and not paths.passphrase_file().exists():
        yield (
            f"passphrase: {paths.passphrase_file()}: is missing, and the secrets in {name} are encrypted with it. "
            "mend: put the file back, or export PULUMI_CONFIG_PASSPHRASE"
        )
        return
    config: dict[str, Any] = content.get("config") or {}
    missing = [key for key in SECRET_KEYS if not config.get(f"{PROJECT}:{key}")]
    for key in missing:
        yield f"{key}: (not set): this credential is missing. mend: make init STACK={session.stack}"
    for key in SECRET_KEYS:
        value = config.get(f"{PROJECT}:{key}")
        if value and not (isinstance(value, dict) and "secure" in value):
            yield f"{key}: (hidden): stands in {name} in plain text. mend: pulumi config set --secret {key}"
    if not missing:
        yield f"ok: all {len(SECRET_KEYS)} credentials are set in {name}"


def _state(session: Session) -> Iterator[str]:
    for lock in locks.of(session):
        how = "whose process is gone" if lock.is_stale else "another command works on the stack"
        mend = f"make up STACK={session.stack}" if lock.is_stale else "wait for it to end"
        yield f"lock: process {lock.pid} on {lock.host} since {lock.since}: {how}. mend: {mend}"
    state = deployment.load(session)
    for operation in state.pending:
        what = f"{operation.resource.type} {operation.resource.name}".strip()
        yield f"state: {what}: was interrupted while {operation.kind}. mend: make up STACK={session.stack}"
    yield f"ok: state: {len(state.resources)} resources"


def _containers(session: Session) -> Iterator[str]:
    objects = Objects(session.name)
    state = deployment.load(session)
    mend = f"make up STACK={session.stack}"
    gone = missing.find(state, objects)
    lost = missing.with_data(gone, session)
    for resource in gone:
        kind = resource.type.rpartition(":")[2].lower()
        way = missing.way_on(resource, session) if resource in lost else mend
        with_it = ", with what was in it" if resource in lost else ""
        yield f"{kind}: {resource.name}: is gone from the Docker host{with_it}. mend: {way}"
    for container in objects.containers:
        if is_well(container):
            yield from () if holds_files(container) else (f"ok: {role(container)}: {health(container)}",)
            continue
        said = container.logs(tail=_LAST_LINES).decode(errors="replace").strip().replace("\n", " | ")
        look = f"make logs ROLE={role(container)} STACK={session.stack}"
        words = f"its last words: {said or '(none)'}"
        yield f"{role(container)}: {health(container)}: {words}. mend: {look}, then {mend}"
    for found in room.look(objects):
        if found.is_full:
            wrong = f"{found.role} takes no more; what it has acknowledged, it keeps"
            yield f"disk: {found.volume}: {contents.size(found.free)} free: {wrong}. mend: {room.MEND}"
    if objects.containers:
        yield f"ok: holds {contents.look(objects)}"


def _backups(session: Session) -> Iterator[str]:
    """Of the container that makes them by itself, where there is one."""
    told = backup_status.ask(Objects(session.name))
    if told is None:
        return
    last = told["last"] or "none yet"
    if told["trouble"]:
        yield f"last backup: {last}: {told['trouble']}. mend: make backup STACK={session.stack}"
    else:
        yield f"ok: last backup: {last}, the next is due at {told['next']}"


def _settings(session: Session) -> Iterator[str]:
    """The same checks that a deployment makes before it begins: settings, ports, memory, images, disk."""
    from components import preflight  # noqa: PLC0415 - imports the SDK
    from components.errors import Refusal  # noqa: PLC0415
    from components.naming import Naming  # noqa: PLC0415
    from components.problem import InvalidConfigError  # noqa: PLC0415
    from components.settings import load  # noqa: PLC0415

    ours = session.config(secrets=True)
    values = {key: str(entry.get("value", "")) for key, entry in ours.items()}
    encrypted = {key for key, entry in ours.items() if entry.get("secret")}
    try:
        preflight.check(load(values, encrypted=encrypted), Naming(session.name), preflight.connect(), values)
    except (InvalidConfigError, Refusal) as refusal:
        yield from str(refusal).splitlines()
    else:
        yield "ok: settings, ports, memory, images and disk are as a deployment needs them"
