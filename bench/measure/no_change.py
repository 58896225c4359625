"""An `up` that changes nothing, beside the `up` of an empty program."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Final

from bench.figures import Figure, Target
from bench.measure.context import Context, progress
from bench.ours import Ours, well
from components.naming import MINIO_ROOT, POSTGRES_ADMIN

_ROUNDS: Final = 5
_LIMITS: Final = {"vendor": 1.5, "packages": 2.5}
_KINDS: Final = {"vendor": "the official plugins", "packages": "plugins from packages"}
_PROGRAMS: Final = Path(__file__).resolve().parent.parent / "programs"

#: `--skip-preview` is what `make up` passes; without it Pulumi runs the program twice, on all sides.
_WAYS: Final = {"pulumi up": ("--yes",), "pulumi up --skip-preview": ("--yes", "--skip-preview")}


def measure(context: Context) -> list[Figure]:
    """Run all in turn, with the same CLI, language host, virtual environment and backend."""
    with context.ours_up() as ours:
        empty = _program(ours, "empty")
        least = _program(ours, "least")
        for program in (empty, least):
            ours.pulumi_anywhere(*program, "up", "--yes", "--skip-preview", "--non-interactive")
        note = f"on {_KINDS[ours.providers]}, CLI {ours.cli_version}"
        figures: list[Figure] = []
        for way, flags in _WAYS.items():
            up = ("up", *flags, "--non-interactive", "--expect-no-changes")
            seconds: defaultdict[str, list[float]] = defaultdict(list)
            for _ in range(_ROUNDS):
                seconds["stack"].append(well(ours.stack.pulumi(*up)).seconds)
                seconds["empty"].append(ours.pulumi_anywhere(*empty, *up).seconds)
                seconds["least"].append(ours.pulumi_anywhere(*least, *up).seconds)
            progress(f"{way}: " + ", ".join(f"{side} {median(taken):.2f} s" for side, taken in seconds.items()))
            target = Target(_LIMITS[ours.providers]) if way == "pulumi up" else None
            for what, side, limit in (
                (f"`{way}` without changes", "stack", target),
                (f"`{way}` without changes, one resource of each provider", "least", None),
            ):
                figures.append(
                    Figure(
                        "no-change", what, "empty program", "s", seconds[side], seconds["empty"], limit, notes=(note,)
                    )
                )
        ours.pulumi_anywhere(*least, "destroy", "--yes", "--skip-preview", "--non-interactive")
    return figures


def _program(ours: Ours, name: str) -> tuple[str, ...]:
    """Make a program of `bench/programs` into a project beside the stack's, and give the arguments that select it."""
    checkout = ours.stack.checkout.root
    folder = checkout.with_name(name)
    folder.mkdir(mode=0o700)
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": str(checkout / ".venv")}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": name, "runtime": runtime}), encoding="utf-8")
    (folder / "servers.json").write_text(json.dumps(_servers(ours)), encoding="utf-8")
    shutil.copy2(_PROGRAMS / f"{name}.py", folder / "__main__.py")
    stack = f"{ours.stack.name}-{name}"
    ours.pulumi_anywhere("-C", str(folder), "stack", "init", stack)
    return ("-C", str(folder), "--stack", stack)


def _servers(ours: Ours) -> dict[str, dict[str, object]]:
    """Arguments of the providers that reach the stack's two stores."""
    credentials = ours.stack.credentials()
    ports = ours.stack.settings
    return {
        "minio": {
            "minio_server": f"127.0.0.1:{ports['minioApiPort']}",
            "minio_user": MINIO_ROOT,
            "minio_password": credentials["minioRootPassword"],
        },
        "postgresql": {
            "host": "127.0.0.1",
            "port": ports["postgresPort"],
            "username": POSTGRES_ADMIN,
            "password": credentials["postgresAdminPassword"],
            "sslmode": "disable",
            "superuser": False,
        },
    }
