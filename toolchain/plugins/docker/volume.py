"""Volumes, after terraform-provider-docker's resource_docker_volume.go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final

from toolchain.plugins.docker.daemon import missing, said
from toolchain.plugins.docker.labels import labels_field, to_map, to_pairs
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, forced, mapping, output, string, unsupported
from toolchain.plugins.wire import UNKNOWN, Properties

if TYPE_CHECKING:
    from toolchain.plugins.docker.daemon import Daemon

_REMOVE_TIMEOUT: Final = 30.0  # seconds


class Volume(Resource):
    """A volume (cluster volumes are not among what this project uses)."""

    fields: ClassVar[Fields] = {
        **forced(
            name=string(computed=True, autoname=True),
            labels=labels_field(),
            driver=string(computed=True),
            driverOpts=mapping(),
        ),
        "mountpoint": output(),
        "cluster": unsupported("list", block=True, max_one=True),
    }
    meta: ClassVar[str | None] = '{"schema_version":"1"}'

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Create the volume; one of that name that exists already is taken over, as the daemon does."""
        driver = planned["driver"]
        try:
            made = self._daemon.api.create_volume(
                name=planned["name"],
                driver=None if driver is UNKNOWN else driver,
                driver_opts=planned["driverOpts"] or None,
                labels=to_map(planned["labels"]) or None,
            )
        except Exception as error:
            msg = f"Unable to create volume: {said(error)}"
            raise RuntimeError(msg) from error
        result = self.read(made["Name"], planned)
        if result is None:
            msg = f"the volume {made['Name']} was gone right after its creation"
            raise RuntimeError(msg)
        return result

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:  # noqa: ARG002
        """Read the volume."""
        try:
            found = self._daemon.api.inspect_volume(resource_id)
        except Exception as error:
            if missing(error):
                return None
            msg = f"Unable to inspect volume: {said(error)}"
            raise RuntimeError(msg) from error
        return resource_id, {
            "name": found["Name"],
            "labels": to_pairs(found.get("Labels")),
            "driver": found["Driver"],
            "driverOpts": found.get("Options") or {},
            "mountpoint": found["Mountpoint"],
        }

    def delete(self, resource_id: str, state: Properties) -> None:  # noqa: ARG002
        """Remove the volume, waiting for its last container to leave."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT
        while True:
            try:
                self._daemon.api.remove_volume(resource_id, force=True)
            except Exception as error:
                if missing(error):
                    return
                text = said(error)
                if "volume is in use" not in text or time.monotonic() > deadline:
                    raise RuntimeError(text) from error
                time.sleep(0.5)
            else:
                return
