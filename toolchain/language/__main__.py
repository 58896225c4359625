"""Entry point of the language host.

It is run by its path, not by `-m`: the host's own folder must not stay on the import path of the programs it runs.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGINT, lambda *_: os._exit(0))  # an engine that changed its mind while all is imported
gc.disable()  # a tenth of the start-up time; the host collects again once all is imported
sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from toolchain.forkserver import server  # noqa: E402 - the path comes first
from toolchain.language import host, program  # noqa: E402

del sys.path[0]

if __name__ == "__main__":
    if sys.argv[1:2] == [program.ALONE]:
        sys.exit(program.main())
    server.begin()
    host.main(os.getppid())
