"""HTTPS at the front door: by whose certificate, under which names, and what goes through it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.stack.authority import Authority, acme
from tests.stack.client_suite import make_file, sha256
from tests.stack.harness import Stack, host_address, wait_until
from tests.stack.secure import NAME, SETTINGS, Secure

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def turing(secure: Secure) -> tuple[str, str]:
    """A user."""
    return secure.user("turing")


def test_plain_http_is_redirected_on_the_port_that_clients_know(secure: Secure) -> None:
    answer = requests.get(
        f"http://127.0.0.1:{secure.port}/x?y=z",
        headers={"Host": f"{NAME}:{secure.port}"},
        allow_redirects=False,
        timeout=30,
    )
    assert answer.status_code == 308
    assert answer.headers["Location"] == secure.url("/x?y=z")


def test_a_browser_is_told_to_keep_to_https_under_the_public_name_alone(secure: Secure) -> None:
    public = secure.session().get(secure.url("/health"), timeout=30)
    assert public.headers["Strict-Transport-Security"] == "max-age=31536000"
    local = requests.get(f"https://localhost:{secure.port}/health", verify=str(secure.root), timeout=30)
    assert local.status_code == 200, "the stack's own authority vouches for localhost, too"
    assert "Strict-Transport-Security" not in local.headers, "localhost is everybody's"


@pytest.mark.parametrize(("version", "works"), [("tls1", 0), ("tls1_1", 0), ("tls1_2", 1), ("tls1_3", 1)])
def test_only_modern_versions_of_tls_are_spoken(secure: Secure, version: str, works: int) -> None:
    shown = secure.openssl(f"-{version}", "-cipher", "ALL:@SECLEVEL=0", "-CAfile", str(secure.root))
    assert (shown.returncode == 0) == bool(works), shown.stdout + shown.stderr
    assert ("no peer certificate available" in shown.stdout) != bool(works)


def test_no_weak_cipher_is_taken(secure: Secure) -> None:
    shown = secure.openssl("-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:DES-CBC3-SHA:@SECLEVEL=0")
    assert shown.returncode != 0, f"a cipher without forward secrecy was taken: {shown.stdout}"


@pytest.mark.parametrize("name", ["evil.example.org", f"{NAME}.evil.example.org", "example.org"])
def test_another_name_gets_no_certificate(secure: Secure, name: str) -> None:
    shown = secure.openssl(name=name)
    assert shown.returncode != 0
    assert "no peer certificate available" in shown.stdout


def test_a_request_for_another_host_than_the_connections_is_refused(secure: Secure) -> None:
    answer = secure.session(secure.admin).get(secure.url("/"), headers={"Host": "evil.example.org"}, timeout=30)
    assert answer.status_code == 421


def test_the_log_has_the_clients_address_and_never_a_query_or_a_header(secure: Secure) -> None:
    mark = "a-query-that-may-hold-a-signature"
    secure.session(secure.admin).get(secure.url(f"/health?{mark}"), timeout=30)
    gateway = secure.stack.container("gateway")
    secure.session().get(secure.url("/version?" + mark), timeout=30)
    wait_until(lambda: b"/version" in gateway.logs(tail=50), "the request is in the log")
    lines = [json.loads(line) for line in gateway.logs(tail=50).splitlines() if b"handled request" in line]
    request: dict[str, Any] = next(
        line["request"] for line in reversed(lines) if line["request"]["uri"].startswith("/version")
    )
    assert request["remote_ip"].count(".") == 3
    assert mark not in json.dumps(lines)
    assert "headers" not in request


def _grown(stack: Stack, stop: threading.Event, peaks: dict[str, int]) -> None:
    """The most memory that processes of gateway and server took while something went on, in bytes."""
    while not stop.is_set():
        for role in ("gateway", "server"):
            peaks[role] = max(peaks.get(role, 0), _used(stack, role))


def _used(stack: Stack, role: str) -> int:
    """Memory of a role's processes in bytes, without the files that the kernel keeps for them."""
    stats: Any = stack.client.api.stats(f"mlflow-{stack.name}-{role}", stream=False)
    memory: dict[str, int] = stats["memory_stats"]["stats"]
    return memory["total_rss"] if "total_rss" in memory else memory["anon"]  # control groups v1, and v2


