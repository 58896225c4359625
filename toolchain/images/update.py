"""Base images again, where Debian has newer packages than they hold.

Only what is outdated is made again, beside the present one and under a new tag. The stack's program reads the tags
from `.local/images.json`, which is written last and at once: until then nothing has changed, and a run that was killed
goes on from the images that it finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import docker
import docker.errors

from toolchain import paths
from toolchain.errors import FailedError, RefusedError
from toolchain.images import apt, debian, docker_host, machine, packages, resolver
from toolchain.images.progress import Report, StepFailedError

_BASE: Final = "debianImage"
_UNKNOWN: Final = RefusedError(
    "images", "not chosen yet", "there are no base images that could be outdated", "make up, which has them"
)


@dataclass(frozen=True, slots=True)
class Change:
    """An image that was made again.

    Attributes:
        role: Its key in `.local/images.json`.
        before: Its tag until now.
        after: Its new tag.
        packages: Package → its versions before and after; nothing for one that was not there.
    """

    role: str
    before: str
    after: str
    packages: Mapping[str, tuple[str, str]]


def update(
    report: Report,
    client: docker.DockerClient | None = None,
    *,
    local_dir: Path | None = None,
    cache: Path | None = None,
) -> list[Change]:
    """Make the base images again that are outdated.

    Args:
        report: Takes one line at a time.
        client: A Docker client; one is made without it.
        local_dir: The folder of `images.json`; the project's `.local` without it.
        cache: The folder for archives and wheels; `images` in the cache root without it.

    Returns:
        What changed; nothing when everything is up to date, or comes from the vendors.

    Raises:
        RefusedError: No base image was chosen yet.
        FailedError: The mirrors can't be asked, or an image can't be made.
    """
    client = client or docker_host.connect()
    local_dir = local_dir or paths.local_dir()
    cache = cache or paths.cache_root() / "images"
    here = machine.look()
    with resolver.lock(cache, report):
        before = resolver.recorded(local_dir)
        if before is None:
            raise _UNKNOWN
        if before.source == "vendor":
            return []
        present = packages.obtain(client, here, cache, report, before.editions)
        outdated = _outdated(client, present)
        if not outdated:
            return []
        editions = dict(before.editions) | {
            role: _edition(client, present[role], newer) for role, newer in outdated.items()
        }
        if before.references.get("postgresImage") != present["postgresImage"]:  # the recipe changed since
            resolver.guard_volumes(client, present["postgresImage"])
        for role, newer in outdated.items():
            report(f"  {present[role]} is outdated: newer packages: {len(newer)}")
        made = packages.obtain(client, here, cache, report, editions)
        held = {role: _installed(client, made[role]) for role in made}
        stale = _stale(outdated, held)
        if stale:
            for role in reversed(made):
                if made[role] != present[role]:
                    with suppress(docker.errors.APIError):  # somebody runs it already
                        client.images.remove(made[role])
            if _BASE in outdated:
                debian.archive_of(here, cache, editions[_BASE]).unlink(missing_ok=True)
            raise FailedError(
                stale.package,
                stale.installed,
                f"the mirror promised {stale.candidate} and then gave the old one; nothing was changed",
                "make update, in an hour",
            )
        changes = [
            Change(role, present[role], made[role], _difference(_installed(client, present[role]), held[role]))
            for role in made
            if made[role] != present[role]
        ]
        resolver.record(local_dir, replace(before, references=made, editions=editions, previous=before.editions))
    return changes


def go_back(
    report: Report,
    client: docker.DockerClient | None = None,
    *,
    local_dir: Path | None = None,
    cache: Path | None = None,
) -> list[Change]:
    """Take the images from before the last update again.

    Raises:
        RefusedError: There was no update, or one of those images is gone.
    """
    client = client or docker_host.connect()
    local_dir = local_dir or paths.local_dir()
    with resolver.lock(cache or paths.cache_root() / "images", report):
        now = resolver.recorded(local_dir)
        if now is None:
            raise _UNKNOWN
        if now.previous is None or now.source != "packages":
            raise RefusedError("BACK", "1", "there was no make update to go back from", "make update")
        earlier = packages.references(machine.look(), now.previous)
        for reference in earlier.values():
            if not docker_host.has(client, reference):
                raise RefusedError("BACK", reference, "this image is not on the Docker host any more", "make update")
        changes = [
            Change(
                role,
                now.references[role],
                earlier[role],
                _difference(_installed(client, now.references[role]), _installed(client, earlier[role])),
            )
            for role in earlier
            if earlier[role] != now.references[role]
        ]
        resolver.record(local_dir, replace(now, references=earlier, editions=now.previous, previous=None))
    return changes


def _outdated(client: docker.DockerClient, present: Mapping[str, str]) -> dict[str, list[apt.Newer]]:
    """Role → newer packages, without those that come from the base: making that again mends them all."""
    # Where an image adds no packages of its own, the answer is that for its base.
    alike: dict[frozenset[tuple[str, str]], str] = {}
    for role, reference in sorted(present.items(), key=lambda item: item[0] != _BASE):
        alike.setdefault(frozenset(_installed(client, reference).items()), role)
    roles = list(alike.values())
    with ThreadPoolExecutor(len(roles)) as pool:
        try:
            found = dict(
                zip(roles, pool.map(lambda role: apt.upgrades(client, present[role]), roles), strict=True),
            )
        except StepFailedError as failure:
            raise FailedError(
                "package mirrors",
                "can't be asked",
                f"nothing was changed: {apt.reason(failure)}",
                "make update, when they can be reached from containers",
            ) from failure
    of_base = set(found[_BASE])
    own = {
        role: newer if role == _BASE else [one for one in newer if one not in of_base] for role, newer in found.items()
    }
    return {role: newer for role, newer in own.items() if newer}


def _edition(client: docker.DockerClient, reference: str, newer: Iterable[apt.Newer]) -> str:
    """A name for what an image will hold: the same in every checkout that finds the same."""
    held = _installed(client, reference) | {one.package: one.candidate for one in newer}
    return hashlib.sha256(repr(sorted(held.items())).encode()).hexdigest()[:12]


def _stale(outdated: Mapping[str, list[apt.Newer]], held: Mapping[str, Mapping[str, str]]) -> apt.Newer | None:
    """A package that should be newer and is not: mirrors behind one name may be hours apart."""
    return next(
        (one for role, newer in outdated.items() for one in newer if held[role].get(one.package) == one.installed), None
    )


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Package → versions, for those that differ."""
    names = sorted({*before, *after})
    return {name: (before.get(name, ""), after.get(name, "")) for name in names if before.get(name) != after.get(name)}


def _installed(client: docker.DockerClient, reference: str) -> dict[str, str]:
    return apt.installed(client, reference) or {}
