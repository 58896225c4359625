"""The preview that CI makes of a pull request: a fresh clone, the stack's state on S3, the passphrase, no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.stack.harness import Checkout, Stack

BUCKET = "pulumi-state"


@pytest.fixture
def bucket(used_stack: Stack) -> Iterator[dict[str, str]]:
    """A bucket for the state, on the shared stack's own MinIO; gives what CI would have as its variables."""
    credentials = used_stack.outputs["credentials"]
    port = used_stack.settings["minioApiPort"]
    user, secret = credentials["minioRootUser"], credentials["minioRootPassword"]
    s3: Any = boto3.resource(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=user,
        aws_secret_access_key=secret,
        region_name="us-east-1",
    )
    made = s3.create_bucket(Bucket=BUCKET)
    query = "region=us-east-1&disableSSL=true&s3ForcePathStyle=true"
    yield {
        "PULUMI_BACKEND_URL": f"s3://{BUCKET}?endpoint=http://127.0.0.1:{port}&{query}",
        "AWS_ACCESS_KEY_ID": user,
        "AWS_SECRET_ACCESS_KEY": secret,
        "PULUMI_CONFIG_PASSPHRASE": (used_stack.checkout.root / ".local" / "passphrase").read_text().strip(),
    }
    made.objects.all().delete()
    made.delete()


def test_a_preview_from_a_fresh_clone_with_state_on_s3_expects_no_changes(
    used_stack: Stack, bucket: dict[str, str], tmp_path: Path
) -> None:
    exported = used_stack.pulumi("stack", "export", record=False).ok().stdout
    clone = Checkout(tmp_path / "clone", bucket)
    stack = Stack(clone, used_stack.name, used_stack.settings)
    stack.file.write_bytes(used_stack.file.read_bytes())
    stack.pulumi("stack", "init", "--secrets-provider", "passphrase").ok()
    stack.file.write_bytes(used_stack.file.read_bytes())  # `stack init` has put a salt of its own into it
    stack.pulumi("stack", "import", stdin=exported).ok()

    preview = clone.make("preview", f"STACK={stack.name}").ok()
    assert "unchanged" in preview.stdout, preview.text
    for word in ("create", "update", "delete", "replace"):
        assert f"to {word}" not in preview.stdout, f"the preview expects changes\n{preview.text}"
    assert not (clone.root / ".local" / "state").exists(), "a state of its own beside the one on S3"

    # What a pull request changes is seen.
    stack.configure(workers=2)
    changed = clone.make("preview", f"STACK={stack.name}").ok()
    assert "to replace" in changed.stdout, changed.text
    used_stack.assert_no_changes()
