"""An `up` that changes nothing, beside the `up` of an empty program."""

from __future__ import annotations

import json

from bench.figures import Figure, Target
from bench.measure.context import Context, progress
from bench.ours import Ours, well

_ROUNDS = 5
_LIMITS = {"vendor": 1.5, "packages": 2.5}
_KINDS = {"vendor": "the official plugins", "packages": "plugins from packages"}

#: `--skip-preview` is what `make up` passes; without it Pulumi runs the program twice, on both sides.
_WAYS = {"pulumi up": ("--yes",), "pulumi up --skip-preview": ("--yes", "--skip-preview")}


def measure(context: Context) -> list[Figure]:
    """Run both in turn, with the same CLI, language host, virtual environment and backend."""
    with context.ours_up() as ours:
        empty = _empty_program(ours)
        kind = ours.providers
        figures: list[Figure] = []
        for way, flags in _WAYS.items():
            mine: list[float] = []
            nothing: list[float] = []
            for _ in range(_ROUNDS):
                mine.append(well(ours.stack.pulumi("up", *flags, "--non-interactive", "--expect-no-changes")).seconds)
                nothing.append(ours.pulumi_anywhere(*empty, "up", *flags, "--non-interactive").seconds)
            progress(f"{way}: {sorted(mine)[_ROUNDS // 2]:.2f} s, empty {sorted(nothing)[_ROUNDS // 2]:.2f} s")
            target = Target(_LIMITS[kind]) if way == "pulumi up" else None
            note = f"on {_KINDS[kind]}, CLI {ours.cli_version}"
            figures.append(
                Figure(
                    "no-change", f"`{way}` without changes", "empty program", "s", mine, nothing, target, notes=(note,)
                )
            )
    return figures


def _empty_program(ours: Ours) -> tuple[str, ...]:
    """Make a program without resources beside the stack's, and give the arguments that select it."""
    checkout = ours.stack.checkout.root
    folder = checkout.with_name("empty")
    folder.mkdir()
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": str(checkout / ".venv")}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": "empty", "runtime": runtime}), encoding="utf-8")
    (folder / "__main__.py").write_text("import pulumi\n", encoding="utf-8")
    stack = f"{ours.stack.name}-empty"
    ours.pulumi_anywhere("-C", str(folder), "stack", "init", stack)
    return ("-C", str(folder), "--stack", stack)
