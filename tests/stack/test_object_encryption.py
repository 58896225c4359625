"""Objects are encrypted from when it is asked for; what was there stays readable, and there is no way back."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import requests

from components.settings import SECRETS
from tests.stack.harness import Stack, execute


def _put(stack: Stack, text: str) -> str:
    url = f"{stack.tracking_uri}/api/2.0/mlflow-artifacts/artifacts/encryption/{uuid.uuid4()}"
    requests.put(url, data=text.encode(), timeout=30).raise_for_status()
    return url


def _on_disk(stack: Stack, text: str) -> bool:
    """Whether a text can be read on MinIO's volume."""
    found = execute(stack.container("minio"), ["sh", "-c", f"grep -rl {text} /data | wc -l"])
    return int(found) > 0


def test_objects_are_encrypted_once_it_is_asked_for_and_stay_readable(spare: Stack) -> None:
    plain, hidden = f"plain{uuid.uuid4().hex}", f"hidden{uuid.uuid4().hex}"
    before = _put(spare, plain)
    assert _on_disk(spare, plain), "else this test proves nothing"
    spare.configure(objectEncryption="true")
    spare.up().ok()
    after = _put(spare, hidden)
    assert not _on_disk(spare, hidden)
    assert requests.get(before, timeout=30).text == plain, "what was there"
    assert requests.get(after, timeout=30).text == hidden
    spare.checkout.toolchain("rotate", "minioRootPassword", stack=spare.name).ok()
    assert requests.get(after, timeout=30).text == hidden, "after a rotation of MinIO's root"

    spare.configure(objectEncryption="false")
    _refused(spare, "objectEncryption: false: objects are encrypted")
    spare.configure(objectEncryption="true")
    key = spare.credentials()["objectKey"]
    spare.pulumi("config", "set", "--secret", "objectKey", stdin=_another_key()).ok()
    _refused(spare, "objectKey: (hidden): is another one than objects are encrypted with")
    spare.pulumi("config", "set", "--secret", "objectKey", stdin=key).ok()
    assert requests.get(after, timeout=30).text == hidden


@pytest.mark.sampled
def test_encrypted_objects_are_backed_up_and_restored_into_a_stack_that_encrypts(spare: Stack, tmp_path: Path) -> None:
    spare.configure(objectEncryption="true")
    spare.up().ok()
    content = f"restored{uuid.uuid4().hex}"
    url = _put(spare, content)
    spare.checkout.toolchain("backup", str(tmp_path / "sets"), stack=spare.name).ok()
    requests.delete(url, timeout=30).raise_for_status()
    assert not requests.get(url, timeout=30).ok
    restored = spare.checkout.toolchain("restore", str(tmp_path / "sets"), "--overwrite", stack=spare.name)
    assert restored.code == 0, restored.text
    assert requests.get(url, timeout=30).text == content
    assert not _on_disk(spare, content), "it is encrypted again"
    spare.assert_no_changes()


def _another_key() -> str:
    return next(secret.generate() for secret in SECRETS if secret.key == "objectKey")


def _refused(stack: Stack, line: str) -> None:
    refused = stack.checkout.toolchain("preview", stack=stack.name)
    assert refused.code == 2, refused.text
    assert line in refused.stderr, refused.text


@pytest.mark.parametrize("key", ["objectKey"])
def test_the_key_of_objects_is_not_rotated(spare: Stack, key: str) -> None:
    refused = spare.checkout.toolchain("rotate", key, stack=spare.name)
    assert refused.code == 2
    assert f"NAME: {key}: is no credential that can be changed" in refused.stderr
