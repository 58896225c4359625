"""What Debian has newer than what is in an image: its own packages' word, over the mirrors that the image uses.

A container of the image itself asks, so the answer is that of its own sources and of its own installed packages, be
it built here or a vendor's. Nothing of the image changes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import docker

from toolchain.images import throwaway
from toolchain.images.progress import StepFailedError

_STATUS: Final = "/var/lib/dpkg/status"

#: A source that does not answer is an error, never an empty list; so is a set of sources without security updates.
_ASK: Final = """
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
command -v apt-get >/dev/null || { echo "there is no apt in the image" >&2; exit 1; }
apt-get update -qq -o APT::Update::Error-Mode=any -o Acquire::Retries=2 >&2
case "$(apt-get indextargets --format '$(CODENAME)|$(SUITE)' 'Created-By: Packages')" in
    *-security*) ;;
    *) echo "the image's sources hold no security updates" >&2; exit 1 ;;
esac
"""
_SIMULATE: Final = "apt-get -s -qq {action}\n"

#: For each newer package, the flaws that its changelog names, entry by entry; none where it has no such file.
_READ_CHANGELOGS: Final = """
cd "$(mktemp -d)"
apt-get -s -qq dist-upgrade | sed -n 's/^Inst \\([^ ]*\\) \\[[^]]*\\] (\\([^ ]*\\) .*/\\1 \\2/p' >newer
while read -r name version; do
    printf 'Changelog %s %s\\n' "$name" "$(dpkg-query --show --showformat '${source:Version}' "$name")"
    apt-get download -qq "$name=$version" >&2
    for file in changelog.Debian.gz changelog.gz; do
        dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/share/doc/$name/$file" 2>/dev/null | zcat 2>/dev/null |
            grep -E '^[a-z0-9][a-z0-9.+-]+ \\(|CVE-' && break || true
    done
    rm -f ./*.deb
done <newer
"""

_NEWER: Final = re.compile(r"^Inst (\S+) \[(\S+)\] \((\S+) (.*) \[\w+\]\)")
_ENTRY: Final = re.compile(r"^[a-z0-9][a-z0-9.+-]+ \((\S+)\)")
_FLAW: Final = re.compile(r"CVE-\d{4}-\d{4,}")


@dataclass(frozen=True, slots=True)
class Newer:
    """A package of which there is a newer version.

    Attributes:
        package: Its name.
        installed: The version in the image.
        candidate: The version that the mirrors have.
        mends: Whether it comes from a security archive or its changelog names a flaw.
        flaws: The flaws that its changelog names since the installed version, where it was asked for.
    """

    package: str
    installed: str
    candidate: str
    mends: bool
    flaws: tuple[str, ...] = ()


def installed(client: docker.DockerClient, image: str) -> dict[str, str] | None:
    """The packages in an image, by name; None where it is not of Debian's kind. Starts nothing."""
    with tempfile.TemporaryDirectory() as folder:
        status = Path(folder) / "status"
        if not throwaway.copy_out(client, image, _STATUS, status):
            return None
        text = status.read_text(encoding="utf-8", errors="replace")
    found: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.+)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def upgrades(client: docker.DockerClient, image: str) -> list[Newer]:
    """What `apt-get upgrade` would change in an image now.

    Raises:
        StepFailedError: The mirrors could not be asked.
    """
    return parse(throwaway.shell(client, image, _ASK + _SIMULATE.format(action="upgrade"), network=True))


def flaws(client: docker.DockerClient, image: str) -> list[Newer]:
    """Every newer package, kept back or not, with the flaws that its changelog names.

    Raises:
        StepFailedError: The mirrors could not be asked.
    """
    script = _ASK + _SIMULATE.format(action="dist-upgrade") + _READ_CHANGELOGS
    return parse(throwaway.shell(client, image, script, network=True))


def parse(said: str) -> list[Newer]:
    """The packages in what the scripts above print."""
    simulated, *changelogs = said.split("Changelog ")
    named = _named(changelogs)
    found: list[Newer] = []
    for match in filter(None, map(_NEWER.match, simulated.splitlines())):
        package, old, new, archives = match.groups()
        ids = named.get(package, ())
        found.append(Newer(package, old, new, "-security" in archives or bool(ids), ids))
    return sorted(found, key=lambda newer: newer.package)


def _named(changelogs: list[str]) -> Mapping[str, tuple[str, ...]]:
    """Package → flaws in the entries above that of the installed version."""
    found: dict[str, tuple[str, ...]] = {}
    for text in changelogs:
        head, *lines = text.splitlines()
        package, _, version = head.partition(" ")
        ids: set[str] = set()
        for line in lines:
            entry = _ENTRY.match(line)
            if entry and entry[1] == version:
                found[package] = tuple(sorted(ids))
                break
            ids.update(_FLAW.findall(line))
    return found


def reason(failure: StepFailedError) -> str:
    """What apt complained about, in one line: the first thing that it could not get, else its last word."""
    lines = str(failure).strip().splitlines() or ["no reason given"]
    line = next((line for line in lines if "Failed to fetch" in line), lines[-1])
    return line.removeprefix("E: ").removeprefix("W: ")
