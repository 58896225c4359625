"""Containers, after terraform-provider-docker's resource_docker_container_funcs.go (4.6)."""

from __future__ import annotations

import base64
import grp
import io
import pwd
import re
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import quote

from toolchain.plugins.docker.container_fields import FIELDS
from toolchain.plugins.docker.daemon import missing, said
from toolchain.plugins.docker.labels import to_map
from toolchain.plugins.docker.remote_image import find_or_pull
from toolchain.plugins.resource import Partial, Resource
from toolchain.plugins.schema import Fields
from toolchain.plugins.wire import Properties, known

if TYPE_CHECKING:
    from toolchain.plugins.docker.daemon import Daemon

_MEBIBYTE: Final = 1024 * 1024
_NANOSECONDS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_POLL: Final = 0.25  # seconds between looks at the health
_UPDATABLE: Final = (
    "restart",
    "maxRetryCount",
    "cpuShares",
    "memory",
    "memoryReservation",
    "cpuSet",
    "memorySwap",
    "deviceReadBps",
    "deviceReadIops",
    "deviceWriteBps",
    "deviceWriteIops",
)


class Container(Resource):
    """A container."""

    fields: ClassVar[Fields] = FIELDS
    delete_before_replace: ClassVar[bool] = True
    meta: ClassVar[str | None] = (
        '{"e2bfb730-ecaa-11e6-8f88-34363bc7c4c0":{"create":1200000000000,"delete":1200000000000,'
        '"update":1200000000000},"schema_version":"2"}'
    )

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Create, connect networks, upload files, start, wait for health, wait for the end: in this order."""
        want = {key: known(value) for key, value in planned.items()}
        try:
            find_or_pull(self._daemon, want["image"])
        except RuntimeError as error:
            msg = f"Unable to create container with image {want['image']}: {error}"
            raise RuntimeError(msg) from error
        # A bad upload is found before anything is made.
        archives = [_archive(each) for each in want["uploads"]]
        api = self._daemon.api
        try:
            body = _body(want)
            params = {"name": want["name"], **({"platform": want["platform"]} if want["platform"] else {})}
            made: str = self._daemon.call("POST", "/containers/create", json=body, params=params)["Id"]
        except Exception as error:
            msg = f"Unable to create container: {said(error)}"
            raise RuntimeError(msg) from error
        known_logs: Properties = {}
        try:
            self._connect(made, want["networksAdvanced"])
            for archive, own in archives:
                self._upload(made, archive, own=own)
            if want["start"]:
                self._start(made)
                if want["wait"]:
                    self._wait_healthy(made, want["waitTimeout"])
            if want["attach"]:
                api.wait(made, timeout=None)
                if want["logs"]:
                    known_logs["containerLogs"] = api.logs(made, stdout=True, stderr=True).decode(errors="replace")
        except _Failed as failed:
            raise Partial(made, str(failed)) from failed
        result = self.read(made, planned)
        if result is None:
            msg = f"the container {want['name']} was gone right after its creation"
            raise RuntimeError(msg)
        return made, {**result[1], **known_logs}

    def _connect(self, made: str, networks: list[Properties]) -> None:
        if not networks:
            return
        api = self._daemon.api
        try:
            api.disconnect_container_from_network(made, "bridge")
        except Exception as error:
            if "is not connected to the network bridge" not in said(error):
                msg = f"Unable to disconnect the default network: {said(error)}"
                raise _Failed(msg) from error
        for each in networks:
            endpoint: Properties = {
                "Aliases": each.get("aliases") or [],
                "IPAMConfig": {
                    key: value
                    for key, value in (
                        ("IPv4Address", each.get("ipv4Address")),
                        ("IPv6Address", each.get("ipv6Address")),
                        ("LinkLocalIPs", each.get("linkLocalIps")),
                    )
                    if value
                },
                "DriverOpts": dict(option.split("=", 1) for option in each.get("driverOpts") or [] if "=" in option),
            }
            if each.get("macAddress"):
                endpoint["MacAddress"] = each["macAddress"]
            if each.get("gwPriority"):
                endpoint["GwPriority"] = each["gwPriority"]
            try:
                body = {"Container": made, "EndpointConfig": endpoint}
                self._daemon.call("POST", f"/networks/{quote(each['name'], safe='')}/connect", json=body)
            except Exception as error:
                msg = f"Unable to connect to network '{each['name']}': {said(error)}"
                raise _Failed(msg) from error

    def _upload(self, made: str, archive: bytes, *, own: bool) -> None:
        # With copyUIDGID the daemon looks up the container's user among the users of its own machine.
        try:
            params: dict[str, str | int] = {"path": "/", "noOverwriteDirNonDir": "true"}
            if own:
                params["copyUIDGID"] = "true"
            self._daemon.call("PUT", f"/containers/{made}/archive", params=params, data=archive)
        except Exception as error:
            msg = f"Unable to upload volume content: {said(error)}"
            raise _Failed(msg) from error

    def _start(self, made: str) -> None:
        try:
            self._daemon.api.start(made)
        except Exception as error:
            msg = f"Unable to start container: {said(error)}"
            raise _Failed(msg) from error

    def _wait_healthy(self, made: str, seconds: int) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                state = self._daemon.api.inspect_container(made)["State"]
            except Exception as error:
                msg = f"error inspecting container state: {said(error)}"
                raise _Failed(msg) from error
            if not state.get("Health"):
                msg = (
                    "you have supplied a 'wait' argument, but the container does not have a healthcheck defined. "
                    "Please remove the 'wait' argument or add a 'healthcheck' attribute"
                )
                raise _Failed(msg)
            if state["Health"]["Status"] == "healthy":
                return
            if time.monotonic() > deadline:
                msg = "container failed to be in healthy state"
                raise _Failed(msg)
            time.sleep(_POLL)

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Look at the container."""
        try:
            found = self._daemon.api.inspect_container(resource_id)
        except Exception as error:
            if missing(error):
                return None
            raise RuntimeError(said(error)) from error
        return found["Id"], _seen(found, state)

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Start a stopped container that must run; change its limits and restart policy."""
        api = self._daemon.api
        if not old.get("mustRun") and planned["mustRun"] and planned["start"]:
            try:
                api.start(resource_id)
            except Exception as error:
                msg = f"Unable to start container: {said(error)}"
                raise RuntimeError(msg) from error
        if any(old.get(key) != planned[key] for key in _UPDATABLE):
            body: Properties = {
                "RestartPolicy": {"Name": planned["restart"], "MaximumRetryCount": planned["maxRetryCount"] or 0},
                "CpuShares": planned["cpuShares"] or 0,
                "Memory": (planned["memory"] or 0) * _MEBIBYTE,
                "MemoryReservation": (planned["memoryReservation"] or 0) * _MEBIBYTE,
                "CpusetCpus": planned["cpuSet"] or "",
                **_throttles(planned),
            }
            if planned["memorySwap"]:
                body["MemorySwap"] = _swap(planned["memorySwap"])
            try:
                self._daemon.call("POST", f"/containers/{resource_id}/update", json=body)
            except Exception as error:
                msg = f"Unable to update a container: {said(error)}"
                raise RuntimeError(msg) from error
        return resource_id, planned

    def delete(self, resource_id: str, state: Properties) -> None:
        """Stop, remove, and wait until it is gone."""
        api = self._daemon.api
        if not state.get("attach"):
            try:
                params = {"t": state.get("destroyGraceSeconds") or 0}
                self._daemon.call("POST", f"/containers/{resource_id}/stop", params=params)
            except Exception as error:
                if not missing(error):
                    msg = f"Error stopping container {resource_id}: {said(error)}"
                    raise RuntimeError(msg) from error
        try:
            api.remove_container(resource_id, v=state.get("removeVolumes") is not False, force=True)
        except Exception as error:
            if not missing(error) and "is already in progress" not in said(error):
                msg = f"Error deleting container {resource_id}: {said(error)}"
                raise RuntimeError(msg) from error
        for _ in range(240):
            try:
                api.inspect_container(resource_id)
            except Exception as error:
                if missing(error):
                    return
                raise RuntimeError(said(error)) from error
            time.sleep(_POLL)


class _Failed(Exception):  # noqa: N818 (becomes a Partial)
    """A step after the creation failed."""


def _nanoseconds(text: str) -> int:
    return int(sum(float(number) * _NANOSECONDS[unit] for number, _, unit in _PARTS.findall(text)))


_PARTS: Final = re.compile(r"([0-9]+(\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")


def duration(nanoseconds: int) -> str:
    """Write a duration as Go prints it."""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.9f}".rstrip("0").rstrip(".") + unit
        return f"{nanoseconds}ns"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    seconds = f"{rest / 10**9:.9f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _swap(megabytes: int) -> int:
    return megabytes * _MEBIBYTE if megabytes > 0 else megabytes


def _throttles(want: Properties) -> Properties:
    names = {
        "deviceReadBps": "BlkioDeviceReadBps",
        "deviceReadIops": "BlkioDeviceReadIOps",
        "deviceWriteBps": "BlkioDeviceWriteBps",
        "deviceWriteIops": "BlkioDeviceWriteIOps",
    }
    return {
        name: [{"Path": each["path"], "Rate": each["rate"]} for each in want[key]]
        for key, name in names.items()
        if want[key]
    }


def _archive(upload: Properties) -> tuple[bytes, bool]:
    """Return an upload as a tar archive, and whether it says whose the file is."""
    given = [upload.get(key) for key in ("content", "contentBase64", "source") if upload.get(key)]
    if not given:
        msg = "error with upload content: one of 'content', 'content_base64', or 'source' must be set"
        raise RuntimeError(msg)
    if len(given) > 1:
        msg = "error with upload content: only one of 'content', 'content_base64', or 'source' can be set"
        raise RuntimeError(msg)
    if upload.get("content"):
        data = str(upload["content"]).encode()
    elif upload.get("contentBase64"):
        data = base64.b64decode(upload["contentBase64"])
    else:
        data = Path(upload["source"]).read_bytes()
    owner, group = upload.get("owner") or "", upload.get("group") or ""
    entry = tarfile.TarInfo(str(upload["file"]).lstrip("/"))
    entry.size = len(data)
    entry.mtime = int(time.time())
    entry.mode = (
        int(upload["permissions"], 8) if upload.get("permissions") else 0o744 if upload.get("executable") else 0o644
    )
    entry.uid = _user_id(owner)
    entry.gid = _group_id(group)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue(), bool(owner or group)


def _user_id(name: str) -> int:
    if name == "" or name.isdigit():
        return int(name or 0)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        msg = f'could not resolve upload owner "{name}": user: unknown user {name}'
        raise RuntimeError(msg) from error


def _group_id(name: str) -> int:
    if name == "" or name.isdigit():
        return int(name or 0)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        msg = f'could not resolve upload group "{name}": group: unknown group {name}'
        raise RuntimeError(msg) from error


def _body(want: Properties) -> Properties:  # noqa: C901 (a list of settings)
    """Return the API's create request."""
    body: Properties = {
        "Image": want["image"],
        "Hostname": want["hostname"] or "",
        "Domainname": want["domainname"] or "",
        "Tty": bool(want["tty"]),
        "OpenStdin": bool(want["stdinOpen"]),
        "HostConfig": _host_config(want),
    }
    if want["stopSignal"]:
        body["StopSignal"] = want["stopSignal"]
    if want["stopTimeout"]:
        body["StopTimeout"] = want["stopTimeout"]
    if want["envs"]:
        body["Env"] = want["envs"]
    if want["command"]:
        if any(each in ("", None) for each in want["command"]):
            msg = "values for command may not be empty"
            raise RuntimeError(msg)
        body["Cmd"] = want["command"]
    for key, name in (("entrypoints", "Entrypoint"), ("user", "User"), ("workingDir", "WorkingDir")):
        if want[key]:
            body[name] = want[key]
    if want["ports"]:
        body["ExposedPorts"] = {f"{each['internal']}/{each['protocol']}": {} for each in want["ports"]}
    paths = [each["containerPath"] for each in want["volumes"] if each.get("containerPath")]
    if paths:
        body["Volumes"] = {path: {} for path in paths}
    if want["labels"]:
        body["Labels"] = to_map(want["labels"])
    check = want["healthcheck"]
    if check:
        body["Healthcheck"] = {
            "Test": check.get("tests") or [],
            "Interval": _nanoseconds(check["interval"]),
            "Timeout": _nanoseconds(check["timeout"]),
            "StartPeriod": _nanoseconds(check["startPeriod"]),
            "Retries": check["retries"],
        }
        if _nanoseconds(check["startInterval"]):
            body["Healthcheck"]["StartInterval"] = _nanoseconds(check["startInterval"])
    return body


