"""What all plugins have in common: launcher, start and end, inputs that are refused, contexts, values on the wire."""

from __future__ import annotations

import inspect
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pulumi_docker
import pulumi_minio
import pulumi_postgresql
import pytest
from pulumi.runtime.proto import provider_pb2

from tests.toolchain.plugin_process import started
from toolchain.paths import PLUGINS_BIN, PROJECT_DIR
from toolchain.plugins.docker import context
from toolchain.plugins.docker import provider as docker_provider
from toolchain.plugins.docker.container import duration
from toolchain.plugins.inputs import DEFAULTS, Checker, plain
from toolchain.plugins.minio import provider as minio_provider
from toolchain.plugins.plan import plan
from toolchain.plugins.postgresql import provider as postgresql_provider
from toolchain.plugins.postgresql.client import literal
from toolchain.plugins.resource import Provider
from toolchain.plugins.schema import Field, Fields, boolean, integer, objects, string, strings
from toolchain.plugins.wire import UNKNOWN, Secret, decode, encode

_NAMES = ("docker", "minio", "postgresql")
_MAKERS: dict[str, Callable[[], Provider]] = {
    "docker": docker_provider.make,
    "minio": minio_provider.make,
    "postgresql": postgresql_provider.make,
}
_SDKS = {"docker": pulumi_docker, "minio": pulumi_minio, "postgresql": pulumi_postgresql}

#: Inputs of the vendors' that these plugins refuse by name. A new one in an SDK has to be put here, or be made to work.
_REFUSED = {
    "Container": {"gpus", "device_requests"},
    "Grant": {"columns"},
    "RemoteImage": {"build"},
    "Role": {"encrypted", "password_wo", "password_wo_version"},
    "Schema": {"policies"},
    "Volume": {"cluster"},
}


@pytest.mark.parametrize("linked", ["itself", "its folder"])
@pytest.mark.parametrize("name", _NAMES)
def test_a_launcher_works_through_a_link_and_from_any_folder(name: str, linked: str, tmp_path: Path) -> None:
    launcher = PLUGINS_BIN / f"pulumi-resource-{name}"
    link = tmp_path / "link" if linked == "its folder" else tmp_path / launcher.name
    link.symlink_to(launcher.parent if linked == "its folder" else launcher)
    with started(name, launcher=link / launcher.name if linked == "its folder" else link, cwd=tmp_path) as plugin:
        assert plugin.version == _MAKERS[name]().version


