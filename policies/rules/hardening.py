"""No container has more rights than a service needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from rules.container import CONTAINER
from rules.resource import Resource
from rules.rule import Finding, ResourceRule

#: The one capability that Kubernetes' `restricted` profile lets a container have back, too.
ALLOWED_CAPABILITIES: Final = frozenset({"NET_BIND_SERVICE"})

_SOCKETS: Final = tuple(
    PurePosixPath(path)
    for path in (
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/var/run/containerd/containerd.sock",
        "/run/podman/podman.sock",
    )
)

_HOST_MODES: Final = ("networkMode", "pidMode", "ipcMode", "usernsMode", "cgroupnsMode")
_DEVICES: Final = ("devices", "deviceCgroupRules", "deviceRequests")

#: Workloads whose inputs these rules do not read.
_UNREAD: Final = frozenset({"docker:index/service:Service", "docker:index/plugin:Plugin"})

#: What an input is, what is wrong with it and the limit, and what mends it.
_Wrong = tuple[str, str, str]


def privileged(resource: Resource) -> Iterator[Finding]:
    """Every right too many of a container. What these rules cannot look into is refused as a whole."""
    if resource.type in _UNREAD:
        kind = resource.type.rpartition(":")[2]
        yield Finding(
            resource, f"type: {kind}", "these rules cannot tell what rights it has", "use a docker.Container instead"
        )
    if resource.type == CONTAINER:
        for look in _LOOKS:
            for value, limit, mend in look(resource):
                yield Finding(resource, value, limit, mend)


def _privileged(container: Resource) -> Iterator[_Wrong]:
    if container.props.get("privileged") is True:
        yield "privileged: true", "it would have every right on the host; only false is allowed", "privileged=False"


def _capabilities(container: Resource) -> Iterator[_Wrong]:
    given: Any = container.props.get("capabilities")
    capabilities: dict[str, Any] = given if isinstance(given, dict) else {}
    drops = _names(capabilities.get("drops"))
    if "ALL" not in drops:
        yield (
            f"capabilities.drops: {_shown(drops)}",
            "must hold ALL",
            'capabilities=ContainerCapabilitiesArgs(drops=["ALL"])',
        )
    if added := _names(capabilities.get("adds")) - ALLOWED_CAPABILITIES:
        yield (
            f"capabilities.adds: {_shown(added)}",
            f"only {_shown(ALLOWED_CAPABILITIES)} is allowed",
            "leave them out, and let the image do without",
        )


def _names(capabilities: object) -> frozenset[str]:
    """Capabilities by their short names: Docker takes `CAP_CHOWN` for `CHOWN`."""
    listed: list[object] = list(capabilities) if isinstance(capabilities, list) else []
    return frozenset(str(name).upper().removeprefix("CAP_") for name in listed)


def _host_modes(container: Resource) -> Iterator[_Wrong]:
    for mode in _HOST_MODES:
        if container.props.get(mode) == "host":
            yield f"{mode}: host", "it would share this with the host; every other mode is allowed", f"leave {mode} out"


def _devices(container: Resource) -> Iterator[_Wrong]:
    for key in _DEVICES:
        if container.listed(key):
            yield f"{key}: {len(container.listed(key))}", "no device of the host is allowed", f"leave {key} out"
    if gpus := container.props.get("gpus"):
        yield f"gpus: {gpus}", "no device of the host is allowed", "leave gpus out"


def _socket(container: Resource) -> Iterator[_Wrong]:
    paths = [entry.get("hostPath") for entry in container.listed("volumes")]
    paths += [entry.get("source") for entry in container.listed("mounts") if entry.get("type") == "bind"]
    for path in (path for path in paths if isinstance(path, str) and path.startswith("/")):
        if any(socket.is_relative_to(path) for socket in _SOCKETS):
            yield (
                f"volumes: {path}",
                "holds the container engine's socket, by which it is root on the host; no such folder is allowed",
                "mount the folder that is needed, or a volume",
            )


def _security_options(container: Resource) -> Iterator[_Wrong]:
    options = [str(option).replace("=", ":", 1) for option in container.listed("securityOpts")]
    if not {"no-new-privileges", "no-new-privileges:true"}.intersection(options):
        yield (
            f"securityOpts: {_shown(frozenset(options))}",
            "must hold no-new-privileges:true, or a set-user-id program makes it root again",
            'security_opts=["no-new-privileges:true"]',
        )
    for option in options:
        if option.endswith((":unconfined", ":disable")):
            yield f"securityOpts: {option}", "no confinement may be switched off", "leave it out"


def _file_system(container: Resource) -> Iterator[_Wrong]:
    """Docker puts files into a container only while it may be written to; one that is never started changes nothing."""
    if container.props.get("start") is False:
        return
    read_only = container.props.get("readOnly")
    if read_only is not True:
        value = f"readOnly: {str(read_only).lower() if isinstance(read_only, bool) else '(not set)'}"
        yield (
            value,
            "the root file system must be read-only",
            "read_only=True, with a tmpfs or a volume for what it writes",
        )


def _user(container: Resource) -> Iterator[_Wrong]:
    user = container.props.get("user")
    text = user if isinstance(user, str) else ""
    uid = re.match(r"\d+(?=:|$)", text)
    if uid is None or int(uid[0]) == 0:
        yield (
            f"user: {text or '(not set)'}",
            "must be a number other than 0: nobody knows before the start whom a name in an image stands for",
            'user="10001:10001"',
        )


def _shown(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"


_LOOKS: Final[tuple[Callable[[Resource], Iterator[_Wrong]], ...]] = (
    _privileged,
    _capabilities,
    _host_modes,
    _devices,
    _socket,
    _security_options,
    _file_system,
    _user,
)

RULES: Final = (
    ResourceRule(
        "no-privileged-container",
        "Every container runs as a user of its own, with no rights on the host and a read-only root file system.",
        privileged,
    ),
)
