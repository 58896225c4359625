"""The names and values in what `docker inspect` shows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rules.container import CONTAINER
from rules.resource import Path, Resource

#: Type → where its resources hold text that anybody on the Docker host reads. A list of words is a command line; a list
#: of labels or a map is names with values.
_VISIBLE: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    CONTAINER: (("envs",), ("command",), ("entrypoints",), ("labels",), ("healthcheck", "tests")),
    "docker:index/volume:Volume": (("labels",), ("driverOpts",)),
    "docker:index/network:Network": (("labels",), ("options",)),
    "docker:index/image:Image": (("build", "args"),),
}


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text that `docker inspect` shows.

    Attributes:
        where: The input, for a message.
        path: Its place in the inputs.
        text: What it is; an entry of a map or a label as `name=value`.
    """

    where: str
    path: Path
    text: str


def texts(resource: Resource) -> Iterator[Text]:
    """Everything readable that is known already."""
    for path in _VISIBLE.get(resource.type, ()):
        value: Any = resource.props
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        for key, text in _flat(value):
            yield Text(".".join(path), (*path, key), text)


def _flat(value: object) -> Iterator[tuple[str | int, str]]:
    """The entries of a list of texts or of labels, or of a map, each with its key."""
    if isinstance(value, Mapping):
        entries: Mapping[str, object] = value
        yield from ((name, f"{name}={entry}") for name, entry in entries.items() if isinstance(entry, str))
    if isinstance(value, list):
        items: list[Any] = value
        for number, item in enumerate(items):
            if isinstance(item, str):
                yield number, item
            elif isinstance(item, Mapping) and isinstance(item.get("value"), str):
                yield number, f"{item.get('label')}={item['value']}"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A name that is given a value.

    Attributes:
        where: The input it stands in.
        name: The name, without the dashes of a flag.
        value: The value.
    """

    where: str
    name: str
    value: str


_COMMAND_LINES: Final = frozenset({"command", "entrypoints", "healthcheck.tests"})
_QUOTES: Final = "\"'"


def assignments(resource: Resource) -> Iterator[Assignment]:
    """Every name with a value: variables, labels, options, and the flags of command lines."""
    for where, group in itertools.groupby(texts(resource), key=lambda text: text.where):
        lines = [text.text for text in group]
        if where in _COMMAND_LINES:
            yield from _flags(where, " ".join(lines).split())
        else:
            for line in lines:
                name, _, value = line.partition("=")
                yield Assignment(where, name, value)


def _flags(where: str, words: list[str]) -> Iterator[Assignment]:
    """`NAME=VALUE`, `--name=VALUE`, `--name VALUE`."""
    for word, following in itertools.pairwise([*words, ""]):
        plain = word.strip(_QUOTES)
        name, equals, value = plain.lstrip("-").partition("=")
        if equals:
            yield Assignment(where, name, value.strip(_QUOTES))
        elif plain.startswith("-") and not following.startswith("-"):
            yield Assignment(where, name, following.strip(_QUOTES))


_WITH_PASSWORD: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@${][^/\s@]*@", re.IGNORECASE)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def holds_credential(text: str) -> str | None:
    """What kind of credential a text shows by its form alone; None if it shows none."""
    if _WITH_PASSWORD.search(text):
        return "a URL with a password"
    return "a private key" if _PRIVATE_KEY.search(text) else None
