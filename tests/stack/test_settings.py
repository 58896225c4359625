"""Each setting, changed alone, touches what it must and nothing else: a preview of the running stack."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from components.settings import ENCRYPTING_KEYS, SECRET_KEYS, SECRETS, setting_keys
from tests.stack.harness import PROJECT, Stack, free_ports, write_settings

#: An operation of the engine → what it means for who reads the table.
_MEANING = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
}

Touched = dict[str, str]

SERVER: Touched = {"Container:server": "replace"}
GATEWAY: Touched = {"Container:gateway": "replace"}
MIGRATION: Touched = {"Container:migration": "replace"}
POSTGRES: Touched = {"Container:postgres": "replace"}
MINIO: Touched = {"Container:minio": "replace"}


def _and_files(part: Touched) -> Touched:
    """A container with the one that brings its files: both change with a file, and with the image."""
    return part | {f"{name}-files": how for name, how in part.items()}


#: Setting → (its new value, resources touched). A value of `IMAGE` stands for another tag of the image in use.
IMAGE = "(another tag of the same image)"
PORT = "(another free port)"
TABLE: dict[str, tuple[str, Touched]] = {
    "mlflowPort": (PORT, GATEWAY),
    "minioApiPort": (PORT, MINIO | {"minio:minio": "update"}),
    "minioConsolePort": (PORT, MINIO),
    "postgresPort": (PORT, POSTGRES | {"postgresql:postgresql": "update"}),
    "bindAddress": ("127.0.0.2", GATEWAY),
    "allowInsecurePublicBind": ("true", {}),
    "publicHost": ("mlflow.example.org", SERVER),
    "workers": ("2", SERVER),
    "jobRunner": ("true", SERVER),
    "serverMemoryMb": ("4096", {"Container:server": "update"}),
    "postgresImage": (IMAGE, _and_files(POSTGRES) | {"RemoteImage:postgres-image": "replace"}),
    "minioImage": (IMAGE, _and_files(MINIO) | {"Image:minio-image": "delete", "RemoteImage:minio-image": "create"}),
    "gatewayImage": (IMAGE, _and_files(GATEWAY) | {"RemoteImage:gateway-image": "replace"}),
    "pythonImage": (IMAGE, {"Image:mlflow-image": "update"} | _and_files(MIGRATION | SERVER)),
    "artifactAccess": ("direct", SERVER),
    "auth": ("basic", MIGRATION | _and_files(SERVER)),
    "defaultPermission": ("READ", {}),
    "allowArtifactsPastAuth": ("true", {}),
    "dataProtection": ("true", {}),
    "objectEncryption": ("true", _and_files(MINIO)),
    "bucketVersioning": ("true", {"S3BucketVersioning:versioning": "create", "IlmPolicy:rules": "create"}),
    "bucketVersionDays": ("7", {}),
    "gcSchedule": (
        "30 3 * * 0",
        {"Container:gc": "create", "Container:gc-files": "create", "Volume:gc-files": "create"},
    ),
    "gcOlderThan": ("7d", {}),
    "objectKey": ("", {}),
    "backupKey": ("", {}),
    "backupSchedule": ("30 2 * * 1-5", {}),
    "backupKeep": ("3", {}),
    # credentials
    "mlflowAdminPassword": ("", {}),
    "flaskSecret": ("", {}),
    "postgresAdminPassword": ("", _and_files(POSTGRES) | {"postgresql:postgresql": "update"}),
    "postgresOwnerPassword": ("", {"Role:owner": "update"} | _and_files(MIGRATION) | SERVER),
    "postgresRuntimePassword": ("", {"Role:runtime": "update"} | _and_files(SERVER)),
    "minioRootPassword": ("", _and_files(MINIO) | {"minio:minio": "update"}),
    "bucketUserSecret": ("", {"IamUser:bucket-user": "update"} | _and_files(SERVER)),
    "consoleUserPassword": ("", {"IamUser:console-user": "update"}),
}

#: Setting → (a new value, words of the refusal): a change would lose data, or needs what is not there.
REFUSED: dict[str, tuple[str, str]] = {
    "bucketName": ("another-bucket", "fixed once the stack is up"),
    "databaseName": ("another_database", "fixed once the stack is up"),
    "mlflowVersion": ("3.99.0", "lock"),
    "backupTarget": ("/nowhere/at/all", "there is no such folder on the Docker host"),
    "backupS3File": ("profile", "has no effect without a backupTarget in an S3"),
    "tls": ("internal", "publicHost is not set"),
    "tlsCertFile": ("cert.pem", "has no effect without tls: files"),
    "tlsKeyFile": ("key.pem", "has no effect without tls: files"),
    "acmeDirectory": ("https://acme.example.org", "has no effect without tls: acme"),
    "acmeCaFile": ("ca.pem", "has no effect without tls: acme"),
}

#: Which image a setting of type `IMAGE` stands for, by its role in the output `images`; the base image of the
#: MLflow image is in none of them.
_IMAGE_ROLES = {"postgresImage": "postgres", "minioImage": "minio", "gatewayImage": "gateway"}


def test_the_tables_hold_every_key() -> None:
    # A new value of a key that encrypts is refused, too: see the tests of rotation.
    assert set(TABLE) | set(REFUSED) | set(ENCRYPTING_KEYS) == {*setting_keys(), *SECRET_KEYS}, "keys and tables differ"


def touched(stack: Stack, config_file: Path) -> Touched:
    """What an `up` with this stack file would touch, by the kind and the name of each resource."""
    preview = stack.pulumi("preview", "--json", "--non-interactive", "--config-file", str(config_file)).ok()
    found: Touched = {}
    for step in json.loads(preview.stdout)["steps"]:
        kind, name = _kind_and_name(step["urn"])
        meaning = _MEANING.get(step["op"])
        # A replacement is several steps; a component changes nothing outside.
        if meaning is not None and not kind.startswith("component"):
            found[f"{kind}:{name}"] = meaning
    return found


def _kind_and_name(urn: str) -> tuple[str, str]:
    *_, types, name = urn.split("::")
    kind = types.split("$")[-1]
    if kind.startswith(("mlflow-stack:", "pulumi:pulumi:Stack")):
        return "component", name
    return kind.rsplit(":", 1)[-1].rsplit("/", 1)[-1], name


@pytest.fixture
def config_file(used_stack: Stack, tmp_path: Path) -> Path:
    """A copy of the stack file, to be changed."""
    return Path(shutil.copy(used_stack.file, tmp_path))


@pytest.fixture(scope="module")
def encrypted(used_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Credential → the lines of a stack file with another value, encrypted as this stack's are."""
    file = Path(shutil.copy(used_stack.file, tmp_path_factory.mktemp("encrypted")))
    fresh = [f"{secret.key}={secret.generate()}" for secret in SECRETS]
    arguments = [word for pair in fresh for word in ("--secret", pair)]
    used_stack.pulumi("config", "set-all", "--config-file", str(file), *arguments, record=False).ok()
    return {secret.key: _entry(file, secret.key) for secret in SECRETS}


