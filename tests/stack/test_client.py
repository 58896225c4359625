"""A default client does everything that clients do, from wherever it may stand."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.stack import relay
from tests.stack.conftest import LARGE_MIB, SuiteRun, run_suite_in_container
from tests.stack.harness import Stack

#: Every step of the suite; each must have been timed, so that none was left out.
_STEPS = {
    "params, metrics, tags",
    "a batch of 1000 metrics",
    "a nested run",
    "a model, logged and registered",
    "the model, by alias, loaded back",
    "a trace",
    "a directory of 200 files, up",
    "a directory of 200 files, down",
    "64 MiB, up",
    "64 MiB, down",
    "in all",
}


def steps(large_mib: int) -> set[str]:
    """All of them, with an artifact of this size as the largest."""
    return _STEPS | {f"{large_mib} MiB, {way}" for way in ("up", "down")}


def test_a_client_on_the_host_needs_the_tracking_uri_alone(host_run: SuiteRun) -> None:
    print(host_run.output)
    assert set(host_run.result["seconds"]) == steps(1024), "a step of the client suite is missing"


def test_a_client_in_a_container_needs_the_tracking_uri_alone(stack: Stack, tmp_path: Path) -> None:
    run = _suite_in_container(
        stack, tmp_path, uri="http://mlflow-server:5000", network=f"mlflow-{stack.name}-front", name="container client"
    )
    print(run.output)
    assert set(run.result["seconds"]) == steps(LARGE_MIB), "a step of the client suite is missing"


def test_a_client_needs_nothing_but_a_tunnel_under_another_port_number(stack: Stack, tmp_path: Path) -> None:
    # The container has no network at all: whatever address the server might hand out, only the tunnel is there.
    with _tunnel(tmp_path / "tunnel", int(stack.settings["mlflowPort"])):
        run = _suite_in_container(
            stack, tmp_path, uri="http://127.0.0.1:15999", network="none", name="tunnel client", tunnel=True
        )
    print(run.output)
    assert set(run.result["seconds"]) == steps(LARGE_MIB), "a step of the client suite is missing"


@contextmanager
def _tunnel(folder: Path, port: int) -> Generator[None]:
    """The far end of the tunnel: a socket in a folder that can be mounted, carried to a port of this host."""
    folder.mkdir()
    folder.chmod(0o755)
    listener = relay.listen(f"unix:{folder}/socket")
    carrier = threading.Thread(target=relay.serve_forever, args=(listener, f"tcp:127.0.0.1:{port}"), daemon=True)
    carrier.start()
    with listener:
        yield


def _suite_in_container(
    stack: Stack, folder: Path, *, uri: str, network: str, name: str, tunnel: bool = False
) -> SuiteRun:
    """Run the suite in a container of the stack's own MLflow image, as a user without privileges."""
    work = folder / "work"
    work.mkdir()
    work.chmod(0o777)
    command = (
        f"python3 /suite/client_suite.py --json /work/result.json --work /work --name '{name}' --sizes 64,{LARGE_MIB}"
    )
    mounts: dict[str, dict[str, str]] = {}
    if tunnel:
        mounts[str(folder / "tunnel")] = {"bind": "/tunnel", "mode": "rw"}
        command = f"python3 /suite/relay.py tcp:127.0.0.1:15999 unix:/tunnel/socket & {command}"
    environment = {"MLFLOW_TRACKING_URI": uri}
    return run_suite_in_container(stack, work, command, environment=environment, network=network, mounts=mounts)


@pytest.mark.parametrize("route", ["/health", "/version"])
def test_the_front_door_answers_like_mlflow(stack: Stack, route: str) -> None:
    answer = requests.get(f"{stack.tracking_uri}{route}", timeout=10)
    assert answer.status_code == 200, f"{route}: {answer.status_code} {answer.text}"
    expected = "OK" if route == "/health" else "3.17.2"
    assert answer.text == expected, f"{route} answered {answer.text!r}"


@pytest.mark.parametrize(
    "name", ["plain.txt", "a b+c&d=e;f.txt", "\u00e4\u4e2d\U0001f600.txt", "{http.request.host}.html", '"quoted".csv']
)
def test_a_file_of_any_name_comes_back_as_an_attachment(stack: Stack, name: str) -> None:
    url = f"{stack.tracking_uri}/api/2.0/mlflow-artifacts/artifacts/names/{quote(name)}"
    body = name.encode() * 1000
    assert requests.put(url, data=body, timeout=30).status_code == 200
    try:
        answer = requests.get(url, timeout=30)
        part = requests.get(url, headers={"Range": "bytes=3-9"}, timeout=30)
    finally:
        requests.delete(url, timeout=30)
    assert (answer.status_code, answer.content) == (200, body)
    assert (part.status_code, part.content) == (206, body[3:10])
    assert answer.headers["Content-Disposition"].startswith("attachment"), (
        "a page made of an artifact would be MLflow's"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers.get("Access-Control-Allow-Origin") in (None, "null"), "another site may read it"
    assert answer.headers["Server"] == "MinIO", "it went through the server"
    kind = {"txt": "text/plain", "html": "text/html", "csv": "text/csv"}[name.rpartition(".")[2]]
    assert answer.headers["Content-Type"].partition(";")[0] in (kind, "text/plain")
    assert "X-Accel-Redirect" not in answer.headers
