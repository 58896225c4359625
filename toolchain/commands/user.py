"""`user`: a user of MLflow's, with a password that is shown once."""

from __future__ import annotations

import re
from typing import Final

from components import command
from toolchain import deployment, engine
from toolchain.docker_objects import Objects
from toolchain.errors import DONE, MEND, REFUSED, FailedError, RefusedError, repeated
from toolchain.session import Session

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")


def run(session: Session, name: str, *, reset: bool) -> int:
    """Run the command.

    Args:
        session: The stack.
        name: The user's.
        reset: Give a user who is there a new password.

    Raises:
        RefusedError: The name is not allowed, or the server says why not.
        FailedError: The server can't do it.
    """
    engine.require()
    if not _NAME.fullmatch(name):
        wrong = "must begin with a letter or a digit, and hold nothing but those and . _ @ + -"
        raise RefusedError("NAME", name or "(not set)", wrong, "make user NAME=ada")
    server = Objects(session.name).container("server")
    if server is None or server.status != "running":
        raise RefusedError("server", "not running", "it keeps the users", f"make up STACK={session.stack}")
    try:
        said = command.run(server, ["mlflow-stack-server", "user", name, *(["--reset"] if reset else [])])
    except command.CutOffError:
        wrong = "has a password, which Docker lost on its way here"
        raise FailedError("NAME", name, wrong, f"make user NAME={name} RESET=1") from None
    if said.code:
        raise _error(name, said.error, refused=said.code == REFUSED)
    print(_summary(session, name, said.out.splitlines()[-1], reset=reset))
    return DONE


def _error(name: str, said: str, *, refused: bool) -> RefusedError | FailedError:
    line = next((line for line in reversed(said.splitlines()) if MEND in line), "")
    return repeated(line, refused=refused) or FailedError("NAME", name, "the server could not do it", "make logs")


def _summary(session: Session, name: str, password: str, *, reset: bool) -> str:
    done = "has a new password" if reset else "is there"
    return f"""user {name} {done}. The password is shown this once:

    export MLFLOW_TRACKING_URI={deployment.load(session).outputs.get("trackingUri")}
    export MLFLOW_TRACKING_USERNAME={name}
    export MLFLOW_TRACKING_PASSWORD={password}

The user changes it by (in Python, with these variables set):

    import os, mlflow.server
    users = mlflow.server.get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    users.update_user_password("{name}", "THE NEW PASSWORD")
"""
