"""Whatever is wrong is refused before anything is touched: with its limit, and with the line that mends it.

The first half comes from the settings themselves: every key against each of its limits, through the validator
that a deployment runs. The second half is real runs of `up` on a machine where something is wrong.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from components.problem import InvalidConfigError
from components.settings import SECRETS, Settings, load
from tests.stack.harness import Checkout, Result, Stack, inventory, never_up, wait_until, write_settings

# -- every key, each limit -----------------------------------------------------------------------------------

GOOD_SECRETS = {secret.key: secret.generate() for secret in SECRETS}


def _limits(key: str, schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Values just outside of a key's limits, each with what the refusal must name.

    Yields:
        Key, bad value, and the limit as text ("" where the words say it).
    """
    for variant in schema.get("anyOf", [schema]):
        kind = variant.get("type")
        limits = {**schema, **variant}
        if kind == "integer":
            yield key, "many", ""
            yield key, "1.5", ""
            yield key, str(limits["minimum"] - 1), str(limits["minimum"])
            yield key, str(limits["maximum"] + 1), str(limits["maximum"])
            yield key, str(-limits["maximum"]), str(limits["minimum"])
        elif kind == "boolean":
            yield key, "maybe", ""
            yield key, "2", ""
        elif kind == "string":
            for allowed in limits.get("enum", []):
                yield key, allowed.swapcase(), allowed
            if "maxLength" in limits:
                yield key, "a" * (limits["maxLength"] + 1), str(limits["maxLength"])
            if limits.get("minLength", 0) > 1:
                yield key, "a" * (limits["minLength"] - 1), str(limits["minLength"])
            if "enum" not in limits:
                yield key, "two words", ""


SCHEMA: dict[str, Any] = Settings.model_json_schema(by_alias=True)["properties"]
OUTSIDE = [case for key, schema in SCHEMA.items() for case in _limits(key, schema)]


def _refused(values: dict[str, str]) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        load({**GOOD_SECRETS, **values})
    return caught.value.lines


def test_limits_were_found_for_every_key() -> None:
    assert {key for key, _, _ in OUTSIDE} == set(SCHEMA), "a key without a limit is a key that takes anything"


@pytest.mark.parametrize(("key", "value", "limit"), OUTSIDE, ids=[f"{key}={value[:20]}" for key, value, _ in OUTSIDE])
def test_a_value_outside_of_a_limit_is_refused(key: str, value: str, limit: str) -> None:
    line = next((line for line in _refused({key: value}) if line.startswith(f"{key}: {value}: ")), None)
    assert line is not None, f"no line begins with {key}: {value}"
    wrong, _, mend = line.removeprefix(f"{key}: {value}: ").partition(". mend: ")
    assert limit in wrong, f"the limit {limit} is not named: {line}"
    assert mend.startswith(("pulumi config set ", "pulumi config rm ")), f"no mend: {line}"


@pytest.mark.parametrize("key", SCHEMA)
def test_the_mend_of_a_refusal_mends_it(key: str) -> None:
    value = next(value for name, value, _ in OUTSIDE if name == key)
    line = next(line for line in _refused({key: value}) if line.startswith(f"{key}: "))
    mend = shlex.split(line.partition(". mend: ")[2])
    mended = {} if mend[2] == "rm" else {mend[3]: mend[4]}
    load({**GOOD_SECRETS, **mended})


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"mlflowPort": "9000"}, "minioApiPort"),
        ({"minioConsolePort": "15432"}, "postgresPort"),
        ({"workers": "32", "serverMemoryMb": "512"}, "serverMemoryMb"),
        ({"jobRunner": "true", "serverMemoryMb": "1500"}, "serverMemoryMb"),
        ({"bindAddress": "0.0.0.0"}, "bindAddress"),
        ({"bindAddress": "::"}, "bindAddress"),
        ({"bindAddress": "localhost"}, "bindAddress"),
        ({"bucketName": "a..b"}, "bucketName"),
        ({"bucketName": "10.0.0.1"}, "bucketName"),
        ({"bucketName": "Upper"}, "bucketName"),
        ({"databaseName": "template1"}, "databaseName"),
        ({"databaseName": "drop table;"}, "databaseName"),
        ({"publicHost": "http://name"}, "publicHost"),
        ({"publicHost": "name:5001"}, "publicHost"),
        ({"publicHost": "-name"}, "publicHost"),
        ({"mlflowVersion": "latest"}, "mlflowVersion"),
        ({"noSuchKey": "1"}, "noSuchKey"),
        ({"mlflowport": "5001"}, "mlflowport"),
    ],
    ids=str,
)
def test_what_does_not_hold_together_is_refused(values: dict[str, str], key: str) -> None:
    lines = _refused(values)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{key}: "), lines
    assert ". mend: pulumi config " in lines[0], lines


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.key)
@pytest.mark.parametrize("value", ["", "short", "x" * 500, "with white space inside", "quo'te-quote-quote", "ü" * 20])
def test_a_malformed_credential_is_refused_without_being_shown(secret: Any, value: str) -> None:
    lines = _refused({secret.key: value})
    assert [line.partition(":")[0] for line in lines] == [secret.key], lines
    assert ". mend: " in lines[0], lines
    assert not value or value not in lines[0], "the refusal shows the credential"


def test_a_credential_in_plain_text_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match="encrypted"):
        load(GOOD_SECRETS, encrypted=set(GOOD_SECRETS) - {"bucketUserSecret"})


def test_all_that_is_wrong_is_said_at_once() -> None:
    lines = _refused({"workers": "0", "noSuchKey": "x", "bucketUserSecret": "short"})
    assert {line.partition(":")[0] for line in lines} == {"workers", "noSuchKey", "bucketUserSecret"}, lines