def _host_config(want: Properties) -> Properties:
    host: Properties = {
        "Privileged": bool(want["privileged"]),
        "PublishAllPorts": bool(want["publishAllPorts"]),
        "RestartPolicy": {"Name": want["restart"], "MaximumRetryCount": want["maxRetryCount"] or 0},
        "AutoRemove": bool(want["rm"]),
        "ReadonlyRootfs": bool(want["readOnly"]),
        "LogConfig": {"Type": want["logDriver"] or "", "Config": want["logOpts"] or {}},
        "Mounts": [_mount(each) for each in want["mounts"]],
        "Init": bool(want["init"]),
        **_throttles(want),
    }
    bindings: dict[str, list[dict[str, str]]] = {}
    for each in want["ports"]:
        key = f"{each['internal']}/{each['protocol']}"
        bindings.setdefault(key, []).append({"HostIp": each["ip"] or "", "HostPort": str(known(each["external"]) or 0)})
    simple = {
        "Runtime": want["runtime"],
        "Tmpfs": want["tmpfs"],
        "PortBindings": bindings,
        "ExtraHosts": [f"{each['host']}:{each['ip']}" for each in want["hosts"]],
        "Binds": [_bind(each) for each in want["volumes"] if each.get("volumeName") or each.get("hostPath")],
        "VolumesFrom": [each["fromContainer"] for each in want["volumes"] if each.get("fromContainer")],
        "Ulimits": [{"Name": each["name"], "Soft": each["soft"], "Hard": each["hard"]} for each in want["ulimits"]],
        "Devices": [
            {
                "PathOnHost": each["hostPath"],
                "PathInContainer": each.get("containerPath") or each["hostPath"],
                "CgroupPermissions": each["permissions"],
            }
            for each in want["devices"]
        ],
        "DeviceCgroupRules": want["deviceCgroupRules"],
        "Dns": want["dns"],
        "DnsOptions": want["dnsOpts"],
        "DnsSearch": want["dnsSearches"],
        "Memory": (want["memory"] or 0) * _MEBIBYTE,
        "MemoryReservation": (want["memoryReservation"] or 0) * _MEBIBYTE,
        "MemorySwap": _swap(want["memorySwap"] or 0),
        "ShmSize": (want["shmSize"] or 0) * _MEBIBYTE,
        "CpuShares": want["cpuShares"],
        "CpusetCpus": want["cpuSet"],
        "NetworkMode": want["networkMode"],
        "UsernsMode": want["usernsMode"],
        "PidMode": want["pidMode"],
        "Sysctls": want["sysctls"],
        "IpcMode": want["ipcMode"],
        "GroupAdd": want["groupAdds"],
        "CgroupnsMode": want["cgroupnsMode"],
        "CgroupParent": want["cgroupParent"],
        "StorageOpt": want["storageOpts"],
    }
    host |= {key: value for key, value in simple.items() if value}
    if want["capabilities"]:
        host["CapAdd"] = want["capabilities"].get("adds") or []
        host["CapDrop"] = want["capabilities"].get("drops") or []
    if want["securityOpts"]:
        host["SecurityOpt"] = [each for each in want["securityOpts"] if each != "systempaths=unconfined"]
        if "systempaths=unconfined" in want["securityOpts"]:
            host["MaskedPaths"] = []
            host["ReadonlyPaths"] = []
    if want["cpus"]:
        host["NanoCpus"] = int(float(want["cpus"]) * 10**9)
    else:
        host |= {
            key: value for key, value in (("CpuPeriod", want["cpuPeriod"]), ("CpuQuota", want["cpuQuota"])) if value
        }
    return host


