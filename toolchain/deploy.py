"""Run the engine on the user's terminal and give an exit code that says how it ended."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from toolchain import attached, events, paths, policies
from toolchain.errors import DONE, FAILED, REFUSED
from toolchain.events import Outcome
from toolchain.say import say
from toolchain.session import Session

_UNDER_POLICIES: Final = frozenset({"up", "preview"})


def run(session: Session, command: str, *arguments: str) -> int:
    """Run `pulumi up`, `preview` or `destroy`; the first two under the policy pack that the user named.

    Pulumi ends with the same code whatever went wrong. Its event log tells whether anything had been touched by then.

    Args:
        session: The stack.
        command: The command of `pulumi`.
        arguments: Its further arguments.

    Returns:
        0 well, 2 refused before anything was touched, 1 otherwise. What mends it is repeated as the last lines.

    Raises:
        RefusedError: There is no such policy pack.
        FailedError: What it runs on can't be had.
    """
    code, outcome = attempt(session, command, *arguments)
    tell(outcome, code)
    return code


def attempt(session: Session, command: str, *arguments: str) -> tuple[int, Outcome]:
    """Like `run`, but leave it to the caller to repeat what mends a failure; give what the engine did, too."""
    asked = policies.arguments() if command in _UNDER_POLICIES else []
    with tempfile.TemporaryDirectory(dir=paths.ensure_local_dir(), prefix="events-") as folder:
        log = Path(folder) / "log.json"
        line = session.command(command, "--stack", session.stack, *arguments, *asked, "--event-log", log)
        # The vendor shows the flag only with this variable, which has no other effect; its Automation API sets it.
        env = {**session.environment.whole(), "PULUMI_DEBUG_COMMANDS": "true"}
        ended = attached.run(line, env, paths.PROJECT_DIR)
        outcome = events.read(log)
    outcome.interrupted = ended.interrupted
    return DONE if ended.code == 0 else REFUSED if outcome.was_refused else FAILED, outcome


def tell(outcome: Outcome, code: int) -> None:
    """Repeat what mends a failure."""
    for mend in outcome.mends if code else ():
        say(mend)
