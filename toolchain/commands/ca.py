"""`ca`: the root certificate of the stack's own authority, which clients are told to trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolchain import engine
from toolchain.docker_objects import Objects, output
from toolchain.errors import DONE, FailedError, RefusedError
from toolchain.session import Session

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Where Caddy keeps it (see `GATEWAY_STORAGE` in components/gateway.py).
_ROOT: Final = "/tmp/caddy/pki/authorities/local/root.crt"  # noqa: S108 - in the gateway

#: How often it is asked for.
_ATTEMPTS: Final = 5


def run(session: Session) -> int:
    """Print it, as PEM, on stdout alone: `./mlflow-stack ca > mlflow-ca.pem`.

    Raises:
        RefusedError: The stack has no authority of its own.
        FailedError: Docker did not pass it on.
    """
    engine.require()
    gateway = Objects(session.name).container("gateway")
    if gateway is None:
        raise RefusedError("gateway", "not there", "it keeps the authority", f"make up STACK={session.stack}")
    root = _read(gateway) if "GATEWAY_TLS=internal" in gateway.attrs["Config"]["Env"] else None
    if root is None:
        wrong = "the front door has no certificate of an authority of the stack's own"
        raise RefusedError("tls", "not internal", wrong, "pulumi config set tls internal && make up")
    print(root)
    return DONE


def _read(gateway: Container) -> str | None:
    """The file, None where it is not there; asked for again where Docker, on a busy machine, lost what was printed."""
    for _ in range(_ATTEMPTS):
        root = output(gateway, ["cat", _ROOT])
        if root != "":
            return root
    raise FailedError("gateway", str(gateway.name), "Docker gave an empty answer again and again", "make ca")
