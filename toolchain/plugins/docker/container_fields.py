"""The inputs and outputs of a container, after terraform-provider-docker's resource_docker_container.go (4.6)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from toolchain.plugins.docker.labels import labels_field
from toolchain.plugins.schema import (
    Field,
    Fields,
    boolean,
    forced,
    integer,
    mapping,
    objects,
    output,
    string,
    strings,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolchain.plugins.wire import Value

_DURATION: Final = re.compile(r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$")
READ_TIMEOUT: Final = 15000  # milliseconds, the vendor's default; we have no use for it but keep it in the state


def _twice(reason: str) -> str:
    """Say it as the vendor's does: once as a summary, once as its detail."""
    return f"{reason}. {reason}"


def _pattern(pattern: str) -> Callable[[Value], str | None]:
    compiled = re.compile(pattern)

    def check(value: Value) -> str | None:
        return None if compiled.search(value) else _twice(f"'{value}' doesn't match the pattern '{pattern}'")

    return check


def _at_least(limit: int) -> Callable[[Value], str | None]:
    def check(value: Value) -> str | None:
        return None if value >= limit else _twice(f"'{value}' cannot be lower than {limit}")

    return check


def _duration(value: Value) -> str | None:
    return None if _DURATION.match(value) else _twice(f"'{value}' is not a valid duration")


def _base64(value: Value) -> str | None:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "the value is not base64"
    return None


def _same_ports(old: Value, new: Value) -> bool:
    """Compare published ports without their order."""

    def form(ports: Value) -> list[tuple[Value, ...]]:
        return sorted((each["internal"], each["protocol"], each["ip"], each["external"] or 0) for each in ports)

    return bool(old) and isinstance(new, list) and len(old) == len(new) and form(old) == form(new)


def _kept(old: Value, new: Value) -> bool:
    """An empty value leaves what the image says."""
    return new in ("", old)


def _interval() -> Field:
    return string(default="0s", check=_duration)


def _throttle() -> Field:
    return objects({"path": string(required=True), "rate": integer(required=True, check=_at_least(0))})


