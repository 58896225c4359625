"""The Pulumi CLI: the installed one, the vendor's, or one from Go modules."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toolchain import mirror
from toolchain import go_modules, paths, pulumi_cli
from toolchain.errors import REFUSED, RefusedError
from toolchain.pulumi_cli import go_build, vendor, version

ARCHIVE = f"pulumi-v{version.PINNED}-{vendor.machine()}.tar.gz"
FILES = {
    "pulumi/pulumi": "#!/bin/sh\necho v" + version.PINNED + "\n",
    "pulumi/pulumi-language-python": "#!/bin/sh\n",
    "pulumi/pulumi-language-python-exec": "#!/bin/sh\n",
    "pulumi/pulumi-language-java": "#!/bin/sh\n",
    "../escape/pulumi": "#!/bin/sh\necho escaped\n",
}


@pytest.fixture
def vendor_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a mirror; an empty cache; no CLI on PATH."""
    served = tmp_path / "served"
    served.mkdir()
    monkeypatch.setenv("MLFLOW_STACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("CLI", raising=False)
    with mirror.serve(served) as address:
        monkeypatch.setenv("MLFLOW_STACK_PULUMI_MIRROR", address)
        yield served


def release(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a release on the mirror whose checksum is known."""
    checksum = mirror.archive(folder / ARCHIVE, {name: FILES[name] for name in FILES if ".." not in name})
    monkeypatch.setitem(vendor.SHA256, vendor.machine(), checksum)
    return checksum


def cached() -> list[str]:
    return [path.name for path in paths.cache_root().glob("pulumi-*") if path.is_dir()]


def test_the_vendors_build_is_taken_where_it_can_be_had(vendor_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(vendor_mirror, monkeypatch)
    cli = pulumi_cli.ensure()
    assert version.of(cli.program) == f"v{version.PINNED}"
    assert cli.has_language_host, "the vendor's language host came along"
    assert "the vendor's build, checksum verified" in cli.why
    assert "none is installed" in cli.why, "it says why"
    assert not (cli.program.parent / "pulumi-language-java").exists(), "what Python does not need stays out"
    (vendor_mirror / ARCHIVE).unlink()
    assert pulumi_cli.ensure().program == cli.program, "the second time it comes from the cache"


def test_an_archive_with_another_checksum_is_refused(vendor_mirror: Path) -> None:
    mirror.archive(vendor_mirror / ARCHIVE, {"pulumi/pulumi": "#!/bin/sh\necho evil\n"})
    with pytest.raises(RefusedError, match="not the vendor's") as refused:
        pulumi_cli.ensure()
    assert refused.value.exit_code == REFUSED
    assert vendor.SHA256[vendor.machine()] in str(refused.value), "the line names what the checksum must be"
    assert ". mend: " in str(refused.value)
    assert cached() == [], "nothing of it is kept"


def test_a_file_that_would_leave_its_folder_does_not(vendor_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = mirror.archive(vendor_mirror / ARCHIVE, FILES)
    monkeypatch.setitem(vendor.SHA256, vendor.machine(), checksum)
    pulumi_cli.ensure()
    assert not (paths.cache_root() / "escape").exists()


@pytest.mark.parametrize("answer", ["nobody listens", "404", "no such host"])
def test_a_vendor_out_of_reach_is_noticed_quickly(
    vendor_mirror: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    if answer == "nobody listens":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("MLFLOW_STACK_PULUMI_MIRROR", f"http://127.0.0.1:{free.getsockname()[1]}")
    elif answer == "no such host":
        monkeypatch.setenv("MLFLOW_STACK_PULUMI_MIRROR", "http://mirror.invalid")
    with pytest.raises(vendor.OutOfReachError):
        vendor.download(vendor_mirror)
    monkeypatch.setenv("CLI", "vendor")
    with pytest.raises(RefusedError, match="make up CLI=packages"):
        pulumi_cli.ensure()


def test_a_mirror_that_never_answers_costs_seconds_only(vendor_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "_PATIENCE", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_STACK_PULUMI_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(vendor.OutOfReachError, match="can't be reached"):
            vendor.download(vendor_mirror)


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> Path:
    program = folder / "pulumi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\necho {said}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


def test_an_installed_cli_is_used(vendor_mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(vendor_mirror, monkeypatch)
    program = put_on_path(tmp_path / "bin", monkeypatch, "v3.270.1")
    cli = pulumi_cli.ensure()
    assert cli.program == program
    assert "v3.270.1" in cli.why
    assert cached() == [], "nothing was downloaded"


@pytest.mark.parametrize("said", ["v3.100.0", "v4.0.0", "nonsense"])
def test_an_installed_cli_that_does_not_fit_is_left_alone(
    vendor_mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    release(vendor_mirror, monkeypatch)
    program = put_on_path(tmp_path / "bin", monkeypatch, said)
    cli = pulumi_cli.ensure()
    assert cli.program != program
    assert f"{program} is {said}, this project needs 3.259.0 or newer before 4.0.0" in cli.why


def test_the_cli_of_a_shell_of_make_env_is_not_taken_for_an_installed_one(
    vendor_mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(vendor_mirror, monkeypatch)
    put_on_path(paths.cache_root() / "some-pulumi", monkeypatch, "v3.270.1")
    assert "none is installed" in pulumi_cli.ensure().why


def test_a_way_that_does_not_exist_is_refused(vendor_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLI", "brew")
    with pytest.raises(RefusedError, match="CLI: brew: must be vendor or packages"):
        pulumi_cli.ensure()


def test_every_machine_that_people_have_has_a_checksum() -> None:
    assert set(vendor.SHA256) == {"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", checksum) for checksum in vendor.SHA256.values())


def test_the_go_modules_build_the_pinned_version() -> None:
    module = (Path(go_build.__file__).parent / "go.mod").read_text(encoding="utf-8")
    assert f"github.com/pulumi/pulumi/pkg/v3 v{version.PINNED}\n" in module, "go.mod and the pin disagree"
    locked = (Path(go_build.__file__).parent / "go.sum").read_text(encoding="utf-8")
    assert f"github.com/pulumi/pulumi/pkg/v3 v{version.PINNED} h1:" in locked, "go.sum does not verify it"


def test_the_built_cli_says_its_version() -> None:
    cli = pulumi_cli.ensure()
    said = version.of(cli.program)
    assert said is not None
    assert version.supported(said), "the Automation API refuses a CLI without a version"


def test_a_machine_without_go_gets_one_that_is_new_enough() -> None:
    go = go_modules.bring_go()
    told = subprocess.run([go, "version"], capture_output=True, text=True, check=True, env={"HOME": "/tmp"})
    assert told.stdout.startswith("go version go1.27.3 "), told.stdout
    wanted = re.search(r"^go (\d+)\.(\d+)", (Path(go_build.__file__).parent / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None
    assert (int(wanted[1]), int(wanted[2])) <= (1, 27)
