"""Decides where the base images come from, and has them there.

The decision is kept in `.local/images.json` and stands until another one is forced: a database must not find itself
on another image because a registry happened to answer today.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import docker

from components.vendor_images import VENDOR_IMAGES
from toolchain import paths
from toolchain.errors import RefusedError
from toolchain.images import docker_host, machine, packages, volumes
from toolchain.images import vendor as vendor_images
from toolchain.images.progress import Report

Source = Literal["packages", "vendor"]
Mode = Literal["auto", "packages", "vendor"]

_FILE = "images.json"
_MODES = ("auto", "packages", "vendor")


@dataclass(frozen=True, slots=True)
class ImageSources:
    """Where the base images come from.

    Attributes:
        source: From packages or from the vendors.
        why: The reason, for people.
        references: Role → reference: `postgresImage`, `gatewayImage`, `pythonImage`, `goImage`, `debianImage`.
        editions: Role → edition, for the images from packages that `make update` made again.
        previous: The editions before the last `make update`.
    """

    source: Source
    why: str
    references: Mapping[str, str]
    editions: Mapping[str, str] = field(default_factory=dict[str, str])
    previous: Mapping[str, str] | None = None


def recorded(local_dir: Path | None = None) -> ImageSources | None:
    """The decision that stands, or nothing before the first one."""
    path = (local_dir or paths.local_dir()) / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    values = cast("dict[str, Any]", content)
    source = values.pop("source", "")
    why = values.pop("why", "")
    if source not in ("packages", "vendor"):
        return None
    editions, previous = values.pop("editions", {}), values.pop("previous", None)
    return ImageSources(source, why, values, editions, previous)


def resolve(
    mode: Mode,
    report: Report,
    client: docker.DockerClient | None = None,
    *,
    local_dir: Path | None = None,
    cache: Path | None = None,
    vendor: Mapping[str, str] = VENDOR_IMAGES,
) -> ImageSources:
    """Decide where the base images come from, have them on the Docker host, and write that down.

    Nothing is built, pulled or written when everything is as it should be; that takes some 50 ms.

    Args:
        mode: `auto`, or the source to force.
        report: Takes one line at a time.
        client: A Docker client; one is made without it.
        local_dir: The folder of `images.json`; the project's `.local` without it.
        cache: The folder for archives and wheels; `images` in the cache root without it.
        vendor: The vendors' references.

    Raises:
        RefusedError: Nothing was touched.
        FailedError: An image can't be had.
    """
    if mode not in _MODES:
        raise RefusedError("IMAGES", str(mode), f"not one of {', '.join(_MODES)}", "IMAGES=auto make up")
    client = client or docker_host.connect()
    local_dir = local_dir or paths.local_dir()
    cache = cache or paths.cache_root() / "images"
    here = machine.look()
    before = recorded(local_dir)
    editions, previous = (before.editions, before.previous) if before else ({}, None)
    built = packages.references(here, editions)

    with lock(cache, report):
        source, why = _choose(mode, before, client, built, vendor)
        wanted = built if source == "packages" else vendor_images.references(here, vendor)
        if before is None or before.references.get("postgresImage") != wanted["postgresImage"]:
            guard_volumes(client, wanted["postgresImage"])
        sources = ImageSources(source, why, wanted, editions, previous)
        if sources == before and all(docker_host.has(client, reference) for reference in wanted.values()):
            report(f"images: {source}: {why}")
            return sources
        report(f"images: {source}: {why}")
        if source == "packages":
            packages.obtain(client, here, cache, report, editions)
        else:
            vendor_images.obtain(client, here, vendor, cache, report)
        record(local_dir, sources)
    return sources


def _choose(
    mode: Mode,
    before: ImageSources | None,
    client: docker.DockerClient,
    built: Mapping[str, str],
    vendor: Mapping[str, str],
) -> tuple[Source, str]:
    """The source, and why."""
    if mode != "auto":
        return mode, f"IMAGES={mode} asks for it"
    if before is not None:
        return before.source, before.why
    if all(docker_host.has(client, reference) for reference in vendor.values()):
        return "vendor", "the vendors' images are on this Docker host"
    if all(docker_host.has(client, reference) for reference in built.values()):
        return "packages", "images built from packages are on this Docker host"
    trouble = docker_host.registry_answers(vendor["debianImage"])
    if trouble:
        return "packages", f"the registry can't be used ({trouble})"
    return "vendor", "the registry answers"


def guard_volumes(client: docker.DockerClient, reference: str) -> None:
    """Refuse an image of an earlier major than an existing data volume is of; to a later one, `up` moves the data."""
    major = volumes.major_of(reference)
    for volume, majors in volumes.postgres_majors(client).items():
        if major is not None and majors and major < max(majors):
            held = ", ".join(str(number) for number in sorted(majors))
            raise RefusedError(
                "postgresImage",
                reference,
                f"volume {volume} holds data of PostgreSQL {held}, which version {major} can't read",
                f"pulumi config set postgresImage AN_IMAGE_OF_POSTGRESQL_{max(majors)}",
            )


def record(local_dir: Path, sources: ImageSources) -> None:
    """Write the decision down, all of it or nothing."""
    local_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    content: dict[str, object] = {"source": sources.source, "why": sources.why, **sources.references}
    if sources.editions:
        content["editions"] = dict(sources.editions)
    if sources.previous is not None:
        content["previous"] = dict(sources.previous)
    descriptor, name = tempfile.mkstemp(dir=local_dir, prefix=f"{_FILE}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(local_dir / _FILE)


@contextmanager
def lock(cache: Path, report: Report) -> Generator[None]:
    """One run at a time builds or pulls, whatever checkout it belongs to. A killed run's lock goes with it."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("images: waiting for another run that makes them")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
