"""What Pulumi's state says of a stack: its resources, and the operations that were interrupted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from toolchain import environment
from toolchain.session import PROJECT, Session

CONTAINER: Final = "docker:index/container:Container"
NETWORK: Final = "docker:index/network:Network"
VOLUME: Final = "docker:index/volume:Volume"
IMAGE: Final = "docker:index/image:Image"
REMOTE_IMAGE: Final = "docker:index/remoteImage:RemoteImage"

#: What stands in place of a secret output, as in what `pulumi stack output` prints.
HIDDEN: Final = "[secret]"

_STACK: Final = "pulumi:pulumi:Stack"

#: What marks an object in the state as a secret: `SigKey` and `SecretSig` of Pulumi's `sdk/go/common/resource/sig`.
_SECRET: Final = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource in the state.

    Attributes:
        urn: Its URN.
        type: Its type token.
        id: The provider's id; empty for a component and for one that is only being made.
        name: Its name on the Docker host or in its server; empty if it has none.
        protected: Whether Pulumi refuses to delete it.
        doomed: Whether it waits for its deletion, a replacement having taken its place.
        depends_on: URNs of what was there before it.
    """

    urn: str
    type: str
    id: str
    name: str
    protected: bool
    doomed: bool
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that was begun and whose end is unknown.

    Attributes:
        kind: `creating`, `updating`, `deleting`, `reading` or `importing`.
        resource: What it was begun on.
    """

    kind: str
    resource: Resource


@dataclass(frozen=True)
class Deployment:
    """The state of a stack.

    Attributes:
        raw: The deployment as Pulumi exports it; secrets in it are encrypted.
    """

    raw: Mapping[str, Any]

    @property
    def resources(self) -> list[Resource]:
        """Every resource."""
        return [_resource(entry) for entry in self.raw.get("resources") or []]

    @property
    def pending(self) -> list[Pending]:
        """Every interrupted operation."""
        operations: list[dict[str, Any]] = self.raw.get("pending_operations") or []
        return [Pending(str(entry["type"]), _resource(entry["resource"])) for entry in operations]

    @property
    def raw_outputs(self) -> Mapping[str, Any]:
        """The stack's outputs as they are exported; empty before the first deployment."""
        return next((entry.get("outputs") or {} for entry in self._entries if entry["type"] == _STACK), {})

    @property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, the secret ones hidden; empty before the first deployment."""
        return {name: without_secrets(value, lambda _: HIDDEN) for name, value in self.raw_outputs.items()}

    def images(self, *types: str) -> list[str]:
        """The references of its images of some types: `IMAGE`, built here, and `REMOTE_IMAGE`."""
        field = {IMAGE: "imageName", REMOTE_IMAGE: "name"}
        found: list[str] = []
        for entry in self.raw.get("resources") or []:
            if entry["type"] in types:
                outputs: dict[str, Any] = entry.get("outputs") or {}
                found.append(str(outputs.get(field[entry["type"]], "")))
        return [reference for reference in found if reference]

    def of_type(self, *types: str) -> Iterator[Resource]:
        """The resources of some types that exist for the provider."""
        return (resource for resource in self.resources if resource.type in types and resource.id)

    def without(self, gone: Collection[Resource]) -> Deployment:
        """The state without some resources: what depended on them does so no more, until it is deployed again."""
        entries = {(resource.urn, resource.id) for resource in gone}
        kept = [entry for entry in self._entries if (entry["urn"], str(entry.get("id") or "")) not in entries]
        left = {str(entry["urn"]) for entry in kept}
        urns = {resource.urn for resource in gone} - left
        return Deployment({**self.raw, "resources": [_detached(entry, urns) for entry in kept]})

    def changed(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Deployment:
        """The state with each resource, as Pulumi exports it, put through a function."""
        return Deployment({**self.raw, "resources": [change(dict(entry)) for entry in self._entries]})

    @property
    def _entries(self) -> list[Mapping[str, Any]]:
        return list(self.raw.get("resources") or [])


def without_secrets(value: object, instead: Callable[[str], object]) -> object:
    """An exported value with something in place of each secret in it, which is made of the secret's ciphertext."""
    if isinstance(value, list):
        return [without_secrets(item, instead) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    if fields.get(_SECRET[0]) == _SECRET[1]:
        return instead(str(fields.get("ciphertext", "")))
    return {name: without_secrets(item, instead) for name, item in fields.items()}


def _detached(entry: Mapping[str, Any], urns: Collection[str]) -> Mapping[str, Any]:
    """An exported resource that depends on none of some others."""
    found = dict(entry)
    if "dependencies" in found:
        found["dependencies"] = [urn for urn in found["dependencies"] if urn not in urns]
    if "propertyDependencies" in found:
        found["propertyDependencies"] = {
            name: [urn for urn in on or () if urn not in urns] for name, on in found["propertyDependencies"].items()
        }
    if found.get("deletedWith") in urns:
        del found["deletedWith"]
    return found


def _resource(entry: Mapping[str, Any]) -> Resource:
    inputs: Mapping[str, Any] = entry.get("inputs") or {}
    outputs: Mapping[str, Any] = entry.get("outputs") or {}
    name = outputs.get("name") or inputs.get("name") or inputs.get("bucket") or inputs.get("imageName") or ""
    return Resource(
        urn=str(entry["urn"]),
        type=str(entry["type"]),
        id=str(entry.get("id") or ""),
        name=name if isinstance(name, str) else "",
        protected=bool(entry.get("protect")),
        doomed=bool(entry.get("delete")),
        depends_on=tuple(entry.get("dependencies") or ()),
    )


def load(session: Session) -> Deployment:
    """Read the state: straight from a file backend, which takes a millisecond, else by an export.

    Raises:
        FailedError: The backend does not give it.
    """
    folder = environment.state_folder()
    if folder is not None:
        return from_folder(folder, session.name)
    exported: dict[str, Any] = json.loads(session.ask("stack", "export", "--stack", session.stack))
    return Deployment(exported.get("deployment") or {})


def from_folder(folder: Path, name: str) -> Deployment:
    """Read the state of a stack from the folder of a file backend; empty where there is none."""
    path = folder / ".pulumi" / "stacks" / PROJECT / f"{name}.json"
    zipped = path.with_name(f"{path.name}.gz")
    if path.exists():
        text = path.read_text(encoding="utf-8")
    elif zipped.exists():
        text = gzip.decompress(zipped.read_bytes()).decode()
    else:
        return Deployment({})
    checkpoint: dict[str, Any] = json.loads(text).get("checkpoint") or {}
    return Deployment(checkpoint.get("latest") or {})


def store(session: Session, deployment: Deployment) -> None:
    """Put a state in place of the present one.

    Raises:
        FailedError: The backend does not take it.
    """
    text = json.dumps({"version": 3, "deployment": deployment.raw})
    session.ask("stack", "import", "--force", "--stack", session.stack, stdin=text)
