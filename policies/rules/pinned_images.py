"""Every image is one that cannot become another under the same name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rules.container import CONTAINER
from rules.resource import Resource
from rules.rule import Finding, ResourceRule

#: By digest, by id, or built here under a tag that is a hash of its content (see `components/build_context.py`).
_PINNED: Final = (
    re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}"),
    re.compile(r"sha256:[0-9a-f]{64}"),
    re.compile(r"local/[a-z0-9._/-]+:[\w.-]+-[0-9a-f]{12,64}"),
)


def is_pinned(reference: str) -> bool:
    """Whether a reference always names the same image."""
    return any(form.fullmatch(reference) for form in _PINNED)


def _run(container: Resource) -> Iterator[tuple[str, object]]:
    yield "image", container.props.get("image")


def _pulled(image: Resource) -> Iterator[tuple[str, object]]:
    yield "name", image.props.get("name")


def _built(image: Resource) -> Iterator[tuple[str, object]]:
    """An image's own name, and the images it is built upon: they go by build arguments that end in `IMAGE`."""
    yield "imageName", image.props.get("imageName")
    build = image.props.get("build")
    arguments: Any = build.get("args") if isinstance(build, dict) else None
    for name, value in sorted(arguments.items()) if isinstance(arguments, dict) else ():
        if name.upper().endswith("IMAGE"):
            yield f"build.args.{name}", value


#: Type → the references that its resources name.
_REFERENCES: Final[Mapping[str, Callable[[Resource], Iterator[tuple[str, object]]]]] = {
    CONTAINER: _run,
    "docker:index/remoteImage:RemoteImage": _pulled,
    "docker:index/image:Image": _built,
}


def _none(_: Resource) -> Iterator[tuple[str, object]]:
    yield from ()


def unpinned(resource: Resource) -> Iterator[Finding]:
    """A reference that may name another image tomorrow. The id of an image that is not made yet passes for now."""
    for where, reference in _REFERENCES.get(resource.type, _none)(resource):
        if isinstance(reference, str) and not is_pinned(reference):
            yield Finding(
                resource,
                f"{where}: {reference}",
                "names another image whenever its tag is moved; a digest (NAME@sha256:…), an image id (sha256:…) or an "
                "image of this program's own (local/NAME:VERSION-HASH) does not",
                f"take its digest: docker image inspect --format '{{{{.RepoDigests}}}}' {reference}",
            )


RULES: Final = (
    ResourceRule(
        "no-unpinned-image",
        "Every image is pinned by digest, by id, or by a tag that is a hash of its content.",
        unpinned,
    ),
)
