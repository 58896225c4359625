"""The address of the front door: its scheme, its names, its certificate."""

from __future__ import annotations

from dataclasses import dataclass

from components.naming import FILES_PATH, TRACKING_SERVER_ALIAS, Naming
from components.settings import Settings

#: Port of the gateway inside its container, and so on the front network.
PORT = 5000

_LOOPBACK = "127.0.0.1"
#: Bind addresses that stand for every address of the host: a client needs one it can go to.
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """Where clients find the stack, as the settings have it."""

    settings: Settings
    naming: Naming

    @property
    def is_https(self) -> bool:
        """Whether the gateway speaks HTTPS."""
        return self.settings.tls != "off"

    @property
    def address(self) -> str:
        """An address of this host at which it answers."""
        return _LOOPBACK if self.settings.bind_address in _EVERYWHERE else self.settings.bind_address

    @property
    def url(self) -> str:
        """Where a client on this machine, or one that knows `publicHost`, finds it."""
        host = self.settings.public_host or ("localhost" if self.address == _LOOPBACK else self.address)
        scheme, default_port = ("https", 443) if self.is_https else ("http", 80)
        port = self.settings.mlflow_port
        return f"{scheme}://{host}" if port == default_port else f"{scheme}://{host}:{port}"

    @property
    def aliases(self) -> list[str]:
        """Its names on the front network: with HTTPS the public one, too, since the certificate is for that."""
        public = self.settings.public_host
        return [TRACKING_SERVER_ALIAS, public] if self.is_https and public else [TRACKING_SERVER_ALIAS]

    @property
    def environment(self) -> dict[str, str]:
        """What the gateway's configuration is told (see `images/gateway/Caddyfile`)."""
        tls, public = self.settings.tls, self.settings.public_host
        found = {"GATEWAY_TLS": tls}
        if not self.is_https or public is None:
            return found
        names = [public]
        if tls == "internal":  # an authority of our own vouches for every name that a client may come by
            names += [TRACKING_SERVER_ALIAS, self.naming.container("gateway"), "localhost"]
        found |= {"PUBLIC_HOST": public, "GATEWAY_ADDRESS": ", ".join(f"https://{name}:{PORT}" for name in names)}
        if self.settings.acme_directory:
            found["ACME_DIRECTORY"] = self.settings.acme_directory
        if self.settings.acme_ca_file:
            found["ACME_TRUSTED_ROOTS"] = f"trusted_roots {FILES_PATH}/acme-ca.pem"
        return found
