"""Encryption by a passphrase. That Pulumi reads what comes of it is seen wherever a stack gets its credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.passphrase import Passphrase

#: As Pulumi wrote it for the passphrase below.
SALT = "v1:ll2Z37IBS7o=:v1:ZRd6U3YN9U/p4F0p:oj5n19NVRHRo99QNhdzvhZ4e0ELHzg=="
PASSPHRASE = "of no importance"


def of(**environment: str) -> Passphrase | None:
    return Passphrase.of({"encryptionsalt": SALT}, environment)


def test_a_value_is_encrypted_anew_each_time() -> None:
    found = of(PULUMI_CONFIG_PASSPHRASE=PASSPHRASE)
    assert found is not None
    first, second = found.encrypt("value"), found.encrypt("value")
    assert first != second
    assert first.startswith("v1:")
    assert "value" not in first


def test_a_passphrase_from_a_file_is_taken_without_the_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text(f" {PASSPHRASE}\n", encoding="utf-8")
    assert of(PULUMI_CONFIG_PASSPHRASE_FILE=str(file)) == of(PULUMI_CONFIG_PASSPHRASE=PASSPHRASE) is not None


@pytest.mark.parametrize(
    "environment",
    [{}, {"PULUMI_CONFIG_PASSPHRASE": "another"}, {"PULUMI_CONFIG_PASSPHRASE_FILE": "/nowhere"}],
    ids=["none", "a wrong one", "a file that is not there"],
)
def test_without_the_right_passphrase_there_is_nothing_to_encrypt_with(environment: dict[str, str]) -> None:
    assert of(**environment) is None


@pytest.mark.parametrize("salt", ["", "v2:" + SALT[3:], "v1:", "v1:x", SALT[:-8], "v1:AAAA" + SALT[7:]])
def test_what_is_no_salt_of_this_format_is_left_to_pulumi(salt: str) -> None:
    assert Passphrase.of({"encryptionsalt": salt}, {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}) is None


def test_a_key_of_another_provider_is_left_to_pulumi() -> None:
    stack_file = {"encryptionsalt": SALT, "secretsprovider": "awskms://alias/mlflow"}
    assert Passphrase.of(stack_file, {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}) is None


def test_what_was_encrypted_is_read_with_the_same_passphrase_only() -> None:
    found = of(PULUMI_CONFIG_PASSPHRASE=PASSPHRASE)
    assert found is not None
    assert found.decrypt(found.encrypt("süß: 1")) == "süß: 1"
    with pytest.raises(ValueError, match="MAC"):
        Passphrase(bytes(32)).decrypt(found.encrypt("value"))
