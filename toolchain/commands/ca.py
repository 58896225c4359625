"""`ca`: the root certificate of the stack's own authority, which clients are told to trust."""

from __future__ import annotations

from typing import Final

from toolchain import engine
from toolchain.docker_objects import Objects, output
from toolchain.errors import DONE, RefusedError
from toolchain.session import Session

#: Where Caddy keeps it (see `GATEWAY_STORAGE` in components/gateway.py).
_ROOT: Final = "/tmp/caddy/pki/authorities/local/root.crt"  # noqa: S108 - in the gateway


def run(session: Session) -> int:
    """Print it, as PEM, on stdout alone: `./mlflow-stack ca > mlflow-ca.pem`.

    Raises:
        RefusedError: The stack has no authority of its own.
    """
    engine.require()
    gateway = Objects(session.name).container("gateway")
    if gateway is None:
        raise RefusedError("gateway", "not there", "it keeps the authority", f"make up STACK={session.stack}")
    root = output(gateway, ["cat", _ROOT]) if "GATEWAY_TLS=internal" in gateway.attrs["Config"]["Env"] else None
    if root is None:
        wrong = "the front door has no certificate of an authority of the stack's own"
        raise RefusedError("tls", "not internal", wrong, "pulumi config set tls internal && make up")
    print(root)
    return DONE