def _bind(volume: Properties) -> str:
    if not volume.get("containerPath"):
        msg = "Unable to parse volumes: volume entry without container path or source container"
        raise RuntimeError(msg)
    mode = "ro" if volume.get("readOnly") else "rw"
    if volume.get("selinuxRelabel"):
        mode += f",{volume['selinuxRelabel']}"
    return f"{volume.get('hostPath') or volume['volumeName']}:{volume['containerPath']}:{mode}"


def _mount(mount: Properties) -> Properties:
    made: Properties = {
        "Type": mount["type"],
        "Target": mount["target"],
        "Source": mount.get("source") or "",
        "ReadOnly": bool(mount.get("readOnly")),
    }
    bind, volume, tmpfs = mount.get("bindOptions"), mount.get("volumeOptions"), mount.get("tmpfsOptions")
    if mount["type"] == "bind" and bind:
        made["BindOptions"] = {"Propagation": bind.get("propagation") or ""}
    if mount["type"] == "volume" and volume:
        if volume.get("subpath"):
            msg = "Setting VolumeOptions.Subpath requires docker version 1.45 or higher"
            raise RuntimeError(msg)
        made["VolumeOptions"] = {
            "NoCopy": bool(volume.get("noCopy")),
            "Labels": to_map(volume.get("labels")),
            "DriverConfig": {"Name": volume.get("driverName") or "", "Options": volume.get("driverOptions") or {}},
        }
    if mount["type"] == "tmpfs" and tmpfs:
        made["TmpfsOptions"] = {"SizeBytes": tmpfs.get("sizeBytes") or 0, "Mode": tmpfs.get("mode") or 0}
    return made


