"""MinIO's image, built from source: what it calls itself, who it runs as, and whose credentials it takes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import boto3
import docker
import minio
import pytest
import urllib3
from botocore.config import Config
from docker.models.containers import Container
from minio.error import S3Error

from tests.toolchain.boxes import FILES, Boxes, File, eventually, execute, exit_of, inspect_of, logs, once, published
from tests.toolchain.servers import Server
from toolchain.paths import PROJECT_DIR

_UID = 10001
_ROOT = "stack-root"
_PASSWORD = "pass'w\"ord\\$x ö!"
_SETTINGS = {
    "MINIO_ROOT_USER_FILE": f"{FILES}/root-user",
    "MINIO_ROOT_PASSWORD_FILE": f"{FILES}/root-password",
}
_COMMIT = "7aac2a2c5b7c882e68c1ce017d8256be2feea27f"


def _server(boxes: Boxes, image: str, **options: object) -> Container:
    settings: dict[str, object] = {
        "uid": _UID,
        "files": {"root-user": File(_ROOT), "root-password": File(_PASSWORD)},
        "environment": _SETTINGS,
        **options,
    }
    return boxes.run(image, ["server", "/data", "--address", ":9000", "--console-address", ":9001"], **settings)


def _live(container: Container) -> float:
    request = r"GET /minio/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    probe = (
        f"exec 3<>/dev/tcp/127.0.0.1/9000 && printf '{request}' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"
    )

    def answers() -> bool:
        container.reload()
        assert container.status in {"running", "created"}, logs(container)
        return execute(container, ["bash", "-c", probe])[0] == 0

    return eventually(answers, "MinIO is live")


def test_it_knows_its_version_and_its_source(minio_image: str, docker_client: docker.DockerClient) -> None:
    told = once(docker_client, minio_image, "minio --version; cat /usr/share/doc/minio/LICENSE | head -1")
    assert f"minio version RELEASE.2026-02-12T20-18-48Z (commit-id={_COMMIT})" in told
    assert "DEVELOPMENT" not in told
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in told
    labels = docker_client.images.get(minio_image).labels
    assert labels["org.opencontainers.image.source"] == "https://github.com/minio/minio"
    assert labels["org.opencontainers.image.revision"] == _COMMIT
    assert labels["org.opencontainers.image.licenses"] == "AGPL-3.0-only"


def test_the_module_that_is_built_is_pinned_with_everything_it_uses() -> None:
    folder = PROJECT_DIR / "images/minio"
    module = (folder / "go.mod").read_text(encoding="utf-8")
    sums = (folder / "go.sum").read_text(encoding="utf-8")
    version = f"v0.0.0-20260212201848-{_COMMIT[:12]}"
    assert f"github.com/minio/minio {version}" in module
    assert f"github.com/minio/minio {version} h1:" in sums
    assert "replace" not in module


def test_the_binary_is_static_and_stripped_and_nothing_of_the_build_is_left(
    minio_image: str, docker_client: docker.DockerClient
) -> None:
    script = (
        "head -c 4096 $(command -v minio) | grep -ac ld-linux; ls -d /usr/local/go /go /src /root/go 2>/dev/null; id -u"
    )
    assert once(docker_client, minio_image, script) == f"0\n{_UID}\n"
    size = int(docker_client.images.get(minio_image).attrs["Size"])
    assert size < 230e6, f"{size / 1e6:.0f} MB"


def test_it_serves_with_the_credentials_in_its_files_and_no_others(
    boxes: Boxes, minio_image: str, docker_client: docker.DockerClient
) -> None:
    # As strict as it will ever run: nothing but /tmp and /data can be written, no capabilities.
    server = _server(
        boxes,
        minio_image,
        ports={"9000/tcp": ("127.0.0.1", None)},
        volumes={boxes.volume(): "/data"},
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )
    print(f"MinIO live after {_live(server):.2f} s")
    address = f"127.0.0.1:{published(server, '9000/tcp')}"
    root = minio.Minio(address, _ROOT, _PASSWORD, secure=False)
    root.make_bucket("mine")
    assert [bucket.name for bucket in root.list_buckets()] == ["mine"]
    for user, password in (("minioadmin", "minioadmin"), (_ROOT, "minioadmin"), (_ROOT, _PASSWORD + "x")):
        with pytest.raises(S3Error):
            minio.Minio(address, user, password, secure=False).list_buckets()
    processes = once(
        docker_client,
        minio_image,
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'",
        user="0",
        pid_mode=f"container:{server.id}",
        cap_add=["SYS_PTRACE"],
    )
    assert "MINIO_ROOT_PASSWORD_FILE" in processes
    seen = processes + logs(server) + inspect_of(docker_client, server)
    for form in (_PASSWORD, quote(_PASSWORD)):
        assert form not in seen
    assert "update" not in logs(server).lower(), "it does not look for newer versions"
    assert execute(server, ["sh", "-c", "stat -c '%u:%g' /data; id -u"])[1] == f"{_UID}:{_UID}\n{_UID}\n"


@pytest.mark.parametrize("missing", ["root-user", "root-password"])
def test_without_credentials_of_its_own_it_does_not_start(boxes: Boxes, minio_image: str, missing: str) -> None:
    files: Mapping[str, File] = {"root-user": File(_ROOT), "root-password": File(_PASSWORD)}
    server = _server(boxes, minio_image, files={name: file for name, file in files.items() if name != missing})
    assert exit_of(server) == 78
    assert "well-known credentials" in logs(server)
    empty = _server(boxes, minio_image, files={**files, missing: File("")})
    assert exit_of(empty) == 78
    unset = _server(boxes, minio_image, environment={})
    assert exit_of(unset) == 78


def test_a_new_root_password_takes_effect_at_the_next_start(boxes: Boxes, minio_image: str) -> None:
    data = boxes.volume()
    for password in ("the first password", "the second password"):
        server = _server(
            boxes,
            minio_image,
            files={"root-user": File(_ROOT), "root-password": File(password)},
            ports={"9000/tcp": ("127.0.0.1", None)},
            volumes={data: "/data"},
        )
        _live(server)
        address = f"127.0.0.1:{published(server, '9000/tcp')}"
        client = minio.Minio(address, _ROOT, password, secure=False)
        if not client.bucket_exists("kept"):
            assert password == "the first password"
            client.make_bucket("kept")
        server.remove(force=True, v=True)


@pytest.mark.parametrize("headers", [{}, {"X-Amz-Meta-Snowball-Auto-Extract": "true"}], ids=["object", "archive"])
@pytest.mark.parametrize("signed_in", ["query", "header"])
def test_an_upload_with_an_unsigned_trailer_needs_a_signature_all_the_same(
    minio_server: Server, signed_in: str, headers: dict[str, str]
) -> None:
    now = datetime.now(UTC)
    scope = f"{minio_server.user}/{now:%Y%m%d}/us-east-1/s3/aws4_request"
    sent = {
        **headers,
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": "4",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
    }
    names = ";".join(["host", *sorted(name.lower() for name in sent)])
    query = ""
    if signed_in == "query":
        query = "?" + urlencode(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Credential": scope,
                "X-Amz-Date": sent["x-amz-date"],
                "X-Amz-Expires": "900",
                "X-Amz-SignedHeaders": names,
                "X-Amz-Signature": "0" * 64,
            }
        )
    else:
        sent["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={'0' * 64}"
    bucket = f"unsigned-{secrets.token_hex(4)}"
    client = minio.Minio(
        endpoint=f"{minio_server.host}:{minio_server.port}",
        access_key=minio_server.user,
        secret_key=minio_server.password,
        secure=False,
    )
    client.make_bucket(bucket_name=bucket)
    answer = urllib3.request(
        "PUT",
        f"http://{minio_server.host}:{minio_server.port}/{bucket}/object{query}",
        body=b"4\r\nabcd\r\n0\r\nx-amz-checksum-crc32:7YLNEQ==\r\n\r\n",
        headers=sent,
        retries=False,
    )
    assert answer.status == 403, answer.data
    assert b"SignatureDoesNotMatch" in answer.data
    client.remove_bucket(bucket_name=bucket)  # it is empty


def test_a_client_that_signs_uploads_with_an_unsigned_trailer_as_usual(minio_server: Server) -> None:
    store = boto3.client(
        "s3",
        endpoint_url=f"http://{minio_server.host}:{minio_server.port}",
        aws_access_key_id=minio_server.user,
        aws_secret_access_key=minio_server.password,
        region_name="us-east-1",
        config=Config(request_checksum_calculation="when_supported", s3={"payload_signing_enabled": False}),
    )
    sent: list[str] = []
    store.meta.events.register("before-send.s3.*", lambda request, **_: sent.append(str(request.headers)))
    store.create_bucket(Bucket="trailer")
    store.put_object(Bucket="trailer", Key="object", Body=b"content" * 1000, ChecksumAlgorithm="CRC32")
    assert store.get_object(Bucket="trailer", Key="object")["Body"].read() == b"content" * 1000
    store.delete_object(Bucket="trailer", Key="object")
    store.delete_bucket(Bucket="trailer")
