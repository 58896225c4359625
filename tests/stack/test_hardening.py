"""Each container is held to the list of docs/hardening.md, and the networks to what stands there, too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import docker
import psycopg
import pytest
from docker.models.containers import Container
from minio import Minio, S3Error

from tests.stack.hardening import (
    RULES,
    Rule,
    assert_can_write_neither_its_programs_nor_its_credentials,
    assert_no_process_has_a_capability,
    assert_no_process_is_roots,
)
from tests.stack.harness import Stack, execute, host_address

RUNNING = ("postgres", "minio", "server", "gateway", "migration")

#: How long a connection that gets no answer is waited for; one that is answered takes a thousandth of it.
_SECONDS = 2


def test_the_table_is_read_whole() -> None:
    assert len(RULES) >= 17, "every row of the table is a rule"


@pytest.mark.parametrize("role", RUNNING)
@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_container_keeps_the_rule(stack: Stack, role: str, rule: Rule) -> None:
    rule.assert_kept(stack, role)


@pytest.mark.parametrize("role", [role for role in RUNNING if role != "migration"])
def test_no_process_of_a_container_is_roots(stack: Stack, role: str) -> None:
    assert_no_process_is_roots(stack, role)


@pytest.mark.parametrize("role", [role for role in RUNNING if role != "migration"])
def test_no_process_of_a_container_has_a_capability(stack: Stack, role: str) -> None:
    assert_no_process_has_a_capability(stack, role)


@pytest.mark.parametrize("role", [role for role in RUNNING if role != "migration"])
def test_a_container_can_write_neither_its_programs_nor_its_credentials(stack: Stack, role: str) -> None:
    assert_can_write_neither_its_programs_nor_its_credentials(stack, role)


def _open_ports(container: Container, addresses: dict[str, str]) -> dict[str, set[int]]:
    """What a container reaches of some addresses, of all ports that something in a stack could listen on."""
    ports = (5000, 5432, 9000, 9001, 2019, 80, 443)
    probes = [
        f"(timeout {_SECONDS} bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo {address} {port}) &"
        for address in addresses.values()
        for port in ports
    ]
    reached = [line.split() for line in execute(container, ["bash", "-c", "\n".join([*probes, "wait"])]).splitlines()]
    names = {address: name for name, address in addresses.items()}
    found: dict[str, set[int]] = {}
    for address, port in reached:
        found.setdefault(names[address], set()).add(int(port))
    return found


@pytest.fixture
def hostile(stack: Stack, client: docker.DockerClient) -> Iterator[Container]:
    """A container of somebody else on the front network."""
    image = stack.outputs["images"]["server"]
    made = client.containers.run(
        image, ["300"], entrypoint=["sleep"], network=f"mlflow-{stack.name}-front", detach=True, init=True
    )
    try:
        yield made
    finally:
        made.remove(force=True, v=True)


#: A pair of addresses that are nobody's (RFC 5737): this host's end of the wire, and the other machine's.
_NEAR, _OUTSIDE = "198.51.100.1", "198.51.100.2"

_LISTENER = """
import socket
server = socket.create_server(("", 8099))
print("ready", flush=True)
while True:
    server.accept()[0].close()
"""


@pytest.fixture
def outside(tag: str) -> Iterator[str]:
    """The address of another machine, which knows this host and nothing behind it: a network namespace at a wire."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]

    def ip(*arguments: str) -> None:
        subprocess.run([*as_root, "ip", *arguments], check=True, capture_output=True)

    machine = f"outside-{tag}"
    near, far = f"{tag}a", f"{tag}b"
    ip("netns", "add", machine)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", machine)
        ip("address", "add", f"{_NEAR}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", machine, "address", "add", f"{_OUTSIDE}/30", "dev", far)
        ip("-n", machine, "link", "set", far, "up")
        command = [*as_root, "ip", "netns", "exec", machine, sys.executable, "-c", _LISTENER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
            try:
                yield _OUTSIDE
            finally:
                subprocess.run([*as_root, "kill", str(listener.pid)], check=False)
    finally:
        ip("netns", "delete", machine)  # and the wire with it


def _addresses(container: Container) -> list[str]:
    container.reload()
    networks: dict[str, Any] = container.attrs["NetworkSettings"]["Networks"]
    return [str(network["IPAddress"]) for network in networks.values()]


def test_a_container_on_the_front_network_reaches_the_gateways_port_and_nothing_else(
    stack: Stack, client: docker.DockerClient, hostile: Container
) -> None:
    addresses = {
        f"{role} at {address}": address
        for role in ("postgres", "minio", "server", "gateway")
        for address in _addresses(stack.container(role))
    }
    front = host_address(client, f"mlflow-{stack.name}-front")
    reached = _open_ports(hostile, addresses | {"the host": front})
    ports = {port for found in reached.values() for port in found}
    assert ports <= {5000}
    assert {name.split()[0] for name in reached} == {"gateway"}, reached


def test_no_store_reaches_an_address_outside_and_the_provider_still_gets_in(stack: Stack, outside: str) -> None:
    server = execute(stack.container("server"), ["bash", "-c", f"exec 3<>/dev/tcp/{outside}/8099 && echo in"])
    assert server.strip() == "in", "the tracking server has a way out: else this test proves nothing"
    for role in ("postgres", "minio"):
        probe = f"timeout {_SECONDS} bash -c 'exec 3<>/dev/tcp/{outside}/8099'"
        answer: Any = stack.container(role).exec_run(["bash", "-c", probe])
        assert answer.exit_code != 0, f"{role} reached an address outside"
    stack.assert_no_changes(refresh=True)  # asks both stores by their providers


def test_what_a_container_in_place_of_the_server_finds_makes_it_no_owner_and_no_admin(stack: Stack) -> None:
    script = "cat /run/mlflow-stack/* /proc/self/environ /tmp/* 2>/dev/null; true"
    read = execute(stack.container("server"), ["bash", "-c", script])
    found = {word for word in re.split(r"[\s\0=]+", read) if len(word) >= 8}
    credentials: dict[str, str] = stack.outputs["credentials"]
    assert credentials["postgresRuntimePassword"] in found, "else nothing was found, and this test proves nothing"
    for key in ("postgresAdminPassword", "postgresOwnerPassword", "minioRootPassword", "consoleUserPassword"):
        assert credentials[key] not in found
    for password in found:
        for role in ("postgres", "mlflowowner"):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(
                    host="127.0.0.1",
                    port=int(stack.settings["postgresPort"]),
                    user=role,
                    password=password,
                    dbname="mlflow",
                )
        root = Minio(f"127.0.0.1:{stack.settings['minioApiPort']}", "mlflow-root", password, secure=False)
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            root.list_buckets()
