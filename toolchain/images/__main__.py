"""`python -m toolchain.images`: have the base images; the environment variable IMAGES forces their source."""

from __future__ import annotations

import os
import sys
from typing import cast

from toolchain.errors import ToolchainError
from toolchain.images import Mode, resolve


def main() -> int:
    """Run it.

    Returns:
        The exit code: 0 well, 2 refused before anything was touched, 1 otherwise.
    """
    try:
        sources = resolve(cast("Mode", os.environ.get("IMAGES") or "auto"), lambda line: print(line, flush=True))
    except ToolchainError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for role, reference in sources.references.items():
        print(f"{role}: {reference}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
