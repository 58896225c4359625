"""Networks, after terraform-provider-docker's resource_docker_network*.go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final

from toolchain.plugins.docker.daemon import missing, said
from toolchain.plugins.docker.labels import labels_field, to_map, to_pairs
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, forced, mapping, objects, output, string
from toolchain.plugins.wire import Properties, known

if TYPE_CHECKING:
    from toolchain.plugins.docker.daemon import Daemon

_REMOVE_TIMEOUT: Final = 30.0  # seconds


class Network(Resource):
    """A network."""

    fields: ClassVar[Fields] = {
        **forced(
            name=string(required=True, autoname=True),
            labels=labels_field(),
            driver=string(computed=True),
            options=mapping(computed=True),
            internal=boolean(computed=True),
            attachable=boolean(),
            ingress=boolean(),
            ipv6=boolean(),
            ipamDriver=string(default="default"),
            ipamOptions=mapping(),
            ipamConfigs=objects(
                forced(subnet=string(), ipRange=string(), gateway=string(), auxAddress=mapping()), computed=True
            ),
        ),
        "scope": output(),
    }
    meta: ClassVar[str | None] = '{"schema_version":"1"}'

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Create the network."""
        ipam: Properties = {"Driver": planned["ipamDriver"], "Config": [], "Options": planned["ipamOptions"] or {}}
        for each in known(planned["ipamConfigs"]) or []:
            pool = {
                "Subnet": each.get("subnet"),
                "IPRange": each.get("ipRange"),
                "Gateway": each.get("gateway"),
                "AuxiliaryAddresses": each.get("auxAddress"),
            }
            ipam["Config"].append({key: value for key, value in pool.items() if value})
        body: Properties = {
            "name": planned["name"],
            "driver": known(planned["driver"]) or "bridge",
            "options": known(planned["options"]) or None,
            "ipam": ipam,
            "internal": bool(known(planned["internal"])),
            "enable_ipv6": bool(planned["ipv6"]),
            "attachable": bool(planned["attachable"]) or None,
            "ingress": bool(planned["ingress"]) or None,
            "labels": to_map(planned["labels"]) or None,
            "check_duplicate": True,
        }
        try:
            made = self._daemon.api.create_network(**body)
        except Exception as error:
            msg = f"Unable to create network: {said(error)}"
            raise RuntimeError(msg) from error
        result = self.read(made["Id"], planned)
        if result is None:
            msg = f"the network {planned['name']} was gone right after its creation"
            raise RuntimeError(msg)
        return result

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:  # noqa: ARG002
        """Read the network."""
        try:
            found = self._daemon.api.inspect_network(resource_id)
        except Exception as error:
            if missing(error):
                return None
            raise
        pools = [
            {
                "subnet": pool.get("Subnet") or None,
                "ipRange": pool.get("IPRange") or None,
                "gateway": pool.get("Gateway") or None,
                "auxAddress": pool.get("AuxiliaryAddresses") or {},
            }
            for pool in found["IPAM"].get("Config") or []
        ]
        return resource_id, {
            "name": found["Name"],
            "labels": to_pairs(found.get("Labels")),
            "driver": found["Driver"],
            "internal": found["Internal"],
            "attachable": found["Attachable"],
            "ingress": found["Ingress"],
            "ipv6": found["EnableIPv6"],
            "ipamDriver": found["IPAM"]["Driver"],
            "ipamOptions": found["IPAM"].get("Options") or {},
            "ipamConfigs": pools,
            "options": found.get("Options") or {},
            "scope": found["Scope"],
        }

    def delete(self, resource_id: str, state: Properties) -> None:  # noqa: ARG002
        """Remove the network, waiting for its last container to leave."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT
        while True:
            try:
                self._daemon.api.remove_network(resource_id)
            except Exception as error:
                if missing(error):
                    return
                text = said(error)
                if "has active endpoints" not in text or time.monotonic() > deadline:
                    raise RuntimeError(text) from error
                time.sleep(0.5)
            else:
                return
