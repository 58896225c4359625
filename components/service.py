"""What all containers of the stack have in common, in one place.

A container gets its credentials and configuration as files in a small volume of its own, mounted read-only at
`FILES_PATH`. Files stay out of `docker inspect`. They are written through a second container, which is never started:
Docker takes no files for a container whose root file system is read-only (see
`docs/decisions/files-in-a-volume.md`).

What a container may do is here, too: `docs/hardening.md` lists it, and a test holds each container to that list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_docker as docker

from components import labels
from components.naming import FILES_PATH, Naming, Role

#: Every input of a volume replaces it, and its data with it. So a data volume stays as it was made.
DATA_VOLUME_IS_KEPT = ["name", "driver", "driverOpts", "labels"]

#: An edit of these reaches the state, but not the container (seen on the official plugin). `networkDatas` is an
#: output: empty in the state of a container whose start failed, so that the next `up` makes it again.
_REPLACE_ON_CHANGES = ["healthcheck", "init", "networkDatas", "tmpfs"]

#: Seconds between two probes of a healthy container; a starting one is probed every second.
PROBE_INTERVAL = 30

#: Processes and threads that the user of a container may have on the Docker host. The Docker provider has no input for
#: the limit of a container's control group; this one counts all containers of a user together, those of other stacks
#: on the host among them.
MAX_PROCESSES = 4096


def memory_folder(size_mb: int, *, uid: int | None = None, mode: str = "1777") -> str:
    """Mount options of a folder in memory: where a container writes what nobody keeps.

    Args:
        size_mb: Its limit in MiB; what is in it counts as memory of the container.
        uid: Its owner; root without one.
        mode: Permissions in octal digits.
    """
    owner = "" if uid is None else f",uid={uid},gid={uid}"
    return f"rw,noexec,nosuid,nodev,size={size_mb}m,mode={mode}{owner}"


#: Enough for small temporary files.
_TMP = {"/tmp": memory_folder(16)}  # noqa: S108 - in the container's own memory


#: Logs are rotated: a container keeps 30 MB of them at most.
_LOGS: Any = {"log_driver": "json-file", "log_opts": {"max-file": "3", "max-size": "10m"}}


#: The container itself, where nobody answers. Docker knows the containers of a network by name all the same.
NO_RESOLVER = ("127.0.0.1",)


@dataclass(frozen=True, slots=True)
class File:
    """A file given to a container before it starts.

    Attributes:
        content: Its text; a secret output keeps it encrypted in the state.
        mode: Permissions as four octal digits. The file is root's: Docker looks an owner up among the users of its own
            host, where the container's user is unknown. So it must be readable by others, of whom a container of
            one user has none.
    """

    content: pulumi.Input[str]
    mode: str = "0444"


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the container, published on an address of the host."""

    internal: int
    external: int
    address: str


