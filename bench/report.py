"""The figures for people, as a table, and for programs, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.figures import Figure

_HEADINGS = ("figure", "against", "ours", "theirs", "ratio", "target", "")


def table(figures: Sequence[Figure]) -> str:
    """A table of ratios, each with its target and what is switched off beside it."""
    notes: list[str] = []
    for figure in figures:
        notes += [note for note in figure.notes if note not in notes]
    rows = [_HEADINGS, *(_row(figure, notes) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *(f"[{number}] {note}" for number, note in enumerate(notes, 1))])


def _row(figure: Figure, notes: Sequence[str]) -> tuple[str, ...]:
    target = figure.target
    verdict = "" if target is None else "met" if target.met_by(figure.ratio) else "MISSED"
    marks = "".join(f"[{notes.index(note) + 1}]" for note in figure.notes)
    return (
        figure.name,
        figure.against,
        f"{_number(figure.our_median)} {figure.unit}",
        f"{_number(figure.their_median)} {figure.unit}",
        f"{figure.ratio:.2f}",
        str(target or ""),
        f"{verdict} {marks}".strip(),
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004


def write(file: Path, figures: Sequence[Figure], machine: Mapping[str, object]) -> None:
    """Write all samples, and the machine they are from."""
    content = {"machine": dict(machine), "figures": [_as_json(figure) for figure in figures]}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _as_json(figure: Figure) -> dict[str, object]:
    target = figure.target
    return {
        "measurement": figure.measurement,
        "name": figure.name,
        "against": figure.against,
        "unit": figure.unit,
        "ours": [round(value, 3) for value in figure.ours],
        "theirs": [round(value, 3) for value in figure.theirs],
        "ratio": round(figure.ratio, 4),
        "target": None if target is None else str(target),
        "met": None if target is None else target.met_by(figure.ratio),
        "notes": list(figure.notes),
    }
