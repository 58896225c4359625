"""No credential stands anywhere but where it is used; and a planted one is found, wherever it stands."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import docker
import pytest

from tests.stack import leaks
from tests.stack.harness import STACK_LABEL, Stack
from tests.stack.secure import Secure

#: Key in the stack's config → how a place has to be named to be excused. None: MLflow takes every key from files
#: or from variables that its entry point sets inside the process, where /proc does not show them.
EXCUSED: dict[str, str] = {}


def test_no_credential_stands_where_it_can_be_read(used_stack: Stack) -> None:
    credentials = used_stack.credentials()
    assert len(credentials) >= 8, f"expected all credentials of the stack, found {sorted(credentials)}"
    found, read = leaks.search(leaks.everywhere(used_stack), credentials)
    found = [leak for leak in found if EXCUSED.get(leak.credential) != leak.place]
    assert read > 100, f"only {read} places were read: a collector sees nothing"
    assert not found, "credentials where none may be:\n" + "\n".join(map(str, found))


def test_no_credential_of_a_stack_with_logins_stands_where_it_can_be_read(secure: Secure) -> None:
    credentials = secure.stack.credentials()
    credentials["a user's password"] = secure.user("hypatia")[1]
    found, read = leaks.search(leaks.everywhere(secure.stack), credentials)
    assert read > 100, f"only {read} places were read: a collector sees nothing"
    assert not found, "credentials where none may be:\n" + "\n".join(map(str, found))


def test_every_kind_of_place_was_read(used_stack: Stack) -> None:
    names = [place.name for place in leaks.everywhere(used_stack)]
    roles = ("postgres", "minio", "server", "gateway", "migration")
    for expected in (
        *(f"docker inspect mlflow-{used_stack.name}-{role}" for role in roles),
        *(f"docker logs mlflow-{used_stack.name}-{role}" for role in roles),
        "pulumi stack export",
        "what the commands printed",
    ):
        assert expected in names, f"{expected} was not read"
    # An image is read once, under one of the tags that it may have.
    tags = docker.from_env().images.get(used_stack.outputs["images"]["server"]).tags
    assert any(f"docker history {tag}" in names for tag in tags), f"the history of none of {tags} was read"
    state = ".local/state/.pulumi"
    for part in ("/cmdline", "/environ", f"{state}/stacks/", f"{state}/history/", "pulumi's log "):
        assert any(part in name for name in names), f"no place with {part} was read"


def _spelled(value: str) -> str:
    """A text with three values in it, each in another spelling, as they stand in headers and addresses."""
    header = base64.b64encode(f"user:{value}-2".encode()).decode()
    address = f"postgresql://user:{quote(value + '-3', safe='')}@host/db"
    return f"password={value}-1; Authorization: Basic {header}; {address}"


#: What a planted process does: it says that it is there, then waits.
_WAITING = "print(flush=True); input()"


@contextmanager
def _running(command: list[str], env: dict[str, str] | None = None) -> Generator[None]:
    """A process that is seen to run: one that was only just started has no arguments in /proc yet."""
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


@contextmanager
def _planted(kind: str, text: str, stack: Stack) -> Generator[None]:
    """Put a text where the kind of place says, and take it away again."""
    root = stack.checkout.root
    with ExitStack() as undo:
        match kind:
            case "environment of a process":
                undo.enter_context(_running([sys.executable, "-c", _WAITING], env={"X": text}))
            case "arguments of a process":
                undo.enter_context(_running([sys.executable, "-c", _WAITING, text]))
            case "environment of a container":
                container = stack.client.containers.create(
                    stack.outputs["images"]["server"],
                    entrypoint=["python3", "-c", "print('nothing')"],
                    environment={"X": text},
                    labels={STACK_LABEL: stack.name},
                )
                undo.callback(container.remove, force=True)
            case "log of a container" | "file in a container's /tmp":
                code = f"print({text!r})" if kind.startswith("log") else f"open('/tmp/x', 'w').write({text!r})"
                script = root / "planted.py"
                script.write_text(code)
                undo.callback(script.unlink)
                container = stack.client.containers.create(
                    stack.outputs["images"]["server"],
                    entrypoint=["python3", "/planted.py"],
                    labels={STACK_LABEL: stack.name},
                    volumes={str(script): {"bind": "/planted.py", "mode": "ro"}},
                )
                undo.callback(container.remove, force=True)
                container.start()
                assert container.wait()["StatusCode"] == 0, "the container that leaks did not run"
            case "file of the state":
                file = root / ".local" / "state" / "planted.json"
                file.write_text(text)
                undo.callback(file.unlink)
            case "what a command printed":
                before = stack.checkout.transcript.read_bytes()
                undo.callback(stack.checkout.transcript.write_bytes, before)
                stack.checkout.run(sys.executable, "-c", f"print({text!r})")
            case _:
                raise ValueError(kind)
        yield


@pytest.mark.parametrize(
    ("kind", "collector"),
    [
        ("environment of a process", "processes"),
        ("arguments of a process", "processes"),
        ("environment of a container", "docker"),
        ("log of a container", "containers"),
        ("file in a container's /tmp", "containers"),
        ("file of the state", "project"),
        ("what a command printed", "printed"),
    ],
)
def test_a_planted_leak_is_found(used_stack: Stack, kind: str, collector: str, tmp_path: Path) -> None:
    # A value of its own, with characters that each spelling changes: no real credential is spilled.
    value = f"pl&nted/+?ü credential {tmp_path.name}"
    credentials = {spelling: f"{value}-{number}" for number, spelling in enumerate(("plain", "base64", "URL"), 1)}
    collect = leaks.COLLECTORS[collector]
    with _planted(kind, _spelled(value), used_stack):
        found, _ = leaks.search(collect(used_stack), credentials)
    assert {leak.credential for leak in found} == set(credentials), f"planted in {kind}, found only {found}"
    again, _ = leaks.search(collect(used_stack), credentials)
    assert not again, f"the planted leak is still there: {again}"
