"""A stack's config file: secrets are added as text, and the committed one holds none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from toolchain import paths, stack_file
from toolchain.errors import RefusedError

ADDED = {"mlflow-stack:b": "v1:two", "mlflow-stack:a": "v1:one"}


@pytest.mark.parametrize(
    "before",
    [
        "",
        "config: {}\n",
        "config:\n",
        "# ours\nconfig: # keep\n  mlflow-stack:workers: '2' # two\n",
        "encryptionsalt: v1:x\n",
        "config: {}\nencryptionsalt: v1:x\n",
        "encryptionsalt: v1:x\nconfig:\n  other:config: config\n",
        "encryptionsalt: v1:x",
    ],
    ids=repr,
)
def test_secrets_are_added_and_everything_else_stays(tmp_path: Path, before: str) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(before, encoding="utf-8")
    stack_file.add_secrets(path, ADDED)
    text = path.read_text(encoding="utf-8")
    was: dict[str, dict[str, object]] = yaml.safe_load(before) or {}
    now: dict[str, dict[str, object]] = yaml.safe_load(text)
    added = {key: {"secure": value} for key, value in ADDED.items()}
    assert now == {**was, "config": {**(was.get("config") or {}), **added}}, text
    assert all(comment in text for comment in ("# ours", "# keep", "# two") if comment in before)
    assert stack_file.config_keys(path) == set(now["config"])
    assert [file.name for file in tmp_path.iterdir()] == ["Pulumi.x.yaml"]


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    stack_file.add_secrets(tmp_path / "Pulumi.x.yaml", ADDED)
    assert stack_file.config_keys(tmp_path / "Pulumi.x.yaml") == set(ADDED)
    assert stack_file.config_keys(tmp_path / "none.yaml") == frozenset()


@pytest.mark.parametrize("text", ["a: [", "- a list\n"])
def test_a_file_that_is_no_stack_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RefusedError, match=r"stack file: .*Pulumi\.x\.yaml"):
        stack_file.config_keys(path)


def test_the_committed_stack_file_holds_plain_settings_only() -> None:
    shown = subprocess.run(
        ["git", "show", "HEAD:Pulumi.dev.yaml"], cwd=paths.PROJECT_DIR, capture_output=True, text=True, check=True
    )
    assert "secure:" not in shown.stdout
    assert "encryptionsalt" not in shown.stdout, "a salt would tie everybody to one person's passphrase"
