"""Whether anybody reads what a program tells for debugging."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

#: Arguments of the engine's command line with which it shows or logs such messages: `--debug`, `-d`, `-yd`, `-v=9`, ….
_ASKS: Final = re.compile(r"--(?:debug|verbose|logtostderr|logflow)\b|-[A-Za-z]*[dv]")

#: Each argument can be given as a variable, too (Pulumi CLI, `pkg/cmd/pulumi`: PULUMI_OPTION_DEBUG=true).
_VARIABLES: Final = tuple(f"PULUMI_OPTION_{name}" for name in ("DEBUG", "VERBOSE", "LOGTOSTDERR", "LOGFLOW"))


def asked(engine: int) -> bool:
    """Tell whether an engine was asked to show debugging messages; yes where that can't be known.

    Args:
        engine: Its process id.
    """
    if any(name in os.environ for name in _VARIABLES):
        return True
    try:
        arguments = Path("/proc", str(engine), "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return True
    return any(_ASKS.match(argument) for argument in arguments[1:])