def _seen(found: Properties, state: Properties) -> Properties:  # noqa: C901 (a list of settings)
    """Return an inspected container's properties; those that the state alone knows are left out."""
    config, host, network = found["Config"], found["HostConfig"], found["NetworkSettings"]
    running = found["State"]["Running"]
    seen: Properties = {
        "bridge": network.get("Bridge") or "",
        "networkDatas": _networks(network.get("Networks") or {}),
        "name": found["Name"].lstrip("/"),
        "rm": host["AutoRemove"],
        "readOnly": host["ReadonlyRootfs"],
        "image": found["Image"] if str(known(state.get("image")) or "").startswith("sha256:") else config["Image"],
        "hostname": config["Hostname"],
        "domainname": config["Domainname"],
        "command": config.get("Cmd") or [],
        "entrypoints": config.get("Entrypoint") or [],
        "user": config["User"],
        "dns": host.get("Dns") or [],
        "dnsOpts": host.get("DnsOptions") or [],
        "dnsSearches": host.get("DnsSearch") or [],
        "securityOpts": host.get("SecurityOpt") or [],
        "publishAllPorts": host["PublishAllPorts"],
        "restart": host["RestartPolicy"]["Name"],
        "maxRetryCount": host["RestartPolicy"]["MaximumRetryCount"],
        "init": bool(host.get("Init")),
        "workingDir": config["WorkingDir"],
        "runtime": host["Runtime"],
        "platform": found["Platform"],
        "mounts": [_mount_seen(each) for each in host.get("Mounts") or []],
        "tmpfs": host.get("Tmpfs") or {},
        "hosts": [dict(zip(("host", "ip"), each.split(":", 1), strict=True)) for each in host.get("ExtraHosts") or []],
        "privileged": host["Privileged"],
        "deviceCgroupRules": host.get("DeviceCgroupRules") or [],
        "memory": host["Memory"] // _MEBIBYTE,
        "memoryReservation": host["MemoryReservation"] // _MEBIBYTE,
        "memorySwap": host["MemorySwap"] // _MEBIBYTE if host["MemorySwap"] > 0 else host["MemorySwap"],
        "shmSize": host["ShmSize"] // _MEBIBYTE,
        "cpuShares": host["CpuShares"],
        "cpuSet": host["CpusetCpus"],
        "logDriver": host["LogConfig"]["Type"],
        "logOpts": host["LogConfig"]["Config"] if state.get("logOpts") else {},
        "storageOpts": host.get("StorageOpt") or {},
        "networkMode": host["NetworkMode"],
        "usernsMode": host["UsernsMode"],
        "sysctls": host.get("Sysctls") or {},
        "ipcMode": host["IpcMode"],
        "groupAdds": host.get("GroupAdd") or [],
        "tty": config["Tty"],
        "stdinOpen": config["OpenStdin"],
        "stopSignal": config.get("StopSignal") or "",
        "stopTimeout": config.get("StopTimeout") or 0,
    }
    for key, name in (
        ("deviceReadBps", "BlkioDeviceReadBps"),
        ("deviceReadIops", "BlkioDeviceReadIOps"),
        ("deviceWriteBps", "BlkioDeviceWriteBps"),
        ("deviceWriteIops", "BlkioDeviceWriteIOps"),
    ):
        seen[key] = [{"path": each["Path"], "rate": each["Rate"]} for each in host.get(name) or []]
    if (running or state.get("mustRun")) and state.get("ports"):
        seen["ports"] = _ports(network.get("Ports") or {})
    if not running:
        seen["exitCode"] = found["State"]["ExitCode"]
        if state.get("mustRun"):
            # Shows as a change, and its update starts the container again.
            seen["mustRun"] = False
    if host.get("CapAdd") or host.get("CapDrop"):
        seen["capabilities"] = {"adds": host.get("CapAdd") or [], "drops": host.get("CapDrop") or []}
    if state.get("ulimits"):
        seen["ulimits"] = [
            {"name": each["Name"], "soft": each["Soft"], "hard": each["Hard"]} for each in host.get("Ulimits") or []
        ]
    if state.get("devices"):
        explicit = {each["hostPath"] for each in state["devices"] if each.get("containerPath")}
        seen["devices"] = [
            {
                "hostPath": each["PathOnHost"],
                "permissions": each["CgroupPermissions"],
                **({"containerPath": each["PathInContainer"]} if each["PathOnHost"] in explicit else {}),
            }
            for each in host.get("Devices") or []
        ]
    if host["NanoCpus"] > 0:
        text = f"{host['NanoCpus'] / 10**9:.9f}".rstrip("0")
        seen["cpus"] = text + "0" if text.endswith(".") else text
    if state.get("pidMode"):
        seen["pidMode"] = host["PidMode"]
    check = config.get("Healthcheck")
    if check:
        seen["healthcheck"] = {
            "tests": check.get("Test") or [],
            "interval": duration(check.get("Interval") or 0),
            "timeout": duration(check.get("Timeout") or 0),
            "startPeriod": duration(check.get("StartPeriod") or 0),
            "startInterval": duration(check.get("StartInterval") or 0),
            "retries": check.get("Retries") or 0,
        }
    return seen


