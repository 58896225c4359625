"""`env`: shell exports with which a plain `pulumi` finds the same CLI, plugins, state and passphrase."""

from __future__ import annotations

import os
import shlex

from toolchain.session import Session


def run(session: Session) -> int:
    """Print the exports; none of them is a secret."""
    env = session.environment
    for name, value in sorted(env.variables.items()):
        print(f"export {name}={shlex.quote(value)}")
    path = os.pathsep.join(shlex.quote(folder) for folder in env.path)
    print(f'export PATH={path}:"$PATH"')
    return 0
