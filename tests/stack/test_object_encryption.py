"""Objects are encrypted from when it is asked for; what was there stays readable, and there is no way back."""

from __future__ import annotations

import uuid

import pytest
import requests

from components.settings import SECRETS
from tests.stack.harness import Checkout, Stack, deployed, execute


def _put(stack: Stack, text: str) -> str:
    url = f"{stack.tracking_uri}/api/2.0/mlflow-artifacts/artifacts/encryption/{uuid.uuid4()}"
    requests.put(url, data=text.encode(), timeout=30).raise_for_status()
    return url


def _on_disk(stack: Stack, text: str) -> bool:
    """Whether a text can be read on MinIO's volume."""
    found = execute(stack.container("minio"), ["sh", "-c", f"grep -rl {text} /data | wc -l"])
    return int(found) > 0


def test_objects_are_encrypted_once_it_is_asked_for_and_stay_readable(checkout: Checkout, tag: str) -> None:
    with deployed(checkout, f"{tag}e") as stack:
        plain, hidden = f"plain{uuid.uuid4().hex}", f"hidden{uuid.uuid4().hex}"
        before = _put(stack, plain)
        assert _on_disk(stack, plain), "else this test proves nothing"
        stack.configure(objectEncryption="true")
        stack.up().ok()
        after = _put(stack, hidden)
        assert not _on_disk(stack, hidden)
        assert requests.get(before, timeout=30).text == plain, "what was there"
        assert requests.get(after, timeout=30).text == hidden
        stack.checkout.toolchain("rotate", "minioRootPassword", stack=stack.name).ok()
        assert requests.get(after, timeout=30).text == hidden, "after a rotation of MinIO's root"

        stack.configure(objectEncryption="false")
        _refused(stack, "objectEncryption: false: objects are encrypted")
        stack.configure(objectEncryption="true")
        key = stack.credentials()["objectKey"]
        stack.pulumi("config", "set", "--secret", "objectKey", stdin=_another_key()).ok()
        _refused(stack, "objectKey: (hidden): is another one than objects are encrypted with")
        stack.pulumi("config", "set", "--secret", "objectKey", stdin=key).ok()
        assert requests.get(after, timeout=30).text == hidden


def _another_key() -> str:
    return next(secret.generate() for secret in SECRETS if secret.key == "objectKey")


def _refused(stack: Stack, line: str) -> None:
    refused = stack.checkout.toolchain("preview", stack=stack.name)
    assert refused.code == 2, refused.text
    assert line in refused.stderr, refused.text


@pytest.mark.parametrize("key", ["objectKey"])
def test_the_key_of_objects_is_not_rotated(stack: Stack, key: str) -> None:
    refused = stack.checkout.toolchain("rotate", key, stack=stack.name)
    assert refused.code == 2
    assert f"NAME: {key}: is no credential that can be changed" in refused.stderr
