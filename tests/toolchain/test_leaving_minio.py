"""The way out of MinIO: the commands of docs/leaving-minio.md, on a real MinIO and another S3 server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import minio
import pytest
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from components.artifact_store import policy_document
from tests.stack.harness import free_ports
from tests.toolchain.boxes import eventually
from tests.toolchain.servers import Server
from toolchain import paths

PAGE = paths.PROJECT_DIR / "docs" / "leaving-minio.md"
BUCKET = f"leaving-{secrets.token_hex(4)}"
USER, SECRET = "leaving-user", "leaving-secret"
OBJECTS = {
    "1/abc/artifacts/model/MLmodel": b"flavors: {}\n",
    "1/abc/artifacts/a b#ö%.txt": b"a name that is hard on quoting",
    "1/abc/artifacts/empty": b"",
    "1/abc/artifacts/large.bin": secrets.token_bytes(12 << 20),
}


@dataclass(frozen=True, slots=True)
class Move:
    """Two stores and the program that copies between them.

    Attributes:
        program: rclone.
        environment: What the page lets a user set: both stores and who may read and write there.
        target: The folder in which the new store keeps its objects.
    """

    program: Path
    environment: dict[str, str]
    target: Path

    def run(self, verb: str) -> subprocess.CompletedProcess[str]:
        """Run the page's own line."""
        (line,) = set(re.findall(rf"^rclone {verb} .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
        words = shlex.split(line.replace("old:mlflow", f"old:{BUCKET}").replace("new:BUCKET", "new:artifacts"))
        return subprocess.run(
            [self.program, *words[1:]], env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture
def move(rclone_program: Path, minio_server: Server, tmp_path: Path) -> Iterator[Move]:
    """A MinIO with artifacts in it, and an empty S3 of another make beside it."""
    endpoint = f"{minio_server.host}:{minio_server.port}"
    administrator = StaticProvider(minio_server.user, minio_server.password)
    admin = MinioAdmin(endpoint=endpoint, credentials=administrator, secure=False)
    root = minio.Minio(endpoint=endpoint, access_key=minio_server.user, secret_key=minio_server.password, secure=False)
    root.make_bucket(bucket_name=BUCKET)
    for name, content in OBJECTS.items():
        root.put_object(
            bucket_name=BUCKET,
            object_name=name,
            data=io.BytesIO(content),
            length=len(content),
            content_type="text/plain",
            part_size=5 << 20,
        )
    # Exactly the rights that the stack's own bucket user has and a copy needs.
    document = policy_document(
        BUCKET, bucket_actions=["s3:GetBucketLocation", "s3:ListBucket"], object_actions=["s3:GetObject"]
    )
    admin.user_add(USER, SECRET)
    admin.policy_add(BUCKET, policy=json.loads(document))
    admin.policy_set(BUCKET, user=USER)

    (tmp_path / "new" / "artifacts").mkdir(parents=True)
    (port,) = free_ports(1)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **_store("OLD", "Minio", f"http://{endpoint}", USER, SECRET),
        **_store("NEW", "Other", f"http://127.0.0.1:{port}", "new-key", "new-secret"),
    }
    address, key = f"--addr=127.0.0.1:{port}", "--auth-key=new-key,new-secret"
    serve = [rclone_program, "serve", "s3", address, key, tmp_path / "new"]
    with subprocess.Popen(serve, env={"PATH": "/usr/bin", "HOME": str(tmp_path)}, stderr=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: _listens(port), "the new store listens", 20)
            yield Move(rclone_program, environment, tmp_path / "new" / "artifacts")
        finally:
            server.terminate()
            for name in OBJECTS:
                root.remove_object(bucket_name=BUCKET, object_name=name)
            root.remove_bucket(bucket_name=BUCKET)
            admin.user_remove(USER)
            admin.policy_remove(BUCKET)


def _store(name: str, provider: str, endpoint: str, key: str, secret: str) -> dict[str, str]:
    values = {
        "TYPE": "s3",
        "PROVIDER": provider,
        "ENDPOINT": endpoint,
        "ACCESS_KEY_ID": key,
        "SECRET_ACCESS_KEY": secret,
    }
    return {f"RCLONE_CONFIG_{name}_{key}": value for key, value in values.items()}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _held(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_pages_commands_copy_every_artifact_and_find_a_damaged_one(move: Move) -> None:
    copied = move.run("copy")
    assert copied.returncode == 0, copied.stderr
    assert _held(move.target) == {name: hashlib.sha256(content).hexdigest() for name, content in OBJECTS.items()}

    checked = move.run("check")
    assert checked.returncode == 0, checked.stderr
    assert "0 differences found" in checked.stderr

    damaged = move.target / "1/abc/artifacts/large.bin"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    found = move.run("check")
    assert found.returncode == 1, "the same size, another content"
    assert "large.bin" in found.stderr


def test_the_page_sets_every_variable_and_no_other() -> None:
    named = set(re.findall(r"\bRCLONE_CONFIG_\w+", PAGE.read_text(encoding="utf-8")))
    assert named == set(_store("OLD", "", "", "", "")) | set(_store("NEW", "", "", "", ""))
