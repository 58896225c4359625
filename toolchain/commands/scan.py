"""`scan`: the known flaws in each image that the stack runs, and what could not be checked. Changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from toolchain import engine
from toolchain.docker_objects import Objects
from toolchain.errors import DONE, FAILED, FailedError
from toolchain.session import check_name

if TYPE_CHECKING:
    from toolchain.supply import checks

#: What no source that can be asked over package mirrors knows.
_NEVER: Final = (
    "PostgreSQL itself, where it is no Debian package",
    "flaws that Debian has no update for yet",
    "compiled libraries that come inside of wheels",
)


def run(stack: str) -> int:
    """Run the command; its exit code is 1 when a flaw is found that has a fix.

    Raises:
        RefusedError: The stack runs nothing.
        FailedError: Nothing could be checked at all.
    """
    from toolchain.images import docker_host, recorded  # noqa: PLC0415 - imports a Docker client
    from toolchain.supply import checks, images  # noqa: PLC0415 - the same

    check_name(stack)
    engine.require()
    found = images.of(Objects(stack.rpartition("/")[2]))
    sources = recorded()
    reports = checks.check(docker_host.connect(), found)
    for report in reports:
        print("\n".join(_lines(report, from_packages=sources is None or sources.source == "packages")), flush=True)
    for what in _NEVER:
        print(f"never checked: {what}")
    if not any(report.checked for report in reports):
        raise FailedError("scan", stack, "no source could be asked; the lines above tell why", "make scan, later")
    fixable = sum(bool(finding.fixed) for report in reports for finding in report.findings)
    unfixed = sum(len(report.findings) for report in reports) - fixable
    gaps = sum(len(report.unchecked) for report in reports)
    print(
        f"known flaws with a fix: {fixable}, without one: {unfixed}"
        + (f"; not checked: {gaps}, so this is not the whole picture" if gaps else "")
    )
    return FAILED if fixable else DONE


def _lines(report: checks.Report, *, from_packages: bool) -> Iterator[str]:
    from toolchain.supply.mends import mend  # noqa: PLC0415 - imports a Docker client

    yield report.image.title
    for what in sorted(report.checked):
        yield f"  checked: {what}"
    for what in report.unchecked:
        yield f"  not checked: {what}"
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding in sorted(report.findings):
        change = f"{finding.package} {finding.installed} -> {finding.fixed or '(no fix)'}"
        grouped[mend(finding, report.image, from_packages=from_packages), change].append(finding.id)
    for action in sorted({action for action, _ in grouped}):
        yield f"  mend: {action}"
        yield from (f"    {change}: {', '.join(ids)}" for (group, change), ids in grouped.items() if group == action)
