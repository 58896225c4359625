"""Provider plugins: the vendor's where they can be had, else this project's own; the choice sticks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toolchain import mirror
from toolchain import environment, paths, providers, pulumi_cli
from toolchain.errors import RefusedError

ANSWERS = "#!/bin/sh\necho a plugin\n"


@pytest.fixture(scope="module")
def cli() -> pulumi_cli.Cli:
    """The real CLI of this machine: it is what fetches the vendor's plugins."""
    return pulumi_cli.ensure()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a mirror; a checkout and a Pulumi home of their own."""
    folder = tmp_path / "served"
    folder.mkdir()
    (tmp_path / ".local").mkdir()
    monkeypatch.setattr(paths, "local_dir", lambda: tmp_path / ".local")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PROVIDERS", raising=False)
    with mirror.serve(folder) as address:
        monkeypatch.setenv("MLFLOW_STACK_PLUGIN_MIRROR", address)
        yield folder


def release(folder: Path, *names: str) -> None:
    """Put the vendor's plugins on the mirror, under the names that the CLI asks for."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    for name in names:
        file = f"pulumi-resource-{name}-v{providers.versions()[name]}-linux-{architecture}.tar.gz"
        mirror.archive(folder / file, {f"pulumi-resource-{name}": ANSWERS})


def test_the_vendors_are_fetched_where_they_can_be_had(served: Path, cli: pulumi_cli.Cli) -> None:
    release(served, *providers.NAMES)
    chosen = providers.choose(cli)
    assert chosen.source == "vendor"
    assert "fetched from the vendor" in chosen.why
    for name, version in providers.versions().items():
        plugin = paths.pulumi_home() / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"
        assert plugin.read_text(encoding="utf-8") == ANSWERS
    assert str(paths.PLUGINS_BIN) not in environment.make(cli, chosen, "x").path, "ours would win over the vendor's"


def test_without_the_vendor_ours_are_taken_and_the_reason_is_told(served: Path, cli: pulumi_cli.Cli) -> None:
    chosen = providers.choose(cli)
    assert chosen.source == "packages"
    assert "answers 404" in chosen.why, chosen.why
    assert str(paths.PLUGINS_BIN) in environment.make(cli, chosen, "x").path


def test_the_choice_sticks_until_another_is_asked_for(
    served: Path, cli: pulumi_cli.Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert providers.choose(cli).source == "packages"
    release(served, *providers.NAMES)
    kept = providers.choose(cli)
    assert kept.source == "packages", "a mirror that answers today must not change what made the stack"
    assert "kept from an earlier run" in kept.why
    monkeypatch.setenv("PROVIDERS", "vendor")
    assert providers.choose(cli).source == "vendor"
    monkeypatch.delenv("PROVIDERS")
    assert providers.choose(cli).source == "vendor"
    monkeypatch.setenv("PROVIDERS", "packages")
    assert providers.choose(cli).source == "packages"
    recorded = json.loads((paths.local_dir() / "providers.json").read_text(encoding="utf-8"))
    assert recorded == {"source": "packages", "why": "asked for by PROVIDERS"}


def test_the_vendors_that_were_asked_for_and_are_missing_are_refused(
    served: Path, cli: pulumi_cli.Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(served, "docker", "minio")  # and not the third
    monkeypatch.setenv("PROVIDERS", "vendor")
    with pytest.raises(RefusedError, match="the vendor's plugins can't be had") as refused:
        providers.choose(cli)
    assert "mend: make up PROVIDERS=packages" in str(refused.value)
    assert not (paths.local_dir() / "providers.json").exists(), "a refusal decides nothing"


def test_a_damaged_archive_is_no_plugin(served: Path, cli: pulumi_cli.Cli) -> None:
    release(served, *providers.NAMES)
    for archive in served.iterdir():
        archive.write_bytes(archive.read_bytes()[:40])
    assert providers.choose(cli).source == "packages"


def test_a_way_that_does_not_exist_is_refused(
    served: Path, cli: pulumi_cli.Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDERS", "bundled")
    with pytest.raises(RefusedError, match="PROVIDERS: bundled: must be packages or vendor"):
        providers.choose(cli)
