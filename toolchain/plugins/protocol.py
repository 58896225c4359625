"""The Pulumi SDK's generated messages, imported without the SDK.

Importing `pulumi` runs the whole SDK's `__init__`, which takes longer than everything else a plugin does at start.
The generated modules need none of it, so their parent packages stand in here as empty ones.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _stand_in() -> None:
    """Put empty parents of the generated modules in place, unless the SDK is loaded already."""
    if "pulumi" in sys.modules:
        return
    # `find_spec` of a top-level name runs nothing.
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        msg = "the pulumi package is not installed beside this plugin"
        raise ImportError(msg)
    root = Path(spec.origin).parent
    for name, folder in (
        ("pulumi", root),
        ("pulumi.runtime", root / "runtime"),
        ("pulumi.runtime.proto", root / "runtime" / "proto"),
    ):
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module


_stand_in()

from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc  # noqa: E402

__all__ = ["engine_pb2", "engine_pb2_grpc", "plugin_pb2", "provider_pb2", "provider_pb2_grpc"]
