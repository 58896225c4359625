"""What a figure depends on beside the two sides: the machine and the versions."""

from __future__ import annotations

import os
import platform
from typing import Any

from bench.ours import Ours


def describe(ours: Ours) -> dict[str, object]:
    """Cores, memory, versions, images, and how busy the machine was to begin with."""
    info: dict[str, Any] = ours.client.info()
    return {
        "cores": info["NCPU"],
        "memoryMiB": int(info["MemTotal"]) // 1024**2,
        "kernel": platform.release(),
        "docker": info["ServerVersion"],
        "pulumi": ours.cli_version,
        "providers": ours.providers,
        "images": dict(ours.stack.outputs["images"]),
        "loadAverage": os.getloadavg()[0],
    }
