"""What the official plugins answered to recorded requests, the plugins here answer too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from pulumi.runtime.proto import provider_pb2

from tests.toolchain.plugin_process import Plugin, started
from tests.toolchain.recording import FIXTURES, recording
from toolchain.paths import PROJECT_DIR

_REQUESTS = {
    "CheckConfig": provider_pb2.CheckRequest,
    "DiffConfig": provider_pb2.DiffRequest,
    "Configure": provider_pb2.ConfigureRequest,
    "Check": provider_pb2.CheckRequest,
    "Diff": provider_pb2.DiffRequest,
    "Create": provider_pb2.CreateRequest,
    "Update": provider_pb2.UpdateRequest,
}
#: What the official plugins keep for themselves in a state, and what they say about themselves; a digest is of files
#: that change (test_plugin_core compares digests); a schema's policies, which the plugin here refuses.
_OWN = {"__pulumi_raw_state_delta", "__meta", "supportsAutonamingConfiguration", "contextDigest", "policies"}
#: The order of these means nothing.
_SETS = {"replaces", "stables", "diffs", "__defaults"}
#: A name that the plugin made: the random end differs.
_MADE = re.compile("-[0-9a-f]{7}$")
#: The official minio plugin lists empty tags as a change wherever there is another one in the rules.
_NO_TAGS = re.compile(r"rules\[\d+\]\.tags$")


def _exchanges() -> Iterator[Any]:
    for path in sorted(FIXTURES.glob("*.json")):
        counter: Counter[tuple[str, str]] = Counter()
        for exchange in recording(path.name, PROJECT_DIR):
            name = exchange["request"].get("name") or "config"
            counter[exchange["method"], name] += 1
            number = counter[exchange["method"], name]
            yield pytest.param(exchange, id=f"{path.stem}-{exchange['plugin']}-{exchange['method']}-{name}-{number}")


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        made = value.get("__defaults") or []
        return {
            name: "made" if name in made and name == "name" and _MADE.search(str(item)) else _plain(item, name)
            for name, item in value.items()
            if name not in _OWN and not (item in ({}, None) and (name == "tags" or _NO_TAGS.fullmatch(name)))
        }
    if isinstance(value, list):
        items = [_plain(item) for item in value]
        return sorted(set(items)) if key in _SETS else items
    return value


@pytest.fixture(scope="module")
def plugins() -> Iterator[dict[str, Plugin]]:
    """The plugins, each started; none needs its server for these requests."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(started(name)) for name in ("docker", "minio", "postgresql")}


@pytest.mark.parametrize("exchange", _exchanges())
def test_the_answer_is_the_official_one(plugins: dict[str, Plugin], exchange: dict[str, Any]) -> None:
    method = exchange["method"]
    request = json_format.ParseDict(exchange["request"], _REQUESTS[method](), ignore_unknown_fields=True)
    try:
        answer = getattr(plugins[exchange["plugin"]].stub, method)(request, timeout=60)
    except grpc.RpcError as error:
        pytest.fail(str(error))
    assert _plain(json_format.MessageToDict(answer)) == _plain(exchange["response"])


def test_there_is_something_to_compare_for_each_plugin() -> None:
    exchanges = [each for path in FIXTURES.glob("*.json") for each in recording(path.name, PROJECT_DIR)]
    seen = {(each["plugin"], each["method"]) for each in exchanges}
    for plugin in ("docker", "minio", "postgresql"):
        assert {(plugin, method) for method in ("CheckConfig", "Configure", "Check", "Diff", "Create")} <= seen
