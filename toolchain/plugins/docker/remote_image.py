"""Images that are there or pulled, after terraform-provider-docker's resource_docker_image*.go (no build)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.docker.daemon import missing, said
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, mapping, output, string, strings, unsupported

if TYPE_CHECKING:
    from toolchain.plugins.docker.daemon import Daemon
    from toolchain.plugins.wire import Properties


class RemoteImage(Resource):
    """An image by name."""

    fields: ClassVar[Fields] = {
        "name": string(required=True, force_new=True),
        "imageId": output(),
        "repoDigest": output(),
        "keepLocally": boolean(),
        "pullTriggers": strings(force_new=True),
        "forceRemove": boolean(),
        "platform": string(force_new=True),
        "triggers": mapping(force_new=True),
        "build": unsupported("set", block=True, max_one=True),
    }
    meta: ClassVar[str | None] = (
        '{"e2bfb730-ecaa-11e6-8f88-34363bc7c4c0":{"create":1200000000000,"delete":1200000000000,"update":1200000000000}}'
    )

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Find the image, else pull it."""
        image = find_or_pull(self._daemon, planned["name"], planned["platform"] or None)
        found = _found(image, planned["name"])
        return image["Id"] + planned["name"], found

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """Find the image; not pulled again."""
        try:
            image = self._daemon.api.inspect_image(state["name"])
        except Exception as error:
            if missing(error):
                return None
            raise
        del resource_id
        return image["Id"] + state["name"], _found(image, state["name"])

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:  # noqa: ARG002
        """Find the image again."""
        image = find_or_pull(self._daemon, planned["name"], planned["platform"] or None)
        return resource_id, _found(image, planned["name"])

    def delete(self, resource_id: str, state: Properties) -> None:  # noqa: ARG002
        """Remove the image unless it is to be kept."""
        if state.get("keepLocally"):
            return
        try:
            self._daemon.api.remove_image(state["name"], force=bool(state.get("forceRemove")))
        except Exception as error:
            if not missing(error):
                raise RuntimeError(said(error)) from error

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Refuse, as the vendor's does."""
        msg = f"an image cannot be imported ({resource_id})"
        raise RuntimeError(msg)


def _found(image: Properties, name: str) -> Properties:
    repository = name.split("@", 1)[0].rsplit(":", 1)[0] if ":" in name.rsplit("/", 1)[-1] else name
    digests: list[str] = image.get("RepoDigests") or []
    matching = [each for each in digests if each.split("@", 1)[0].endswith(repository)]
    return {"imageId": image["Id"], "repoDigest": (matching or digests or [""])[0], "name": name}


def find_or_pull(daemon: Daemon, name: str, platform: str | None = None) -> Properties:
    """Return an image of the daemon, pulling it when it is not there.

    Raises:
        RuntimeError: it is not there and cannot be pulled.
    """
    try:
        return daemon.api.inspect_image(name)
    except Exception as error:
        if not missing(error):
            raise RuntimeError(said(error)) from error
    try:
        daemon.api.pull(name, platform=platform)
        return daemon.api.inspect_image(name)
    except Exception as error:
        msg = f"unable to pull image {name}: {said(error)}"
        raise RuntimeError(msg) from error