def test_a_large_artifact_streams_through_in_little_memory(
    secure: Secure, turing: tuple[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    option: Any = request.config.getoption("--large-mib")
    size = int(option)
    session, source, target = secure.session(turing), tmp_path / "up", tmp_path / "down"
    created = session.post(secure.url("/api/2.0/mlflow/experiments/create"), json={"name": f"large {size}"}, timeout=30)
    address = secure.url(
        f"/api/2.0/mlflow-artifacts/artifacts/{created.json()['experiment_id']}/run/artifacts/large.bin"
    )
    expected = make_file(source, size * MIB, seed=1)
    before = {role: _used(secure.stack, role) for role in ("gateway", "server")}
    peaks, stop = dict[str, int](), threading.Event()
    watcher = threading.Thread(target=_grown, args=(secure.stack, stop, peaks))
    watcher.start()
    try:
        with source.open("rb") as file:
            assert session.put(address, data=file, timeout=600).status_code == 200
        with session.get(address, stream=True, timeout=600) as answer, target.open("wb") as file:
            for piece in answer.iter_content(4 * MIB):
                file.write(piece)
    finally:
        stop.set()
        watcher.join()
    assert sha256(target) == expected
    grown = {role: (peaks[role] - before[role]) // MIB for role in peaks}
    print(f"{size} MiB up and down: grown by {grown} MiB")
    assert sum(grown.values()) < 300, f"MiB more while {size} MiB went through: {grown}"


def test_a_trace_by_otlp_goes_through(secure: Secure, turing: tuple[str, str]) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    session = secure.session(turing)
    created = session.post(secure.url("/api/2.0/mlflow/experiments/create"), json={"name": "otlp"}, timeout=30)
    export = ExportTraceServiceRequest()
    span = export.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes(range(16)), bytes(range(8)), "a span"
    span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000 * 10**9, 1_700_000_001 * 10**9
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": created.json()["experiment_id"]}
    answer = session.post(secure.url("/v1/traces"), data=export.SerializeToString(), headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def changed(secure: Secure) -> Iterator[Any]:
    """Change settings of the shared stack; it is what it was afterwards."""
    keys: set[str] = set()

    def change(**settings: object) -> None:
        keys.update(settings)
        secure.stack.configure(**settings)
        secure.stack.up().ok()

    yield change
    secure.stack.forget(*(key for key in keys if key not in SETTINGS))
    secure.stack.configure(**SETTINGS)
    secure.stack.up().ok()


@pytest.mark.sampled
def test_a_certificate_of_ones_own_serves_the_same_client(
    secure: Secure, turing: tuple[str, str], changed: Any, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("own", f"DNS:{NAME}")
    changed(tls="files", tlsCertFile=pair.certificate, tlsKeyFile=pair.key)
    by_own = Secure(secure.stack, tmp_path)
    by_own.trust(authority.root.certificate)
    by_own.suite(turing, tmp_path / "work", name="files client", sizes="8")
    for name in ("localhost", "evil.example.org"):
        shown = secure.openssl(name=name)
        assert shown.returncode != 0, f"who asks for {name} is not for us: {shown.stdout}"
    secure.stack.assert_no_changes()


@pytest.mark.sampled
def test_a_certificate_by_acme_serves_the_same_client(
    secure: Secure, turing: tuple[str, str], changed: Any, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    address = host_address(secure.stack.client, f"mlflow-{secure.stack.name}-app")
    with acme(authority, address, challenges_at=secure.port) as server:
        changed(tls="acme", acmeDirectory=server.directory, acmeCaFile=authority.root.certificate)
        by_acme = Secure(secure.stack, tmp_path)
        by_acme.trust(server.root)
        by_acme.suite(turing, tmp_path / "work", name="acme client", sizes="8")
        # What was got is kept: a new gateway asks for nothing, and would get nothing.
    secure.stack.container("gateway").restart()
    wait_until(lambda: by_acme.session().get(by_acme.url("/health"), timeout=5).ok, "the certificate that was kept")
    secure.stack.assert_no_changes()


def test_the_authority_that_clients_trust_is_the_same_after_all_that(secure: Secure) -> None:
    fresh = secure.stack.checkout.toolchain("ca", stack=secure.stack.name).ok().stdout
    assert fresh == secure.root.read_text(encoding="utf-8")
    assert secure.session().get(secure.url("/health"), timeout=30).ok
