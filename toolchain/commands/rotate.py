"""`rotate`: new values for one credential or for all, while data stays readable and nothing acknowledged is lost."""

from __future__ import annotations

from toolchain import deployment, heal, pause, rotation
from toolchain.commands import init, up
from toolchain.commands.prepare import prepare
from toolchain.docker_objects import Objects
from toolchain.errors import DONE, RefusedError
from toolchain.say import say


def run(stack: str, name: str) -> int:
    """Run the command.

    Args:
        stack: The stack.
        name: Config key of the credential; empty for all.

    Raises:
        RefusedError: There is no such credential, or nothing is deployed.
        FailedError: What is encrypted could not be encrypted anew.
    """
    wanted = rotation.keys(name)
    session = prepare(stack)
    if not deployment.load(session).resources:
        wrong = "is not up: there is nothing to rotate yet"
        raise RefusedError(f"stack {stack}", session.name, wrong, f"make up STACK={stack}")
    # A credential that a newer version of this program wants would be missed only when the server is stopped already.
    init.initialise(session)
    objects = Objects(session.name)
    heal.heal(session, objects)
    if rotation.is_at_work(session):
        say("  a rotation was interrupted: it is finished first")
    else:
        rotation.begin(session, Objects(session.name, objects.client), wanted)
    with pause.measured(pause.front_door(session)) as seen:
        code = up.deploy_stack(session)
    if code == DONE:
        print(f"rotated; the tracking server did not answer for {seen.longest:.1f} s at most")
    return code