@pytest.mark.parametrize("name", _NAMES)
def test_a_start_imports_neither_the_sdk_nor_a_client_library(name: str) -> None:
    code = (
        "import sys; import toolchain.plugins.server;"
        f"import toolchain.plugins.{name}.provider as provider; provider.make();"
        "heavy = {'docker', 'minio', 'psycopg', 'requests', 'urllib3', 'pulumi.resource', 'asyncio'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_DIR)}
    # grpc itself imports asyncio.
    told = subprocess.check_output([sys.executable, "-P", "-c", code], env=environment, text=True)
    assert told.strip() == "['asyncio']"


@pytest.mark.parametrize("name", _NAMES)
def test_a_plugin_ends_quietly_when_the_engine_interrupts_it(name: str) -> None:
    with started(name) as plugin:
        assert plugin.version
        plugin.process.send_signal(signal.SIGINT)
        assert plugin.process.wait(timeout=10) == 0


def test_a_plugin_of_an_engine_in_the_background_is_ended_alike() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with started("minio") as plugin:
            plugin.process.send_signal(signal.SIGINT)
            assert plugin.process.wait(timeout=10) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_plugin_does_not_outlive_an_engine_that_was_killed() -> None:
    launcher = PLUGINS_BIN / "pulumi-resource-minio"
    code = (
        "import subprocess, sys, time;"
        f"plugin = subprocess.Popen([{str(launcher)!r}, '127.0.0.1:1'], stdout=subprocess.PIPE, text=True);"
        "plugin.stdout.readline(); print(plugin.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "MLFLOW_STACK_PYTHON": sys.executable}
    engine = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert engine.stdout is not None
    plugin = int(engine.stdout.readline())
    engine.kill()
    engine.wait()
    for _ in range(100):
        if not Path(f"/proc/{plugin}/stat").exists() or Path(f"/proc/{plugin}/stat").read_text().split()[2] == "Z":
            return
        signal.sigtimedwait((), 0.1)
    os.kill(plugin, signal.SIGKILL)
    pytest.fail("the plugin was still there after 10 s")


@pytest.mark.parametrize("name", _NAMES)
def test_an_unknown_setting_is_refused_by_name(name: str) -> None:
    with started(name) as plugin:
        request = provider_pb2.CheckRequest(
            urn="urn:pulumi:s::p::pulumi:providers:x::x", news=encode({"colour": "red"})
        )
        reasons = [failure.reason for failure in plugin.stub.CheckConfig(request).failures]
    assert any("`colour`" in reason for reason in reasons), reasons


@pytest.mark.parametrize("name", _NAMES)
def test_an_unknown_input_is_refused_by_name_on_every_resource(name: str) -> None:
    with started(name) as plugin:
        for token in (*_MAKERS[name]().resources, *_MAKERS[name]().natives):
            _, refused = plugin.checked(token, {"colour": "red"})
            assert any("colour" in reason for reason in refused), (token, refused)


@pytest.mark.parametrize("name", _NAMES)
def test_every_input_of_the_vendors_sdk_is_taken_or_refused_by_name(name: str) -> None:
    """The fields are the SDK's, but for the ones that are listed above."""
    for token, resource in _MAKERS[name]().resources.items():
        kind = token.rsplit(":", 1)[-1]
        vendors = set(inspect.signature(getattr(_SDKS[name], kind)._internal_init).parameters) - {
            "resource_name",
            "opts",
            "__props__",
            "__self__",
        }
        ours = {_snake(key) for key, item in resource.fields.items() if item.is_input}
        assert vendors - ours == _REFUSED.get(kind, set()), token
        assert ours <= vendors, token


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def test_an_unknown_resource_type_is_refused_with_the_ones_there_are() -> None:
    with started("minio") as plugin, pytest.raises(Exception, match=r"KmsKey.*made from packages has.*S3Bucket"):
        plugin.check("minio:index/kmsKey:KmsKey", {"keyId": "x"})


# -- inputs

_FIELDS: Fields = {
    "name": string(required=True, autoname=True),
    "size": integer(default=3),
    "on": boolean(default=False),
    "parts": objects({"label": string(required=True), "weight": integer(default=1)}),
    "password": string(secret=True),
    "tags": strings(),
}


def _checked(news: dict[str, object], olds: dict[str, object] | None = None) -> tuple[dict[str, object], list[str]]:
    checker = Checker("thing", b"seed")
    return checker.check(_FIELDS, olds or {}, news), checker.refused


def test_defaults_are_filled_in_and_named_at_every_level_but_zero_ones_are_not() -> None:
    kept, refused = _checked({"name": "n", "parts": [{"label": "l"}]})
    assert refused == []
    assert kept == {
        "name": "n",
        "size": 3,
        "parts": [{"label": "l", "weight": 1, DEFAULTS: ["weight"]}],
        DEFAULTS: ["size"],
    }


def test_a_value_that_was_a_default_before_stays_and_one_that_was_given_does_not() -> None:
    kept, _ = _checked({"name": "n"}, {"name": "n", "size": 2, DEFAULTS: ["size"]})
    assert kept["size"] == 2
    kept, _ = _checked({"name": "n"}, {"name": "n", "size": 2, DEFAULTS: []})
    assert kept["size"] == 3


def test_a_missing_name_is_made_up_once_and_kept() -> None:
    kept, _ = _checked({})
    assert str(kept["name"]).startswith("thing-")
    assert "name" in kept[DEFAULTS]  # type: ignore[operator]
    again, _ = _checked({}, kept)
    assert again["name"] == kept["name"]


def test_texts_become_the_numbers_and_booleans_they_stand_for() -> None:
    kept, refused = _checked({"name": 5, "size": "7", "on": "true"})
    assert (kept["name"], kept["size"], kept["on"], refused) == ("5", 7, True, [])
    _, refused = _checked({"name": "n", "size": "many"})
    assert "thing.size" in refused[0]


def test_unknown_values_pass_and_secrets_are_marked() -> None:
    kept, refused = _checked({"name": UNKNOWN, "size": UNKNOWN, "password": "p", "tags": ["a", UNKNOWN]})
    assert refused == []
    assert kept["size"] is UNKNOWN
    assert isinstance(kept["password"], Secret)
    assert decode(encode(kept))["tags"] == ["a", UNKNOWN]


# -- plans


def test_a_plan_takes_inputs_then_defaults_then_what_the_server_said() -> None:
    fields: Fields = {"given": string(), "default": integer(default=1), "server": string(computed=True)}
    assert plan(fields, None, {"given": "g"}) == {"given": "g", "default": 1, "server": UNKNOWN}
    prior = {"given": "g", "default": 1, "server": "s"}
    assert plan(fields, prior, {"given": "h"}) == {"given": "h", "default": 1, "server": "s"}


def test_an_order_of_a_set_is_no_change_and_a_zero_is_no_value() -> None:
    fields: Fields = {"tags": strings(), "note": string(), "many": Field("int")}
    prior = {"tags": ["a", "b"], "note": "", "many": 0}
    assert plan(fields, prior, {"tags": ["b", "a"]}) == prior


# -- small things


def test_values_survive_the_wire() -> None:
    values = {"a": [1, 2.5, True, "x", {"b": {}}], "c": "", "d": UNKNOWN, "e": []}
    assert decode(encode(values)) == values
    assert decode(encode({"s": Secret({"x": "y"}), "n": None})) == {"s": {"x": "y"}}
    assert plain({"s": Secret([Secret("x")]), DEFAULTS: []}) == {"s": ["x"]}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (10**9, "1s"), (60 * 10**9, "1m0s"), (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s"), (10**8, "100ms")],
)
def test_a_duration_is_written_as_go_writes_it(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


def test_an_sql_text_is_quoted_whatever_is_in_it() -> None:
    assert literal("it's") == "'it''s'"
    assert literal("a\\b'c") == " E'a\\\\b''c'"


# -- build contexts


def _tree(root: Path) -> None:
    files = {
        "Dockerfile": ("FROM scratch\n", 0o644),
        "a.txt": ("a", 0o600),
        "a/b.txt": ("b", 0o644),
        "a/c/d.sh": ("#!/bin/sh\n", 0o755),
        "a-b": ("", 0o644),
        "skip/x.log": ("x", 0o644),
        "skip/keep.log": ("k", 0o644),
        "deep/er/y.tmp": ("y", 0o644),
        "z.pyc": ("z", 0o644),
    }
    for name, (content, mode) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)
    (root / "link").symlink_to("a.txt")
    (root / "a" / "folder-link").symlink_to("c")


@pytest.mark.parametrize(
    ("ignore", "digest"),
    [
        ("", "fc2d9bc97f8d8999133488f18bfe27f110cc3df79a4f74cacb59cc5d2dbc516b"),
        (
            "# comment\n\n**/*.pyc\nskip\n!skip/keep.log\n  deep/*/*.tmp  \n/a-b\n",
            "90ccb0a2b636eed94e61085bed93ae8dc187bf4656878171ab84fae866c27ec8",
        ),
    ],
)
def test_a_contexts_digest_is_the_vendors(
    ignore: str, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expected ones are what the vendor's plugin 5.2.0 answers for the same tree."""
    _tree(tmp_path / "ctx")
    if ignore:
        (tmp_path / "ctx" / ".dockerignore").write_text(ignore)
        (tmp_path / "ctx" / ".dockerignore").chmod(0o644)
    monkeypatch.chdir(tmp_path)
    assert context.digest("./ctx", "./ctx/Dockerfile") == digest


def test_an_archive_has_what_is_not_ignored_and_the_dockerfile_in_any_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tree(tmp_path / "ctx")
    (tmp_path / "ctx" / ".dockerignore").write_text("*\n!a\na/c\n")
    monkeypatch.chdir(tmp_path)
    names, dockerfile = _names("ctx", "ctx/Dockerfile")
    assert (names, dockerfile) == ({"a", "a/b.txt", "a/folder-link", "Dockerfile"}, "Dockerfile")
    (tmp_path / "other.Dockerfile").write_text("FROM scratch\n")
    names, dockerfile = _names("ctx", "other.Dockerfile")
    assert dockerfile.startswith(".dockerfile.")
    assert dockerfile in names


def _names(folder: str, dockerfile: str) -> tuple[set[str], str]:
    data, inside = context.archive(folder, dockerfile)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
    assert {(each.uid, each.gid) for each in members} == {(0, 0)}
    return {each.name for each in members}, inside
