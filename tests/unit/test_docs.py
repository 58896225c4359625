"""The README says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components import settings_table

ROOT = Path(__file__).parents[2]
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_the_table_of_settings_is_that_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert settings_table.replaced(readme) == readme, "run: .venv/bin/python -m components.settings_table"


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_that_the_docs_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
    for page in DOCS:
        named = set(re.findall(r"`make ([a-z][a-z-]*)", page.read_text(encoding="utf-8")))
        assert named <= targets, f"{page.name} names {named - targets}"
