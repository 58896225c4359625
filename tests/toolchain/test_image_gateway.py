"""The gateway's image and routes, for real: Caddy between a client and two servers that tell what reached them."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import docker
import pytest
from docker.models.containers import Container

from tests.toolchain.boxes import FILES, Boxes, File, eventually, execute, logs, once, published
from toolchain.paths import PROJECT_DIR

_UID = 10003
_FOLDER = PROJECT_DIR / "images" / "gateway"
_UPSTREAM = (Path(__file__).parent / "upstream.py").read_text(encoding="utf-8")


def _configuration(mode: str) -> dict[str, File]:
    """The files of the gateway: with HTTPS by `mode`, or without it (`off`)."""
    tls = _FOLDER / "tls" / ("off" if mode == "off" else "https")
    found = [_FOLDER / "Caddyfile", tls / "listener.caddyfile", tls / "site.caddyfile"]
    files = {path.name: File(path.read_text(encoding="utf-8")) for path in found}
    if mode != "off":
        files["certificate.caddyfile"] = File((tls / f"{mode}.caddyfile").read_text(encoding="utf-8"))
    return files


_HEALTH = "http://127.0.0.1:5080/gateway-health"
_RUN = ["caddy", "run", "--config", f"{FILES}/Caddyfile", "--adapter", "caddyfile"]
_SIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY%2F20260101&X-Amz-Signature=5ecre7"
_MIB = 1 << 20


@dataclass
class Gateway:
    """A running gateway and what is behind it."""

    container: Container
    port: int
    server: Container
    artifacts: Container

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer to one request."""
        connection = self.connect()
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, content

    def told(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the server behind says of a request."""
        status, _, content = self.ask(method, path, headers=headers)
        assert status == 200, content
        return json.loads(content)


@pytest.fixture
def gateway(boxes: Boxes, built: Mapping[str, str]) -> Gateway:
    network = boxes.network()

    def upstream(name: str) -> Container:
        return boxes.run(
            built["pythonImage"],
            ["python3", f"{FILES}/upstream.py", name],
            files={"upstream.py": File(_UPSTREAM)},
            network=network,
        )

    server, artifacts = upstream("mlflow"), upstream("minio")
    container = boxes.run(
        built["gatewayImage"],
        _RUN,
        uid=_UID,
        files=_configuration("off"),
        environment={
            "SERVER_UPSTREAM": f"{server.name}:8000",
            "ARTIFACT_UPSTREAM": f"{artifacts.name}:8000",
            "XDG_DATA_HOME": "/tmp",
        },
        network=network,
        ports={"5000/tcp": ("127.0.0.1", None)},
        # As strict as it will ever run: nothing but /tmp can be written, no capabilities.
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )
    made = Gateway(container, published(container, "5000/tcp"), server, artifacts)

    def routes() -> bool:
        try:
            return made.ask("GET", "/")[0] == 200 and made.ask("GET", "/b?X-Amz-Signature=1")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    eventually(routes, "the gateway routes")
    return made


def test_presigned_requests_go_to_minio_and_everything_else_to_mlflow(gateway: Gateway) -> None:
    for method in ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"):
        assert gateway.told(method, f"/mlflow/0/a%20b/c?{_SIGNED}")["name"] == "minio"
        assert gateway.told(method, "/api/2.0/mlflow/runs/search?X-Amz-Sign=1")["name"] == "mlflow"
    for path in ("/", "/#/experiments", "/get-artifact?path=X-Amz-Signature", "/version", "/ajax-api/3.0/x"):
        assert gateway.told("GET", path)["name"] == "mlflow"


def test_an_upload_whose_signature_minio_would_not_look_at_never_gets_there(gateway: Gateway) -> None:
    for kind in ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        for path in (f"/mlflow/0/a?{_SIGNED}", "/mlflow/0/a", "/api/2.0/mlflow/runs/search"):
            assert gateway.ask("PUT", path, b"x", {"x-amz-content-sha256": kind})[0] == 403, (kind, path)
    assert (
        gateway.told("PUT", f"/mlflow/0/a?{_SIGNED}", {"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"})["name"] == "minio"
    )


def test_a_request_arrives_as_it_was_sent(gateway: Gateway) -> None:
    path = f"/mlflow/0/%C3%B6%20%2B%25%23/a//b?response-x=%2F&{_SIGNED}"
    headers = {"Host": "tracking.example:5901", "User-Agent": "boto3", "x-amz-meta-a": "1", "Range": "bytes=0-9"}
    seen = gateway.told("GET", path, headers)
    assert seen["path"] == path
    assert {key: seen["headers"][key.lower()] for key in headers} == headers
    assert seen["headers"].get("accept-encoding") == "identity", "no compression added on the way"


@pytest.mark.parametrize("name", ["big.bin", "a%20b/%C3%B6%2B%25%23%3F.txt", "%7Bhttp.request.host%7D", "a//b"])
def test_a_file_comes_from_minio_without_a_way_round_by_mlflow(gateway: Gateway, name: str) -> None:
    asked = {
        "Host": "tracking.example:5901",
        "Range": "bytes=0-9",
        "Authorization": "Basic c2VjcmV0",
        "Cookie": "session=1",
        "Origin": "http://evil.example",
    }
    status, headers, content = gateway.ask("GET", f"/file/{name}", headers=asked)
    seen = json.loads(content)
    assert (status, seen["name"], seen["method"]) == (200, "minio", "GET")
    path, _, query = seen["path"].partition("?")
    assert unquote(path) == f"/bucket/{unquote(name)}", "a signature covers the path as it is without its encoding"
    assert query == "type=a%2Fb&X-Amz-Signature=1"
    assert (seen["headers"]["host"], seen["headers"]["range"]) == ("tracking.example:5901", "bytes=0-9")
    assert not {"authorization", "cookie", "origin"} & set(seen["headers"]), "meant for MLflow alone"
    assert headers["access-control-allow-origin"] == "http://allowed.example", "whose pages may read is MLflow's word"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "x-accel-redirect" not in headers, "a presigned URL went to a client that did not ask for one"


def test_a_client_can_neither_name_the_file_nor_decline_the_offer(gateway: Gateway) -> None:
    headers = {"X-Sendfile-Type": "X-Sendfile", "X-Accel-Redirect": "/bucket/other?X-Amz-Signature=1"}
    assert gateway.told("GET", "/file/mine", headers)["path"].startswith("/bucket/mine?")
    assert gateway.told("GET", "/other", headers)["headers"]["x-sendfile-type"] == "X-Accel-Redirect"


def test_minio_does_not_tell_browsers_to_use_https(gateway: Gateway) -> None:
    for path in ("/file/name", f"/bucket/name?{_SIGNED}"):
        assert "strict-transport-security" not in gateway.ask("GET", path)[1]


def test_the_server_learns_who_asked_and_how(gateway: Gateway) -> None:
    seen = gateway.told("GET", "/", {"Host": "tracking.example:5901", "X-Forwarded-Proto": "https"})["headers"]
    assert seen["host"] == "tracking.example:5901"
    assert seen["x-forwarded-host"] == "tracking.example:5901"
    assert seen["x-forwarded-proto"] == "http", "a client can't pretend to have come by https"
    assert seen["x-forwarded-for"].count(".") == 3


@pytest.mark.parametrize("target", [f"/mlflow/big?{_SIGNED}", "/api/2.0/mlflow-artifacts/artifacts/big"])
def test_large_bodies_pass_both_ways_unchanged(gateway: Gateway, target: str) -> None:
    body = b"\x5a" * (64 * _MIB)
    start = time.monotonic()
    status, _, content = gateway.ask("PUT", target, body, {"Expect": "100-continue"})
    up = time.monotonic() - start
    told = json.loads(content)
    assert (status, told["received"], told["sha256"]) == (200, len(body), hashlib.sha256(body).hexdigest())
    start = time.monotonic()
    status, headers, content = gateway.ask("GET", target.replace("/big", f"/../large/{len(body)}"))
    assert status == 200, "a path with dots is the server's to judge"
    query = target.partition("?")[2]
    status, headers, content = gateway.ask("GET", f"/large/{len(body)}?{query}")
    print(f"64 MiB up {up:.2f} s, down {time.monotonic() - start:.2f} s")
    assert (status, headers["content-length"]) == (200, str(len(body)))
    assert content == body


def test_a_stream_arrives_as_it_is_made(gateway: Gateway) -> None:
    connection = gateway.connect()
    start = time.monotonic()
    connection.request("GET", "/events")
    answer = connection.getresponse()
    first = answer.readline()
    waited = time.monotonic() - start
    rest = answer.read()
    assert first == b"data: 0\n"
    assert waited < (time.monotonic() - start) / 2, "three events, a second apart"
    assert b"data: 2" in rest


def test_while_mlflow_is_away_clients_and_people_are_told_so(gateway: Gateway) -> None:
    gateway.server.kill()
    start = time.monotonic()
    status, headers, content = gateway.ask("POST", "/api/2.0/mlflow/runs/create", b"{}")
    assert time.monotonic() - start < 10
    assert (status, headers["content-type"], headers["retry-after"]) == (503, "application/json", "2")
    assert json.loads(content)["error_code"] == "TEMPORARILY_UNAVAILABLE"
    status, headers, content = gateway.ask("GET", "/")
    assert (status, headers["content-type"].split(";")[0]) == (503, "text/plain")
    assert b"can't reach the server" in content
    assert gateway.told("GET", f"/b/k?{_SIGNED}")["name"] == "minio", "artifacts do not depend on it"
    gateway.server.start()
    eventually(lambda: gateway.ask("GET", "/")[0] == 200, "it is back by itself")


def test_a_restart_of_mlflow_is_waited_for(gateway: Gateway) -> None:
    gateway.server.restart(timeout=0)
    assert gateway.told("GET", "/version")["name"] == "mlflow"


def test_its_own_health_does_not_depend_on_what_is_behind_it(gateway: Gateway) -> None:
    gateway.server.kill()
    gateway.artifacts.kill()
    probe = ["wget", "-q", "-O", "-", _HEALTH]
    assert execute(gateway.container, probe) == (0, "OK")
    assert gateway.ask("GET", "/gateway-health")[0] == 503, "it is for the container alone"


def test_no_signature_and_no_header_gets_into_the_log(gateway: Gateway) -> None:
    gateway.artifacts.kill()
    assert gateway.told("GET", "/quiet")["name"] == "mlflow"
    status, _, content = gateway.ask("GET", f"/bucket/key?{_SIGNED}", headers={"Authorization": "Basic c2VjcmV0"})
    assert status == 503
    gateway.ask("GET", f"/bucket/last?{_SIGNED}")
    eventually(lambda: "/bucket/last" in logs(gateway.container), "Docker has what the container has written before")
    seen = logs(gateway.container)
    assert "/bucket/key" in seen, "the failure itself is logged, with its path"
    assert '"status":503' in seen
    assert "/quiet" not in seen, "what went well is not"
    for secret in ("5ecre7", "X-Amz-Credential", "c2VjcmV0", "KEY%2F2026"):
        assert secret not in seen + content.decode()


def test_it_runs_as_its_own_user_without_an_admin_api(gateway: Gateway) -> None:
    assert execute(gateway.container, ["id", "-u"])[1] == f"{_UID}\n"
    assert execute(gateway.container, ["wget", "-q", "-O", "-", "http://127.0.0.1:2019/config/"])[0] != 0
    trouble = [line for line in logs(gateway.container).splitlines() if '"level":"error"' in line]
    assert trouble == []


def test_it_stops_at_once_when_nothing_is_in_flight(gateway: Gateway) -> None:
    start = time.monotonic()
    gateway.container.stop(timeout=30)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("mode", ["off", "internal", "files", "acme"])
def test_the_configuration_is_valid_and_formatted(built: Mapping[str, str], boxes: Boxes, mode: str) -> None:
    files = _configuration(mode)
    formatted = " && ".join(f"caddy fmt --diff {FILES}/{name}" for name in files)
    command = "validate" if mode != "files" else "adapt"  # there is no certificate to be loaded here
    address = (
        {} if mode == "off" else {"GATEWAY_ADDRESS": "https://ml.example.org:5000", "PUBLIC_HOST": "ml.example.org"}
    )
    container = boxes.run(
        built["gatewayImage"],
        ["sh", "-c", f"caddy {command} --adapter caddyfile --config {FILES}/Caddyfile && {formatted}"],
        uid=_UID,
        files=files,
        environment={"SERVER_UPSTREAM": "mlflow:5000", "ARTIFACT_UPSTREAM": "minio:9000", **address},
    )
    assert container.wait()["StatusCode"] == 0, logs(container)
    assert "not formatted" not in logs(container), logs(container)


def test_another_address_is_all_that_https_needs(built: Mapping[str, str], boxes: Boxes) -> None:
    container = boxes.run(
        built["gatewayImage"],
        _RUN,
        uid=_UID,
        files=_configuration("internal"),
        environment={
            "SERVER_UPSTREAM": "mlflow:5000",
            "ARTIFACT_UPSTREAM": "minio:9000",
            "GATEWAY_ADDRESS": "https://localhost:5000",
            "PUBLIC_HOST": "localhost",
        },
    )

    def answers() -> bool:
        probe = ["wget", "-q", "--no-check-certificate", "-S", "-O", "-", "https://localhost:5000/version"]
        return "503" in execute(container, probe)[1]

    eventually(answers, "an answer over https")


def test_the_image_has_caddy_and_wget_and_no_compiler(
    built: Mapping[str, str], docker_client: docker.DockerClient
) -> None:
    script = "caddy version | cut -d' ' -f1; wget --help 2>&1 | head -1 | cut -d' ' -f1; id -u"
    assert once(docker_client, built["gatewayImage"], script) == f"v2.11.7\nBusyBox\n{_UID}\n"
