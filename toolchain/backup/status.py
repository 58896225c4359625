"""What the container that makes backups by itself tells of them."""

from __future__ import annotations

import json
from typing import Any

from toolchain.docker_objects import KEEPER, Objects, output


def ask(objects: Objects) -> dict[str, Any] | None:
    """`last`, `next`, `bytes` and `trouble`; None where there is no such container, or it does not answer."""
    said = output(objects.container(KEEPER), ["python3", "-m", "mlflow_stack_backup", "status"])
    return json.loads(said) if said else None
