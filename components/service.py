"""What all containers of the stack have in common, in one place.

A container gets its credentials and configuration as files in a small volume of its own, mounted at
`FILES_PATH`. Files stay out of `docker inspect`, and unlike files in the container's own layer they can be
written with a read-only root file system, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_docker as docker

from components.naming import FILES_PATH, Naming, Role

#: Every input of a volume replaces it, and its data with it. So a data volume stays as it was made.
DATA_VOLUME_IS_KEPT = ["name", "driver", "driverOpts", "labels"]

#: Seconds between two probes of a healthy container; a starting one is probed every second.
PROBE_INTERVAL = 10


@dataclass(frozen=True, slots=True)
class File:
    """A file given to a container before it starts.

    Attributes:
        content: Its text; a secret output keeps it encrypted in the state.
        mode: Permissions as four octal digits.
    """

    content: pulumi.Input[str]
    mode: str = "0400"


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
        uid: User and group id of its processes and the owner of its files.
        networks: Network name → aliases there.
        memory_mb: Memory limit in MiB; there is no swap beyond it.
        probe: Shell command that succeeds when the service is ready; `None` for a job that runs once.
        files: File name → file, under `FILES_PATH`.
        volumes: Path in the container → volume.
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
    stop_signal: str | None = None
    stop_seconds: int = 10
    start_seconds: int = 120
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def service_container(args: ServiceArgs, opts: pulumi.ResourceOptions) -> docker.Container:
    """Declare the container of a service, or of a job that runs once, and the volume with its files.

    The creation of a service's container ends when its probe has succeeded; that of a job when it has ended.
    """
    name, naming = args.role, args.naming
    files = docker.Volume(
        f"{name}-files",
        name=naming.files_volume(name),
        labels=naming.volume_labels(name),
        opts=pulumi.ResourceOptions(parent=opts.parent),
    )
    volumes: dict[str, pulumi.Input[str]] = {**args.volumes, FILES_PATH: files.name}
    is_job = args.probe is None
    return docker.Container(
        name,
        name=naming.container(name),
        image=args.image,
        user=f"{args.uid}:{args.uid}",
        command=args.command,
        entrypoints=args.entrypoint,
        envs=pulumi.Output.all(**args.environment).apply(
            lambda values: sorted(f"{key}={value}" for key, value in values.items())
        )
        if args.environment
        else None,
        uploads=[
            docker.ContainerUploadArgs(
                file=f"{FILES_PATH}/{file_name}",
                content=file.content,
                owner=str(args.uid),
                group=str(args.uid),
                permissions=file.mode,
            )
            for file_name, file in sorted(args.files.items())
        ],
        volumes=[
            docker.ContainerVolumeArgs(container_path=path, volume_name=volume)
            for path, volume in sorted(volumes.items())
        ],
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=network, aliases=sorted(aliases) or None)
            for network, aliases in args.networks
        ],
        ports=[
            docker.ContainerPortArgs(internal=port.internal, external=port.external, ip=port.address)
            for port in sorted(args.ports, key=lambda port: port.internal)
        ],
        labels=naming.container_labels(name, **args.labels),
        memory=args.memory_mb,
        memory_swap=args.memory_mb,
        log_driver="json-file",
        log_opts={"max-file": "3", "max-size": "10m"},
        init=True,
        restart="no" if is_job else "unless-stopped",
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
            # A health check edited in place does not reach the container (terraform-provider-docker#588's kin).
            pulumi.ResourceOptions(delete_before_replace=True, replace_on_changes=["healthcheck"]),
        ),
    )


def _healthcheck(probe: str) -> docker.ContainerHealthcheckArgs:
    """A health check that sees a start within a second and costs next to nothing afterwards.

    Docker knows a separate interval for the start only since version 25, so the probe paces itself: once it has
    succeeded, the next one waits first; after a failure it does not.
    """
    mark = "/tmp/mlflow-stack-healthy"  # noqa: S108 - in the container's own file system, a mark without content
    paced = (
        f"if test -e {mark}; then sleep {PROBE_INTERVAL - 1}; fi; "
        f"if {probe}; then : >{mark}; else rm -f {mark}; exit 1; fi"
    )
    return docker.ContainerHealthcheckArgs(
        tests=["CMD-SHELL", paced], interval="1s", timeout="20s", start_period="1m0s", retries=3
    )