# -- real runs -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, tag: str) -> Stack:
    """A stack with its credentials and its state, in a copy of the project of its own; it never comes up."""
    stack = Stack.prepare(Checkout(tmp_path_factory.mktemp("bad-input") / "checkout"), f"{tag}bad")
    stack.init()
    return stack


@pytest.fixture
def bad(good: Stack) -> Iterator[Stack]:
    """The stack, to be spoilt; nothing of it may ever be on the Docker host."""
    with never_up(good) as stack:
        yield stack


def _assert_refused(result: Result, key: str, words: str) -> None:
    assert result.code == 2, f"expected a refusal (exit code 2)\n{result.text}"
    line = next((line for line in result.stderr.splitlines() if re.match(rf"\s*(error: )?{key}: ", line)), None)
    assert line is not None, f"no line on stderr begins with `{key}: `\n{result.text}"
    assert words in line, f"{words!r} is not in {line!r}"
    assert re.search(r"\. mend: \S+", line), f"no mend in {line!r}"
    assert "Traceback" not in result.stderr, result.text


def test_up_refuses_an_unknown_key(bad: Stack) -> None:
    write_settings(bad.file, mlflowport="5001")
    _assert_refused(bad.up(), "mlflowport", "is no key of this program")


def test_up_refuses_equal_ports(bad: Stack) -> None:
    write_settings(bad.file, minioApiPort=bad.settings["mlflowPort"])
    _assert_refused(bad.up(), "minioApiPort", "must differ from mlflowPort")


@pytest.mark.parametrize("key", ["mlflowPort", "minioApiPort", "minioConsolePort", "postgresPort"])
def test_up_refuses_a_port_that_somebody_else_holds(bad: Stack, key: str) -> None:
    with socket.create_server(("127.0.0.1", int(bad.settings[key]))):
        _assert_refused(bad.up(), key, "holds this port")


def test_up_refuses_a_port_of_another_stack_by_its_name(bad: Stack, spare: Stack) -> None:
    write_settings(bad.file, minioConsolePort=spare.settings["mlflowPort"])
    _assert_refused(bad.up(), "minioConsolePort", f"mlflow-{spare.name}-gateway")


def test_up_refuses_an_address_of_another_machine(bad: Stack) -> None:
    write_settings(bad.file, bindAddress="192.0.2.1", allowInsecurePublicBind="true")
    _assert_refused(bad.up(), "bindAddress", "no address of this machine")


@pytest.mark.parametrize("key", ["postgresImage", "minioImage", "gatewayImage", "pythonImage"])
def test_up_refuses_an_image_that_cannot_be_had(bad: Stack, key: str, client: docker.DockerClient) -> None:
    if key == "pythonImage":
        # Every other tag of a base image means another MLflow image, which is not there either.
        write_settings(bad.file, pythonImage="localhost:1/nobody/python:1")
    else:
        write_settings(bad.file, **{key: "localhost:1/nobody/nothing:1"})
    _assert_refused(bad.up(), key, "not on the Docker host")


def test_up_refuses_more_memory_than_there_is(bad: Stack) -> None:
    write_settings(bad.file, serverMemoryMb="1048576")
    _assert_refused(bad.up(), "serverMemoryMb", "memory")


def test_up_refuses_where_no_docker_runs(bad: Stack, tmp_path: Path) -> None:
    dead = {"DOCKER_HOST": f"unix://{tmp_path}/dead.sock"}
    _assert_refused(bad.up(environment=dead), "docker", "no Docker daemon answers")


def test_up_refuses_a_socket_it_has_no_rights_on(bad: Stack, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    path.chmod(0)
    # Root goes past permissions by a capability, which is taken from it here; nobody else needs that.
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    with listener:
        result = bad.checkout.run(
            *unprivileged,
            "./mlflow-stack",
            "up",
            "--stack",
            bad.name,
            environment={"DOCKER_HOST": f"unix://{path}"},
        )
    _assert_refused(result, "docker", "may not talk to the Docker daemon")


@contextmanager
def _small_docker(folder: Path, size: str) -> Generator[str]:
    """A second Docker daemon whose whole disk is a few MiB.

    It has a network namespace of its own: a daemon without a bridge removes `docker0`, which on the host is that of
    the machine's own daemon.

    Yields:
        Its address.
    """
    root, sock = folder / "root", folder / "docker.sock"
    root.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(root)], check=True)
    dockerd = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert dockerd is not None, "dockerd is not installed on this machine"
    log = (folder / "log").open("wb")
    daemon = subprocess.Popen(
        [
            *(*sudo, "unshare", "--net", dockerd),
            *("--data-root", str(root), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")),
            *("--host", f"unix://{sock}", "--bridge", "none", "--iptables=false", "--storage-driver", "vfs"),
        ],
        stdout=log,
        stderr=log,
    )
    try:
        address = f"unix://{sock}"
        wait_until(lambda: bool(docker.DockerClient(base_url=address).ping()), "the second Docker daemon")
        yield address
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
        log.close()
        subprocess.run([*sudo, "umount", "--recursive", str(root)], check=True)


def test_up_refuses_a_disk_that_is_too_small_for_the_images(
    bad: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("d")  # a short path: a socket's may have 107 characters
    with _small_docker(folder, "64m") as address:
        result = bad.up(environment={"DOCKER_HOST": address})
        small = docker.DockerClient(base_url=address)
        assert inventory(small, bad.name).is_empty, "something was made on the full disk"
        assert not small.images.list(all=True), "a refused up left images behind"
    _assert_refused(result, "disk", "GiB")