@dataclass(frozen=True, slots=True)
class ServiceArgs:
    """One container of the stack.

    Attributes:
        naming: The stack's names.
        role: Which part of the stack it is.
        image: Reference of its image; a change replaces the container.
        uid: User and group id of its processes.
        networks: Network name → aliases there.
        memory_mb: Memory limit in MiB; there is no swap beyond it.
        entrypoint: Entry point with its arguments; not together with `command`. A container with both set is taken as
            it is by the `up` after one whose start failed; one with either unset is made again (seen on the official
            plugin).
        probe: Shell command that succeeds when the service is ready; `None` for a job that runs once.
        files: File name → file, under `FILES_PATH`.
        volumes: Path in the container → volume.
        folders: Path in the container → folder of the Docker host.
        tmpfs: Path in the container → mount options (see `memory_folder`). Nothing else but `volumes` can be written.
        capabilities: Capabilities that it needs; all others are dropped.
        looks_up_names: Whether it may ask the Docker host's resolver for names that are not the stack's: a way out for
            what is put into a name. Containers on its networks are found without.
        stop_seconds: Grace between the stop signal and the kill.
    """

    naming: Naming
    role: Role
    image: pulumi.Input[str]
    uid: int
    networks: Sequence[tuple[pulumi.Input[str], Sequence[str]]]
    memory_mb: int
    probe: str | None
    command: Sequence[str] | None = None
    entrypoint: Sequence[str] | None = None
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    files: Mapping[str, File] = field(default_factory=dict[str, File])
    ports: Sequence[PublishedPort] = ()
    volumes: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    folders: Mapping[str, str] = field(default_factory=dict[str, str])
    tmpfs: Mapping[str, str] = field(default_factory=lambda: dict(_TMP))
    capabilities: Sequence[str] = ()
    looks_up_names: bool = False
    stop_signal: str | None = None
    stop_seconds: int = 10
    start_seconds: int = 120
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def service_container(args: ServiceArgs, opts: pulumi.ResourceOptions) -> docker.Container:
    """Declare the container of a service, or of a job that runs once, and the volume with its files.

    The creation of a service's container ends when its probe has succeeded; that of a job when it has ended.
    """
    name, naming = args.role, args.naming
    files = _files(args, opts)
    volumes = [
        docker.ContainerVolumeArgs(container_path=path, volume_name=volume)
        for path, volume in sorted(args.volumes.items())
    ]
    volumes += [
        docker.ContainerVolumeArgs(container_path=path, host_path=folder)
        for path, folder in sorted(args.folders.items())
    ]
    is_job = args.probe is None
    return docker.Container(
        name,
        name=naming.container(name),
        image=args.image,
        user=f"{args.uid}:{args.uid}",
        command=args.command,
        entrypoints=args.entrypoint,
        # One output a variable: a preview can then tell that a list changes in which one value is not known yet.
        envs=[_variable(key, value) for key, value in sorted(args.environment.items())] or None,
        volumes=[
            *volumes,
            docker.ContainerVolumeArgs(container_path=FILES_PATH, volume_name=files.volume, read_only=True),
        ],
        tmpfs=dict(sorted(args.tmpfs.items())),
        read_only=True,
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"], adds=sorted(args.capabilities) or None),
        security_opts=["no-new-privileges:true"],
        ulimits=[docker.ContainerUlimitArgs(name="nproc", soft=MAX_PROCESSES, hard=MAX_PROCESSES)],
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=network, aliases=sorted(aliases) or None)
            for network, aliases in args.networks
        ],
        dns=None if args.looks_up_names else list(NO_RESOLVER),
        ports=[
            docker.ContainerPortArgs(internal=port.internal, external=port.external, ip=port.address)
            for port in sorted(args.ports, key=lambda port: port.internal)
        ],
        # The id of the container that brought the files: a property dependency, the only kind by which Pulumi stops
        # this one before it replaces the other, and replaces this one with it.
        labels=labels.of_container(naming, name, files=files.written, **args.labels),
        memory=args.memory_mb,
        memory_swap=args.memory_mb,
        **_LOGS,
        init=True,
        # Not "unless-stopped": a daemon that was killed and starts again stops what it finds alive, and takes that for
        # the user's wish.
        restart="no" if is_job else "always",
        must_run=not is_job,
        attach=is_job,
        logs=is_job,
        stop_signal=args.stop_signal,
        stop_timeout=args.stop_seconds,
        destroy_grace_seconds=args.stop_seconds,
        wait=not is_job,
        wait_timeout=args.start_seconds,
        healthcheck=None if args.probe is None else _healthcheck(args.probe),
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(delete_before_replace=True, replace_on_changes=_REPLACE_ON_CHANGES),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a container: the volume they are in, and the id of the container that wrote them there."""

    volume: pulumi.Output[str]
    written: pulumi.Output[str]


def _files(args: ServiceArgs, opts: pulumi.ResourceOptions) -> _Files:
    """Declare the volume of a container's files and the container through which they are written.

    That container only exists: Docker takes files for one that never ran. It is the one that is not read-only.
    """
    name = f"{args.role}-files"
    volume = docker.Volume(
        name,
        name=args.naming.files_volume(args.role),
        labels=labels.of_volume(args.naming, args.role),
        opts=pulumi.ResourceOptions(parent=opts.parent),
    )
    writer = docker.Container(
        name,
        name=args.naming.files_container(args.role),
        image=args.image,
        user=f"{args.uid}:{args.uid}",
        start=False,
        must_run=False,
        restart="no",
        network_mode="none",
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        security_opts=["no-new-privileges:true"],
        uploads=[
            docker.ContainerUploadArgs(file=f"{FILES_PATH}/{file_name}", content=file.content, permissions=file.mode)
            for file_name, file in sorted(args.files.items())
        ],
        volumes=[docker.ContainerVolumeArgs(container_path=FILES_PATH, volume_name=volume.name)],
        labels=labels.of_container(args.naming, name),
        **_LOGS,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    )
    return _Files(volume.name, writer.id)


def _variable(key: str, value: pulumi.Input[str]) -> pulumi.Input[str]:
    return f"{key}={value}" if isinstance(value, str) else pulumi.Output.concat(key, "=", value)


def http_probe(port: int, path: str) -> str:
    """A shell command that succeeds when a GET on the container's own port answers 200.

    bash opens the connection itself: the images have neither curl nor wget, and starting Python for every probe would
    cost more than the services idle at.
    """
    request = f"GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n"
    return (
        f'bash -c \'exec 3<>/dev/tcp/127.0.0.1/{port} && printf "{request}" >&3 && '
        'read -r -t 10 status <&3 && [[ $status == *" 200 "* ]]\''
    )


def _healthcheck(probe: str) -> docker.ContainerHealthcheckArgs:
    """A health check that sees a start within a second and costs next to nothing afterwards.

    Docker knows a separate interval for the start only since version 25, so the probe paces itself: once it has
    succeeded, the next one waits first; after a failure it does not.
    """
    mark = "/dev/shm/mlflow-stack-healthy"  # noqa: S108 - in the container's own memory, gone with every start
    paced = (
        f"if test -e {mark}; then sleep {PROBE_INTERVAL - 1}; fi; "
        f"if {probe}; then : >{mark}; else rm -f {mark}; exit 1; fi"
    )
    return docker.ContainerHealthcheckArgs(
        tests=["CMD-SHELL", paced], interval="1s", timeout="45s", start_period="1m0s", retries=3
    )
