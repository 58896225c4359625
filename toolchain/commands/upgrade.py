"""`upgrade`: another version of MLflow, or another major version of PostgreSQL, on the data that is there."""

from __future__ import annotations

from toolchain import deployment, heal, pause, policies, upgrade
from toolchain.commands import init, up
from toolchain.commands.prepare import prepare
from toolchain.docker_objects import Objects
from toolchain.errors import DONE, REFUSED, RefusedError
from toolchain.say import say
from toolchain.session import Session


def run(stack: str) -> int:
    """Run the command.

    Raises:
        RefusedError: Nothing is deployed.
        FailedError: The data of before could not be put back; it is whole.
    """
    policies.check()
    session = prepare(stack)
    if not deployment.load(session).resources:
        wrong = "is not up: there is nothing to upgrade yet"
        raise RefusedError(f"stack {stack}", session.name, wrong, f"make up STACK={stack}")
    init.initialise(session)
    objects = Objects(session.name)
    heal.heal(session, objects)
    before = upgrade.look(session, Objects(session.name, objects.client))
    pinned = _unpin(session, before)
    with pause.measured(pause.front_door(session)) as seen:
        code = up.deploy_stack(session)
    if code == REFUSED and pinned:
        session.ask("config", "set", upgrade.VERSION, pinned, "--stack", session.stack)
    if code == DONE:
        after = upgrade.look(session, Objects(session.name, objects.client))
        print(f"MLflow {after.version} serves; the tracking server did not answer for {seen.longest:.1f} s at most")
    return code


def _unpin(session: Session, before: upgrade.Before) -> str:
    """Take a setting back that keeps the stack on the earlier version that it serves already.

    Returns:
        The version that was set; nothing where the setting stays.
    """
    from components.settings import DEFAULT_MLFLOW_VERSION, version_numbers  # noqa: PLC0415 - slow to import

    stays = before.version != before.wanted  # on the way to the one that is set
    if stays or version_numbers(before.wanted) >= version_numbers(DEFAULT_MLFLOW_VERSION):
        return ""
    session.ask("config", "rm", upgrade.VERSION, "--stack", session.stack)
    say(f"  {upgrade.VERSION} was {before.wanted}; without it the stack goes to {DEFAULT_MLFLOW_VERSION}")
    return before.wanted
