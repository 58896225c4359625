"""The table of settings in the README: `python -m components.settings_table` writes it, a test holds it to the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic.alias_generators import to_camel

from components.settings import SECRETS, Settings

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def table() -> str:
    """Both tables, plain settings and credentials, as Markdown."""
    lines = ["| key | default | limits | what it does |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        default = "" if field.default is None else f"`{value}`"
        lines.append(f"| `{to_camel(name)}` | {default} | {_limits(field)} | {field.description} |")
    lines += ["", "| credential | who uses it |", "| --- | --- |"]
    lines += [f"| `{secret.key}` | {secret.description} |" for secret in SECRETS]
    return "\n".join(lines)


def _limits(field: Any) -> str:  # noqa: ANN401 - pydantic's FieldInfo, whose metadata has no common type
    words: list[str] = []
    choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
    if choices:
        words.append(" or ".join(f"`{choice}`" for choice in choices))
    if field.annotation is bool or bool in get_args(field.annotation):
        words.append("`true` or `false`")
    limits = {
        name: value
        for limit in field.metadata
        for name in ("ge", "le", "min_length", "max_length", "pattern")
        if (value := getattr(limit, name, None)) is not None
    }
    if "ge" in limits:
        words.append(f"{limits['ge']} to {limits['le']}")
    if "max_length" in limits:
        words.append(f"{limits.get('min_length', 1)} to {limits['max_length']} characters")
    return ", ".join(words)


def replaced(readme: str) -> str:
    """The README's text with the tables between the marks made anew.

    Raises:
        ValueError: A mark is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} must stand in the README")
    return f"{before}{begin}\n{table()}\n{end}{after}"


if __name__ == "__main__":
    README.write_text(replaced(README.read_text(encoding="utf-8")), encoding="utf-8")
