"""Nothing is published beyond this machine's loopback without TLS and a login."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rules.container import CONTAINER, environment, role
from rules.resource import Resource
from rules.rule import Finding, ResourceRule, StackRule

#: What the gateway and the server say of themselves, see `components/gateway.py` and `components/mlflow_server.py`.
_TLS: Final = "GATEWAY_TLS"
_TLS_ON: Final = frozenset({"internal", "files", "acme"})
_LOGIN: Final = "MLFLOW_STACK_AUTH"
_LOGIN_ON: Final = frozenset({"basic"})

_ABSENT: Final = "(not set)"


def published(container: Resource) -> list[str]:
    """Where a container is published beyond loopback, each as `ip:port`; a port without an address is everywhere."""
    places = [_place(port) for port in container.listed("ports") if _is_public(port.get("ip"))]
    return [*places, "every port of its image"] if container.props.get("publishAllPorts") is True else places


def _place(port: dict[str, Any]) -> str:
    external = port.get("external")
    number = int(external) if isinstance(external, int | float) else "a port of Docker's choice"
    return f"{port.get('ip') or '(every address)'}:{number}"


def _is_public(address: object) -> bool:
    """Whether others can reach an address; one that cannot be read counts as reachable."""
    try:
        return not ipaddress.ip_address(str(address)).is_loopback
    except ValueError:
        return True


def without_tls(container: Resource) -> Iterator[Finding]:
    """A public port of anything but the gateway, or of a gateway that speaks plain HTTP."""
    if container.type != CONTAINER:
        return
    is_gateway = role(container) == "gateway"
    tls = environment(container).get(_TLS, _ABSENT)
    for place in published(container):
        if not is_gateway:
            yield Finding(
                container,
                f"ports: {place}",
                "only the gateway, with TLS, may be published on another address than loopback",
                "publish it on 127.0.0.1 (of this program's MinIO: pulumi config set artifactAccess proxied)",
            )
        elif tls not in _TLS_ON:
            yield Finding(
                container,
                f"ports: {place}, {_TLS}={tls}",
                f"what is published on another address than loopback needs {_TLS}={_or(_TLS_ON)}",
                "pulumi config set tls internal (it takes publicHost, too), or pulumi config set bindAddress 127.0.0.1",
            )


def without_login(resources: Sequence[Resource], _: frozenset[str]) -> Iterator[Finding]:
    """A public gateway in front of a server that lets everybody in, or whose server is not there to say."""
    containers = [resource for resource in resources if resource.type == CONTAINER]
    logins = [environment(server).get(_LOGIN, _ABSENT) for server in containers if role(server) == "server"]
    told = ", ".join(logins) or "(no server)"
    if logins and _LOGIN_ON.issuperset(logins):
        return
    for gateway in (container for container in containers if role(container) == "gateway"):
        for place in published(gateway):
            yield Finding(
                gateway,
                f"ports: {place}, {_LOGIN}={told}",
                f"what is published on another address than loopback needs {_LOGIN}={_or(_LOGIN_ON)} on the server",
                "pulumi config set auth basic, or pulumi config set bindAddress 127.0.0.1",
            )


def _or(values: frozenset[str]) -> str:
    return "|".join(sorted(values))


RULES: Final = (
    ResourceRule(
        "no-public-bind-without-tls",
        "Only a gateway that speaks TLS is published beyond this machine's loopback.",
        without_tls,
    ),
    StackRule(
        "no-public-bind-without-login",
        "What is published beyond this machine's loopback asks for a login.",
        without_login,
    ),
)
