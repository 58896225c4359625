"""`preview`: what `up` would change, and what stands in its way."""

from __future__ import annotations

from toolchain import deploy, heal, policies
from toolchain.commands import init
from toolchain.commands.prepare import prepare


def run(stack: str) -> int:
    """Run the command."""
    policies.check()
    session = prepare(stack)
    init.initialise(session)
    heal.clear_locks(session)
    return deploy.run(session, "preview", "--diff")
