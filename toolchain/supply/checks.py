"""The three questions about an image, each to the source that knows: Debian, the package index, the Go project."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import docker

from toolchain.images import apt, throwaway
from toolchain.images.progress import StepFailedError
from toolchain.supply import govulncheck, pip_audit
from toolchain.supply.contents import Contents, look
from toolchain.supply.finding import Finding, NotCheckedError
from toolchain.supply.images import StackImage


@dataclass
class Report:
    """What is known of an image.

    Attributes:
        image: The image.
        findings: Its known flaws.
        checked: What was checked, and by whose word.
        unchecked: What was not, and why.
    """

    image: StackImage
    findings: list[Finding] = field(default_factory=list[Finding])
    checked: list[str] = field(default_factory=list[str])
    unchecked: list[str] = field(default_factory=list[str])


def check(client: docker.DockerClient, images: Iterable[StackImage]) -> list[Report]:
    """Ask every source about every image. A source that can't be asked is said to be so, in the image's report."""
    reports = [Report(image) for image in images]
    with ThreadPoolExecutor() as pool:
        debian = pool.submit(_debian, client, reports)
        _others(client, reports)
        debian.result()
    return reports


def _debian(client: docker.DockerClient, reports: list[Report]) -> None:
    # Images with the same packages get the same answer.
    alike: dict[frozenset[tuple[str, str]], list[Report]] = {}
    for report in reports:
        packages = apt.installed(client, report.image.id)
        if packages is None:
            report.unchecked.append("system packages: the image is not of Debian's kind")
        else:
            alike.setdefault(frozenset(packages.items()), []).append(report)
    with ThreadPoolExecutor() as pool:
        answers = [(pool.submit(apt.flaws, client, group[0].image.id), held, group) for held, group in alike.items()]
        for answer, held, group in answers:
            try:
                newer = answer.result()
            except StepFailedError as failure:
                for report in group:
                    report.unchecked.append(f"{len(held)} Debian packages: {apt.reason(failure)}")
                continue
            for report in group:
                report.checked.append(f"{len(held)} Debian packages, by Debian's own mirrors")
                report.findings += [_of_debian(one) for one in newer if one.mends]
                only_newer = sum(not one.mends for one in newer)
                if only_newer:
                    report.checked.append(f"{only_newer} of them have newer versions that mend no known flaw")


def _of_debian(newer: apt.Newer) -> Finding:
    named = ", ".join(newer.flaws) or "a security update whose changelog names no flaw"
    return Finding("deb", newer.package, newer.installed, newer.candidate, named)


def _others(client: docker.DockerClient, reports: list[Report]) -> None:
    held: list[tuple[Report, Contents]] = []
    for report in reports:
        try:
            held.append((report, look(client, report.image.id)))
        except StepFailedError as failure:
            report.unchecked.append(f"Python packages and Go programs: {apt.reason(failure)}")
    _python([(report, found.python) for report, found in held if found.python])
    _go(client, [(report, found.go) for report, found in held if found.go])


def _python(held: list[tuple[Report, tuple[tuple[str, str], ...]]]) -> None:
    if not held:
        return
    try:
        answer = pip_audit.check(package for _, packages in held for package in packages)
    except NotCheckedError as error:
        for report, packages in held:
            report.unchecked.append(f"{len(packages)} Python packages: {error}")
        return
    for report, packages in held:
        names: Mapping[str, str] = dict(packages)
        known = [name for name in names if name not in answer.skipped]
        report.checked.append(f"{len(known)} Python packages, by {answer.source}")
        report.unchecked += [f"{name} {names[name]}: {why}" for name, why in answer.skipped.items() if name in names]
        report.findings += [finding for finding in answer.findings if names.get(finding.package) == finding.installed]


def _go(client: docker.DockerClient, held: list[tuple[Report, tuple[str, ...]]]) -> None:
    if not held:
        return
    try:
        checker = govulncheck.Checker()
    except NotCheckedError as error:
        for report, programs in held:
            report.unchecked += [f"{program}: {error}" for program in programs]
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "program"
        for report, programs in held:
            for program in programs:
                try:
                    throwaway.copy_out(client, report.image.id, program, copy)
                    report.findings += checker.check(copy)
                except NotCheckedError as error:
                    report.unchecked.append(f"{program}: {error}")
                else:
                    report.checked.append(f"{program}, by the Go project's list of {checker.as_of}")