def _networks(networks: Properties) -> list[Properties]:
    return [
        {
            "networkName": name,
            "ipAddress": each["IPAddress"],
            "ipPrefixLength": each["IPPrefixLen"],
            "gateway": each["Gateway"],
            "globalIpv6Address": each["GlobalIPv6Address"],
            "globalIpv6PrefixLength": each["GlobalIPv6PrefixLen"],
            "ipv6Gateway": each["IPv6Gateway"],
            "macAddress": each["MacAddress"],
        }
        for name, each in sorted(networks.items())
    ]


def _ports(ports: Properties) -> list[Properties]:
    return [
        {
            "internal": int(name.split("/")[0]),
            "external": int(binding["HostPort"]),
            "ip": binding["HostIp"],
            "protocol": name.split("/")[1],
        }
        for name in sorted(ports, key=lambda each: int(each.split("/")[0]))
        for binding in ports[name] or []
    ]


def _mount_seen(mount: Properties) -> Properties:
    seen: Properties = {
        "target": mount["Target"],
        "source": mount.get("Source") or "",
        "type": mount["Type"],
        "readOnly": bool(mount.get("ReadOnly")),
    }
    bind, volume, tmpfs = mount.get("BindOptions"), mount.get("VolumeOptions"), mount.get("TmpfsOptions")
    if bind:
        seen["bindOptions"] = {"propagation": bind.get("Propagation") or ""}
    if volume:
        seen["volumeOptions"] = {
            "noCopy": bool(volume.get("NoCopy")),
            "labels": [{"label": key, "value": value} for key, value in (volume.get("Labels") or {}).items()],
        }
        driver = volume.get("DriverConfig")
        if driver:
            seen["volumeOptions"] |= {"driverName": driver.get("Name") or "", "driverOptions": driver.get("Options")}
    if tmpfs:
        seen["tmpfsOptions"] = {"sizeBytes": tmpfs.get("SizeBytes") or 0, "mode": tmpfs.get("Mode") or 0}
    return seen