FIELDS: Final[Fields] = {
    **forced(
        name=string(required=True, autoname=True),
        image=string(required=True),
        readOnly=boolean(default=False),
        hostname=string(computed=True),
        domainname=string(),
        command=strings("list", computed=True),
        entrypoints=strings("list", computed=True),
        user=string(suppress=_kept),
        dns=strings(),
        dnsOpts=strings(),
        dnsSearches=strings(),
        publishAllPorts=boolean(),
        workingDir=string(suppress=_kept),
        capabilities=objects(forced(adds=strings(), drops=strings()), max_one=True),
        securityOpts=strings(computed=True),
        runtime=string(computed=True),
        platform=string(computed=True),
        stopSignal=string(computed=True),
        stopTimeout=integer(computed=True),
        mounts=objects(
            {
                "target": string(required=True),
                "source": string(),
                "type": string(required=True, check=_pattern("^(bind|volume|tmpfs)$")),
                "readOnly": boolean(),
                "bindOptions": objects(
                    {"propagation": string(check=_pattern("^(private|rprivate|shared|rshared|slave|rslave)$"))},
                    "list",
                    max_one=True,
                ),
                "volumeOptions": objects(
                    {
                        "noCopy": boolean(),
                        "labels": objects(forced(label=string(required=True), value=string(required=True))),
                        "driverName": string(),
                        "driverOptions": mapping(),
                        "subpath": string(force_new=True),
                    },
                    "list",
                    max_one=True,
                ),
                "tmpfsOptions": objects(
                    {"sizeBytes": integer(), "mode": integer()}, "list", max_one=True, force_new=True
                ),
            }
        ),
        volumes=objects(
            forced(
                fromContainer=string(),
                containerPath=string(),
                hostPath=string(check=_pattern("^/")),
                volumeName=string(),
                readOnly=boolean(),
                selinuxRelabel=string(check=_pattern("^(z|Z)$")),
            )
        ),
        ports=objects(
            forced(
                internal=integer(required=True),
                external=integer(computed=True),
                ip=string(default="0.0.0.0", normal=lambda value: value or "0.0.0.0"),  # noqa: S104 (the vendor's)
                protocol=string(default="tcp"),
            ),
            "list",
            suppress=_same_ports,
        ),
        hosts=objects(forced(host=string(required=True), ip=string(required=True))),
        ulimits=objects(forced(name=string(required=True), soft=integer(required=True), hard=integer(required=True))),
        envs=strings(computed=True),
        privileged=boolean(),
        devices=objects(
            forced(hostPath=string(required=True), containerPath=string(), permissions=string(default="rwm"))
        ),
        deviceCgroupRules=strings(),
        labels=labels_field(computed=True),
        shmSize=integer(computed=True, check=_at_least(0)),
        logDriver=string(computed=True),
        logOpts=mapping(),
        networkMode=string(default="bridge"),
        networksAdvanced=objects(
            forced(
                name=string(required=True),
                aliases=strings(),
                ipv4Address=string(),
                ipv6Address=string(),
                linkLocalIps=strings(),
                macAddress=string(),
                driverOpts=strings(),
                gwPriority=integer(check=_at_least(0)),
            )
        ),
        pidMode=string(),
        usernsMode=string(),
        uploads=objects(
            forced(
                file=string(required=True),
                content=string(),
                contentBase64=string(check=_base64),
                executable=boolean(default=False),
                permissions=string(check=_pattern("^0[0-7]{3}$")),
                owner=string(default=""),
                group=string(default=""),
                source=string(),
                sourceHash=string(),
            )
        ),
        healthcheck=objects(
            {
                "tests": strings("list"),
                "interval": _interval(),
                "timeout": _interval(),
                "startPeriod": _interval(),
                "startInterval": _interval(),
                "retries": integer(default=0, check=_at_least(0)),
            },
            "list",
            max_one=True,
            computed=True,
        ),
        sysctls=mapping(),
        ipcMode=string(computed=True),
        groupAdds=strings(),
        tty=boolean(default=False),
        stdinOpen=boolean(default=False),
        storageOpts=mapping(),
        cpus=string(),
        cgroupnsMode=string(),
        cgroupParent=string(),
    ),
    "rm": boolean(default=False),
    "start": boolean(default=True),
    "wait": boolean(default=False),
    "waitTimeout": integer(default=60),
    "attach": boolean(default=False),
    "logs": boolean(default=False),
    "mustRun": boolean(default=True),
    "restart": string(default="no", check=_pattern("^(no|on-failure|always|unless-stopped)$")),
    "maxRetryCount": integer(),
    "removeVolumes": boolean(default=True),
    "tmpfs": mapping(),
    "destroyGraceSeconds": integer(),
    "memory": integer(check=_at_least(0)),
    "memoryReservation": integer(default=0, check=_at_least(0)),
    "memorySwap": integer(check=_at_least(-1)),
    "cpuShares": integer(check=_at_least(0)),
    "cpuSet": string(check=_pattern(r"^\d+([,-]\d+)*$")),
    "cpuPeriod": integer(check=_at_least(0)),
    "cpuQuota": integer(check=_at_least(0)),
    "deviceReadBps": _throttle(),
    "deviceReadIops": _throttle(),
    "deviceWriteBps": _throttle(),
    "deviceWriteIops": _throttle(),
    "containerReadRefreshTimeoutMilliseconds": integer(default=READ_TIMEOUT),
    "init": boolean(computed=True),
    "deviceRequests": unsupported("set", block=True, force_new=True),
    "gpus": unsupported(force_new=True),
    "exitCode": output("int"),
    "containerLogs": output(),
    "bridge": output(),
    "networkDatas": output(
        "list",
        {
            "networkName": string(),
            "ipAddress": string(),
            "ipPrefixLength": integer(),
            "gateway": string(),
            "globalIpv6Address": string(),
            "globalIpv6PrefixLength": integer(),
            "ipv6Gateway": string(),
            "macAddress": string(),
        },
    ),
}
