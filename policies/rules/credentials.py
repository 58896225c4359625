"""No credential stands where everybody on the Docker host, or everybody with the state, reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from rules.assignments import assignments, holds_credential, texts
from rules.container import CONTAINER
from rules.resource import UNKNOWN, Path, Resource
from rules.rule import Finding, ResourceRule, StackRule

_CREDENTIAL: Final = re.compile(r"PASSW(?:OR)?D|PASSPHRASE|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)
_NAMES_A_FILE: Final = re.compile(r"FILE$", re.IGNORECASE)

#: Two steps at least: a random value that begins with `/` has rarely a second one.
_ABSOLUTE_PATH: Final = re.compile(r"(?:/[\w.@-]+){2,}/?")
_SWITCH: Final = re.compile(r"true|false|yes|no|on|off|0|1", re.IGNORECASE)
#: Filled in where the container runs, from what is not in its configuration.
_SHELL_VARIABLE: Final = re.compile(r"\$.*")

_HARMLESS: Final = (re.compile(""), _ABSOLUTE_PATH, _SWITCH, _SHELL_VARIABLE)

_MEND: Final = "give it as a secret file (uploads), and the file's path in a variable that ends in _FILE"

#: The input of a container that `docker inspect` does not show, and where it holds the content of a file.
_UNSEEN: Final = "uploads"
UPLOADED: Final = ("content", "contentBase64")


def is_credential(name: str, value: str) -> bool:
    """Whether a value looks like a credential by the name it is given."""
    if not _CREDENTIAL.search(name) or _NAMES_A_FILE.search(name):
        return False
    return not any(form.fullmatch(value) for form in _HARMLESS)


def in_sight(resource: Resource) -> Iterator[Finding]:
    """A credential that `docker inspect` shows: by its name, by its form, or by the mark of a secret."""
    for assignment in assignments(resource):
        if is_credential(assignment.name, assignment.value):
            yield Finding(
                resource,
                f"{assignment.where}: {assignment.name}=(hidden)",
                "docker inspect shows it to everybody on the host; only the path of a file may stand there",
                _MEND,
            )
    for text in texts(resource):
        if kind := holds_credential(text.text):
            yield Finding(
                resource,
                f"{text.where}: (hidden)",
                f"docker inspect shows {kind} to everybody on the host; none may stand there",
                _MEND,
            )
    if resource.type == CONTAINER:
        for key in sorted({str(path[0]) for path in resource.secret} - {_UNSEEN}):
            yield Finding(
                resource,
                f"{key}: (hidden)",
                "is marked as secret, but docker inspect shows it to everybody on the host; only uploads may be secret",
                _MEND,
            )


def in_plain_files(resource: Resource) -> Iterator[Finding]:
    """A file that is a credential by its name and whose content the state keeps in plain text."""
    if resource.type != CONTAINER:
        return
    for number, upload in enumerate(resource.listed("uploads")):
        name = PurePosixPath(str(upload.get("file"))).name
        for key in UPLOADED:
            place: Path = (_UNSEEN, number, key)
            is_there = upload.get(key) not in {None, "", UNKNOWN}
            if is_there and _CREDENTIAL.search(name) and not is_marked(resource, place):
                yield Finding(
                    resource,
                    f"uploads: {name}",
                    "its name says credential, but its content is not secret, so the state holds it in plain text; "
                    "only a secret output may be its content",
                    "pulumi.Output.secret(…), or config.require_secret(…)",
                )


def is_marked(resource: Resource, place: Path) -> bool:
    """Whether an input, or one that it is part of, is marked as secret."""
    return any(place[: len(path)] == path for path in resource.secret)


def elsewhere_secret(resources: Sequence[Resource], values: frozenset[str]) -> Iterator[Finding]:
    """A value in sight that is marked as secret where another resource takes it."""
    for resource in resources:
        for text in texts(resource):
            if not is_marked(resource, text.path) and any(value in text.text for value in values):
                yield Finding(
                    resource,
                    f"{text.where}: (hidden)",
                    "holds the value of another resource's secret input, and docker inspect shows it to everybody on "
                    "the host; none may stand there",
                    _MEND,
                )


RULES: Final = (
    ResourceRule(
        "no-credential-in-sight",
        "No credential stands in an environment, a command line or a label, where docker inspect shows it.",
        in_sight,
        sees_secrets=True,
    ),
    ResourceRule(
        "no-credential-in-plain-files",
        "A file that is a credential by its name has a secret content.",
        in_plain_files,
        sees_secrets=True,
    ),
    StackRule(
        "no-secret-of-another-in-sight",
        "No secret input of one resource stands in plain text in another one.",
        elsewhere_secret,
    ),
)