def _entry(file: Path, key: str) -> str:
    found = re.search(rf"^  {PROJECT}:{key}:\n    secure: .*\n", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{key} is not in {file}"
    return found[0]


@pytest.fixture
def other_tag(client: docker.DockerClient) -> Iterator[Any]:
    """Gives images a second name, and takes the names away again."""
    given: list[str] = []

    def name(reference: str) -> str:
        other = f"local/mlflow-stack-test:{len(given)}"
        assert client.images.get(reference).tag(other)
        given.append(other)
        return other

    yield name
    for other in given:
        client.images.remove(other)


def _python_image(stack: Stack) -> str:
    """Base image of the MLflow image, as the state has it."""
    exported = json.loads(stack.pulumi("stack", "export", record=False).ok().stdout)
    resources: list[dict[str, Any]] = exported["deployment"]["resources"]
    image = next(r for r in resources if r["urn"].endswith("docker:index/image:Image::mlflow-image"))
    return str(image["inputs"]["build"]["args"]["PYTHON_IMAGE"])


@pytest.mark.parametrize("key", TABLE)
def test_a_setting_changed_alone_touches_only_what_it_must(
    used_stack: Stack, config_file: Path, encrypted: dict[str, str], other_tag: Any, key: str
) -> None:
    value, expected = TABLE[key]
    if key in SECRET_KEYS:
        text = config_file.read_text(encoding="utf-8")
        config_file.write_text(text.replace(_entry(config_file, key), encrypted[key]), encoding="utf-8")
    else:
        if value == PORT:
            value = str(free_ports(1)[0])
        elif value == IMAGE:
            role = _IMAGE_ROLES.get(key)
            images: dict[str, str] = used_stack.outputs["images"]
            value = other_tag(images[role] if role else _python_image(used_stack))
        write_settings(config_file, **{key: value})
    assert touched(used_stack, config_file) == expected, f"{key} = {value} touches something else"


@pytest.mark.parametrize("key", REFUSED)
def test_a_change_that_would_lose_data_or_lacks_something_is_refused_at_preview(
    used_stack: Stack, config_file: Path, key: str
) -> None:
    value, words = REFUSED[key]
    write_settings(config_file, **{key: value})
    preview = used_stack.pulumi("preview", "--non-interactive", "--config-file", str(config_file))
    assert preview.code != 0, f"{key} = {value} was accepted:\n{preview.text}"
    line = next((line for line in preview.stdout.splitlines() + preview.stderr.splitlines() if key in line), "")
    assert f"{key}: {value}: " in line, preview.text
    assert words in line, preview.text
    assert "mend: " in line, preview.text


def test_an_untouched_stack_expects_no_changes_after_a_refresh_either(used_stack: Stack) -> None:
    used_stack.assert_no_changes()
    used_stack.pulumi("refresh", "--yes", "--skip-preview", "--non-interactive").ok()
    used_stack.assert_no_changes()
    used_stack.assert_healthy()


def test_a_second_up_changes_nothing(used_stack: Stack) -> None:
    before = {role: used_stack.container(role).id for role in ("postgres", "minio", "server", "gateway")}
    used_stack.up().ok()
    after = {role: used_stack.container(role).id for role in before}
    assert after == before, "a second up made containers anew"
    used_stack.assert_healthy()


def test_every_key_is_in_the_project_file(used_stack: Stack) -> None:
    import yaml  # noqa: PLC0415 - used here only

    declared = yaml.safe_load((used_stack.checkout.root / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    keys = {key for key in declared if not key.startswith(("pulumi:", f"{PROJECT}:pulumi"))}
    assert keys == {*setting_keys(), *SECRET_KEYS}, "Pulumi.yaml and the settings differ"
