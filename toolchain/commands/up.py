"""`up`: everything from a bare machine to a stack that answers."""

from __future__ import annotations

from typing import Final

from toolchain import deploy, deployment, heal, inside, policies, rotation, superseded, upgrade
from toolchain.backup import deposit, underway
from toolchain.commands import init
from toolchain.commands.prepare import prepare
from toolchain.docker_objects import Objects
from toolchain.errors import DONE, FAILED
from toolchain.say import say
from toolchain.session import Session

#: One thing that is wrong can hide another: a role that is gone, what its rights are.
_MENDED_AT_MOST: Final = 2


def run(stack: str) -> int:
    """Run the command."""
    policies.check()
    session = prepare(stack)
    init.initialise(session)
    if policies.are_asked_for() and (code := _allowed(session)):
        return code
    heal.heal(session, Objects(session.name))
    code = deploy_stack(session)
    if code == DONE:
        print(summary(session))
    return code


def deploy_stack(session: Session) -> int:
    """Deploy, mend what was changed from outside, and finish what is at work: a rotation of credentials, an upgrade.

    Where an upgrade fails, what served before serves again.
    """
    objects = Objects(session.name)
    rotation.encrypt_anew(session, objects)
    before = deployment.load(session)
    code = upgrade.deploy_or_go_back(session, _deploy_and_mend)
    if code != DONE:
        return code
    # A restore was cut off, and PostgreSQL was removed since: only now it says whose keys are the right ones.
    if underway.settle(session, Objects(session.name)):
        return deploy_stack(session)
    if rotated := rotation.end(session):
        say(f"  the old values are refused, and forgotten: {', '.join(rotated)}")
    superseded.clear(objects, before, deployment.load(session))
    deposit.leave(session)
    return code


def _deploy_and_mend(session: Session) -> int:
    code, outcome = deploy.attempt(session, "up", "--yes", "--skip-preview")
    for _ in range(_MENDED_AT_MOST):
        if code != FAILED or not inside.mend(session, Objects(session.name), outcome):
            break
        code, outcome = deploy.attempt(session, "up", "--yes", "--skip-preview")
    deploy.tell(outcome, code)
    return code


def _allowed(session: Session) -> int:
    """Ask the policies in a preview: those about several resources answer at the end of an `up`, when all is done."""
    heal.clear_locks(session)
    return deploy.run(session, "preview")


def summary(session: Session) -> str:
    """The URLs, where the credentials are, and the first run."""
    outputs = deployment.load(session).outputs
    chosen = "" if session.stack == "dev" else f" STACK={session.stack}"
    shell = f'eval "$(make env{chosen})"'
    client: dict[str, str] = outputs.get("clientEnv") or {}
    exports = " ".join(f"{name}={value}" for name, value in client.items() if value != deployment.HIDDEN)
    secrets = [name for name, value in client.items() if value == deployment.HIDDEN]
    more = f"\n(and {', '.join(secrets)}, which pulumi stack output clientEnv --show-secrets has)\n" if secrets else ""
    return f"""
MLflow           {outputs.get("trackingUri")}
MinIO console    {outputs.get("minioConsoleUrl")}
credentials      in {session.stack_file.name}, encrypted. To read them:
                   {shell}
                   pulumi stack output credentials --show-secrets

Log a first run (pip install mlflow; export {exports}):
{more}
    import mlflow
    with mlflow.start_run():
        mlflow.log_metric("answer", 42)
"""
