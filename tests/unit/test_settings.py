"""Every key against each of its limits, and the block of Pulumi.yaml that declares the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic.alias_generators import to_camel

from components.problem import InvalidConfigError
from components.settings import (
    MAX_SECRET_LENGTH,
    MIN_SECRET_LENGTH,
    SECRET_KEYS,
    SECRETS,
    Settings,
    load,
    setting_keys,
)
from tests.unit.recording import dummy_secrets

PROJECT_FILE = Path(__file__).parents[2] / "Pulumi.yaml"


def _bad_values() -> list[tuple[str, str]]:
    """One value beyond each limit of each key, read off the settings themselves."""
    cases: list[tuple[str, str]] = []
    for name, field in Settings.model_fields.items():
        key = to_camel(name)
        annotation: Any = field.annotation
        if annotation in (int, bool) or get_origin(annotation) is Literal or {int, bool} & set(get_args(annotation)):
            cases.append((key, "not-one"))
        for limit in field.metadata:
            if (least := getattr(limit, "ge", None)) is not None:
                cases.append((key, str(least - 1)))
            if (most := getattr(limit, "le", None)) is not None:
                cases.append((key, str(most + 1)))
            if (shortest := getattr(limit, "min_length", None)) is not None:
                cases.append((key, "a" * (shortest - 1)))
            if (longest := getattr(limit, "max_length", None)) is not None:
                cases.append((key, "a" * (longest + 1)))
            if getattr(limit, "pattern", None) is not None:
                cases.append((key, "%"))
    return [
        *cases,
        ("bindAddress", "localhost"),
        ("postgresImage", "a b"),
        ("bucketName", "a..b"),
        ("backupSchedule", "* * * *"),
        ("backupSchedule", "60 * * * *"),
        ("backupSchedule", "5-1 * * * *"),
        ("backupSchedule", "@daily"),
        ("bucketName", "1.2.3.4"),
    ]


def _refused(values: dict[str, str], **options: Any) -> list[str]:
    with pytest.raises(InvalidConfigError) as refusal:
        load({**dummy_secrets(), **values}, **options)
    return refusal.value.lines


@pytest.mark.parametrize(("key", "value"), _bad_values())
def test_a_value_beyond_a_limit_is_refused_with_key_value_and_mend(key: str, value: str) -> None:
    (line,) = _refused({key: value})
    assert line.startswith(f"{key}: {value}: ")
    assert f". mend: pulumi config {'rm' if 'config rm' in line else 'set'} {key}" in line


def test_every_key_with_limits_is_tried() -> None:
    tried = {key for key, _ in _bad_values()}
    assert tried == set(setting_keys()), "a key without a limit takes anything: give it one"


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_missing_credential_is_refused_with_make_init(key: str) -> None:
    (line,) = _refused({key: ""})
    assert line == f"{key}: (not set): this credential is missing. mend: make init"


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.key)
@pytest.mark.parametrize(
    "value",
    [
        "a" * (MIN_SECRET_LENGTH - 1),
        "a" * (MAX_SECRET_LENGTH + 1),
        "a" * 20 + " b",
        "a" * 20 + "\n",
        "ä" * 20,
        "a" * 20 + '"',
        "a" * 20 + "\\",
    ],
    ids=["short", "long", "space", "newline", "not ASCII", "quote", "backslash"],
)
def test_a_malformed_credential_is_refused_and_never_shown(secret: Any, value: str) -> None:
    (line,) = _refused({secret.key: value})
    assert line.startswith(f"{secret.key}: (hidden): must be ")
    assert value not in line


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.key)
def test_a_generated_credential_is_accepted_and_never_the_same_twice(secret: Any) -> None:
    one, other = secret.generate(), secret.generate()
    assert one != other
    assert secret.accepts(one)


def test_the_defaults_of_pulumi_yaml_are_accepted_and_mean_the_same() -> None:
    declared = yaml.safe_load(PROJECT_FILE.read_text(encoding="utf-8"))["config"]
    defaults = {key: value["default"] for key, value in declared.items() if key in setting_keys()}
    assert load({**dummy_secrets(), **defaults}) == load(dummy_secrets())


def test_two_rights_do_not_share_a_credential() -> None:
    (line,) = _refused({"postgresAdminPassword": "x" * 20, "postgresOwnerPassword": "x" * 20})
    assert "must differ from postgresAdminPassword" in line


def test_a_credential_in_plain_text_is_refused() -> None:
    encrypted = [key for key in SECRET_KEYS if key != "minioRootPassword"]
    (line,) = _refused({}, encrypted=encrypted)
    assert line.startswith("minioRootPassword: (hidden): stands in plain text")
    assert line.endswith("mend: pulumi config set --secret minioRootPassword")


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    (line,) = _refused({"mlflowprt": "5002"})
    assert line.startswith("mlflowprt: 5002: is no key of this program; the keys are mlflowPort, ")
    assert line.endswith("mend: pulumi config rm mlflowprt")


@pytest.mark.parametrize("one", ["mlflowPort", "minioApiPort", "minioConsolePort", "postgresPort"])
@pytest.mark.parametrize("other", ["mlflowPort", "minioApiPort", "minioConsolePort", "postgresPort"])
def test_equal_ports_are_refused(one: str, other: str) -> None:
    if one == other:
        assert load({**dummy_secrets(), one: "6000"}), "one port alone is fine"
        return
    (line,) = _refused({one: "6000", other: "6000"})
    assert "6000: must differ from " in line


def test_all_problems_are_named_at_once() -> None:
    assert len(_refused({"mlflowPort": "0", "workers": "0", "minioRootPassword": ""})) == 3


def test_a_memory_limit_that_cannot_hold_the_workers_is_refused_with_the_least() -> None:
    (line,) = _refused({"workers": "8", "serverMemoryMb": "512"})
    least = load({**dummy_secrets(), "workers": "8"}).least_server_memory_mb
    assert line.startswith(f"serverMemoryMb: 512: 8 workers need at least {least} MiB")
    assert load({**dummy_secrets(), "workers": "8", "serverMemoryMb": str(least)})


def test_a_public_bind_is_refused_unless_allowed() -> None:
    (line,) = _refused({"bindAddress": "0.0.0.0"})
    assert line.startswith("bindAddress: 0.0.0.0: ")
    assert load({**dummy_secrets(), "bindAddress": "0.0.0.0", "allowInsecurePublicBind": "true"})


@pytest.mark.parametrize(("auth", "tls"), [("none", "off"), ("basic", "off"), ("none", "internal")])
def test_a_public_bind_wants_a_login_and_encryption(auth: str, tls: str) -> None:
    safe = {"bindAddress": "0.0.0.0", "auth": "basic", "tls": "internal", "publicHost": "ml.example.org"}
    assert load({**dummy_secrets(), **safe})
    (line,) = _refused({**safe, "auth": auth, "tls": tls})
    assert line.startswith("bindAddress: 0.0.0.0: every machine that reaches this address")
    assert load({**dummy_secrets(), **safe, "auth": auth, "tls": tls, "allowInsecurePublicBind": "true"})
    direct = {**safe, "artifactAccess": "direct", "allowArtifactsPastAuth": "true"}
    assert _refused(direct)[0].startswith("bindAddress: 0.0.0.0: "), "MinIO's own port has no encryption"


def test_clients_get_no_key_past_the_permissions_unless_asked_for_in_so_many_words() -> None:
    past = {"auth": "basic", "artifactAccess": "direct"}
    (line,) = _refused(past)
    assert line.startswith("artifactAccess: direct: every client would hold a key to all artifacts")
    assert load({**dummy_secrets(), **past, "allowArtifactsPastAuth": "true"})


def test_users_are_refused_for_an_mlflow_that_keeps_them_elsewhere() -> None:
    (line,) = _refused({"auth": "basic", "mlflowVersion": "3.10.1"})
    assert line.startswith("auth: basic: keeps its users beside the runs only from MLflow 3.17.0 on")


@pytest.mark.parametrize(
    ("values", "key", "mend"),
    [
        ({"tls": "internal"}, "tls", "pulumi config set publicHost NAME"),
        ({"tls": "files", "tlsKeyFile": "k"}, "tlsCertFile", "pulumi config set tlsCertFile /path/to/file.pem"),
        ({"tls": "files", "tlsCertFile": "c"}, "tlsKeyFile", "pulumi config set tlsKeyFile /path/to/file.pem"),
        ({"tls": "internal", "tlsCertFile": "c"}, "tlsCertFile", "pulumi config rm tlsCertFile"),
        ({"tlsKeyFile": "k"}, "tlsKeyFile", "pulumi config rm tlsKeyFile"),
        ({"tls": "files", "tlsCertFile": "c", "tlsKeyFile": "k", "acmeCaFile": "a"}, "acmeCaFile", "pulumi config rm"),
        ({"acmeDirectory": "https://a.example"}, "acmeDirectory", "pulumi config rm acmeDirectory"),
    ],
)
def test_settings_of_a_certificate_that_do_not_fit_together_are_refused(
    values: dict[str, str], key: str, mend: str
) -> None:
    (line,) = _refused({**({} if values == {"tls": "internal"} else {"publicHost": "ml.example.org"}), **values})
    assert line.startswith(f"{key}: ")
    assert f"mend: {mend}" in line


def test_pulumi_yaml_declares_exactly_the_settings() -> None:
    declared = yaml.safe_load(PROJECT_FILE.read_text(encoding="utf-8"))["config"]
    own = {key: value for key, value in declared.items() if ":" not in key}
    expected: dict[str, dict[str, Any]] = {}
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        default = default.lower() if isinstance(field.default, bool) else default
        expected[to_camel(name)] = {"type": "string", "description": field.description, "default": default}
    for secret in SECRETS:
        expected[secret.key] = {
            "type": "string",
            "description": secret.description,
            "default": "",
        }
    assert own == expected
