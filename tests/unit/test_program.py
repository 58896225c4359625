"""What the program asks the engine for: inputs and resource options, without Docker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import Failure
from components.naming import SERVICES
from components.settings import MAX_CONNECTIONS, PROJECT, SECRET_KEYS
from tests.unit.recording import Recorded, Registered, run_stack

CONTAINER = "docker:index/container:Container"
VOLUME = "docker:index/volume:Volume"


@pytest.fixture(scope="module")
def default() -> Recorded:
    """The program on its default settings."""
    return run_stack()


def _running(recorded: Recorded) -> list[Registered]:
    """The containers that are started; the others only hold files."""
    return [each for each in recorded.all(CONTAINER).values() if each.inputs.get("start") is not False]


def _envs(recorded: Recorded, role: str) -> dict[str, str]:
    envs: list[str] = recorded.of(CONTAINER, role).inputs["envs"]
    return dict(env.split("=", 1) for env in envs)


def test_every_docker_object_has_the_name_and_the_labels_of_its_stack(default: Recorded) -> None:
    for role in (*SERVICES, "migration"):
        inputs = default.of(CONTAINER, role).inputs
        labels = {label["label"]: label["value"] for label in inputs["labels"]}
        assert inputs["name"] == f"mlflow-dev-{role}", "names are fixed: scripts rely on them"
        assert labels[f"{PROJECT}.project"] == PROJECT
        assert labels[f"{PROJECT}.stack"] == "dev"
        assert labels[f"{PROJECT}.role"] == role
    for kind in (VOLUME, "docker:index/network:Network"):
        for resource in default.all(kind).values():
            labels = {label["label"]: label["value"] for label in resource.inputs["labels"]}
            assert labels[f"{PROJECT}.stack"] == "dev", f"destroy finds leftovers by this label: {resource.name}"


def test_a_container_is_made_only_when_every_image_is_there(default: Recorded) -> None:
    images = {
        urn for urn, each in default.resources.items() if each.type.startswith("docker:index/") and "mage" in each.type
    }
    assert len(images) == 4
    for role in ("postgres", "minio", "gateway"):
        dependencies = set(default.of(CONTAINER, role).request.dependencies)
        assert images <= dependencies, f"a failed build must leave no {role} container behind"


def test_the_server_takes_a_property_of_the_migration_so_that_it_is_stopped_before_it(
    default: Recorded,
) -> None:
    server = default.of(CONTAINER, "server").request
    urns = server.propertyDependencies["envs"].urns
    assert any(urn.endswith("Container::migration") for urn in urns), (
        "the cascade of delete-before-replace follows property dependencies, not depends_on"
    )


def test_the_server_waits_for_the_bucket_and_its_users_policy(default: Recorded) -> None:
    dependencies = list(default.of(CONTAINER, "server").request.dependencies)
    assert any(urn.endswith("S3Bucket::bucket") for urn in dependencies)
    assert any(urn.endswith("::bucket-user-attachment") for urn in dependencies)


def test_the_migration_waits_for_the_last_privilege(default: Recorded) -> None:
    dependencies = list(default.of(CONTAINER, "migration").request.dependencies)
    assert any(urn.endswith("::runtime-sequences") for urn in dependencies), (
        "tables made before the default privileges would be closed to the run-time role"
    )


def test_a_failed_migration_fails_the_run_and_says_why() -> None:
    with pytest.raises(Failure, match=r"(?s)exit code 3.*the reason"):
        run_stack(exit_code=3)


def test_another_attempt_makes_the_migration_again(default: Recorded) -> None:
    again = run_stack(attempt="abc").of(CONTAINER, "migration").inputs["labels"]
    assert again != default.of(CONTAINER, "migration").inputs["labels"], "labels replace the container"


def test_what_lives_in_a_volume_is_deleted_with_it_and_needs_no_server_to_go(default: Recorded) -> None:
    for type_, volume in (("postgresql:index/", "postgres-data"), ("minio:index/", "minio-data")):
        inside = [each for each in default.resources.values() if each.type.startswith(type_)]
        assert inside
        for each in inside:
            assert each.request.deletedWith.endswith(f"::{volume}"), (
                f"{each.name} must not need its server to be destroyed"
            )


@pytest.mark.parametrize(
    ("stack", "chosen", "protected"),
    [("dev", "", False), ("prod", "", True), ("dev", "true", True), ("prod", "false", False)],
)
def test_the_data_of_every_stack_but_dev_is_protected_unless_set_otherwise(
    stack: str, chosen: str, protected: bool
) -> None:
    recorded = run_stack({"dataProtection": chosen}, stack=stack)
    names = {each.name for each in recorded.resources.values() if each.request.protect}
    expected = {"postgres-data", "minio-data", "database", "bucket", "kept-until-dataProtection-is-false"}
    assert names == (expected if protected else set())


def test_no_change_of_inputs_replaces_a_data_volume(default: Recorded) -> None:
    for name in ("postgres-data", "minio-data"):
        ignored = set(default.of(VOLUME, name).request.ignoreChanges)
        assert {"name", "driver", "driverOpts", "labels"} <= ignored, f"replacing {name} loses its data"


def test_everything_is_published_on_loopback(default: Recorded) -> None:
    published = [port for each in default.all(CONTAINER).values() for port in each.inputs.get("ports", [])]
    assert len(published) == 4
    assert {port["ip"] for port in published} == {"127.0.0.1"}


def test_a_public_bind_publishes_the_front_door_alone() -> None:
    recorded = run_stack({"bindAddress": "0.0.0.0", "allowInsecurePublicBind": "true"})
    addresses = {
        (each.name, port["internal"]): port["ip"]
        for each in recorded.all(CONTAINER).values()
        for port in each.inputs.get("ports", [])
    }
    assert addresses[("gateway", 5000)] == "0.0.0.0"
    assert {address for key, address in addresses.items() if key[0] != "gateway"} == {"127.0.0.1"}


def test_every_published_port_states_address_and_external_port(default: Recorded) -> None:
    for each in default.all(CONTAINER).values():
        ports: list[dict[str, Any]] = each.inputs.get("ports", [])
        assert all({"internal", "external", "ip"} <= set(port) for port in ports), "else replaced on every up"
        assert ports == sorted(ports, key=lambda port: port["internal"])


def test_no_credential_stands_in_an_environment_a_command_or_a_label(default: Recorded) -> None:
    credentials = [value for key, value in default.outputs["credentials"].items() if not key.endswith("User")]
    assert len(credentials) == len(SECRET_KEYS)
    for each in default.all(CONTAINER).values():
        visible = {key: value for key, value in each.inputs.items() if key != "uploads"}
        text = json.dumps(visible)
        assert not [value for value in credentials if value in text], f"docker inspect shows it: {each.name}"


def test_files_that_hold_a_credential_are_secret_in_the_state(default: Recorded) -> None:
    for role in ("postgres", "minio", "migration", "server"):
        assert "uploads" in default.of(CONTAINER, f"{role}-files").secret_inputs, role
    assert default.of("pulumi:providers:minio", "minio").secret_inputs == {"minioPassword"}
    assert default.of("pulumi:providers:postgresql", "postgresql").secret_inputs == {"password"}


def test_each_credential_reaches_only_who_needs_it(default: Recorded) -> None:
    credentials: dict[str, str] = default.outputs["credentials"]
    holders: dict[str, set[str]] = {}
    for key, value in credentials.items():
        if key.endswith("User"):
            continue
        holders[key] = {
            each.name for each in default.resources.values() if value in json.dumps(each.inputs, default=str)
        }
    assert holders == {
        "postgresAdminPassword": {"postgres-files", "postgresql"},
        "postgresOwnerPassword": {"owner", "migration-files"},
        "postgresRuntimePassword": {"runtime", "server-files"},
        "minioRootPassword": {"minio-files", "minio"},  # the second is the provider
        "bucketUserSecret": {"bucket-user", "server-files"},
        "consoleUserPassword": {"console-user"},
        "kekPassphrase": {"server-files"},
        "webhookKey": {"server-files"},
        "mlflowAdminPassword": set(),
        "flaskSecret": set(),
        "objectKey": set(),
        "backupKey": set(),
    }


def test_with_logins_the_server_alone_has_their_credentials() -> None:
    recorded = run_stack({"auth": "basic"})
    for key in ("mlflowAdminPassword", "flaskSecret"):
        value: str = recorded.outputs["credentials"][key]
        holders = {each.name for each in recorded.resources.values() if value in json.dumps(each.inputs, default=str)}
        assert holders == {"server-files"}, key
    assert recorded.outputs["clientEnv"]["MLFLOW_TRACKING_USERNAME"] == "admin"
    for role in ("server", "migration"):
        assert _envs(recorded, role)["MLFLOW_STACK_AUTH"] == "basic", f"{role} must know of the users"


def test_the_key_of_objects_reaches_minio_alone_and_only_where_it_encrypts() -> None:
    recorded = run_stack({"objectEncryption": "true"})
    value: str = recorded.outputs["credentials"]["objectKey"]
    holders = {each.name for each in recorded.resources.values() if value in json.dumps(each.inputs, default=str)}
    assert holders == {"minio-files"}
    assert _envs(recorded, "minio")["MINIO_KMS_AUTO_ENCRYPTION"] == "on"


@pytest.mark.parametrize("tls", ["internal", "acme"])
def test_with_tls_the_front_door_is_known_by_its_public_name(tls: str) -> None:
    recorded = run_stack({"tls": tls, "publicHost": "ml.example.org", "mlflowPort": "443"})
    assert recorded.outputs["trackingUri"] == "https://ml.example.org", "the usual port is left out"
    envs = _envs(recorded, "gateway")
    assert envs["GATEWAY_TLS"] == tls
    assert envs["GATEWAY_ADDRESS"].startswith("https://ml.example.org:5000")
    networks: list[dict[str, Any]] = recorded.of(CONTAINER, "gateway").inputs["networksAdvanced"]
    front = next(network for network in networks if network["name"].endswith("-front"))
    assert "ml.example.org" in front["aliases"], "a container comes by the name that the certificate is for"


def test_a_certificate_that_the_user_brings_reaches_the_gateway_and_its_key_is_secret(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_text("the certificate", encoding="utf-8")
    key.write_text("the private key", encoding="utf-8")
    changes = {"tls": "files", "publicHost": "ml.example.org"}
    recorded = run_stack(changes | {"tlsCertFile": str(certificate), "tlsKeyFile": str(key)})
    files = {upload["file"]: upload["content"] for upload in recorded.of(CONTAINER, "gateway-files").inputs["uploads"]}
    assert files["/run/mlflow-stack/certificate.pem"] == "the certificate"
    assert files["/run/mlflow-stack/certificate-key.pem"] == "the private key"
    assert "uploads" in recorded.of(CONTAINER, "gateway-files").secret_inputs


def test_no_change_of_tls_loses_the_authority_that_clients_trust() -> None:
    volumes = [
        run_stack(changes).of(VOLUME, "gateway-data")
        for changes in ({}, {"tls": "internal", "publicHost": "ml.example.org"})
    ]
    assert volumes[0].inputs == volumes[1].inputs
    assert {"name", "driver", "driverOpts", "labels"} <= set(volumes[0].request.ignoreChanges)


def test_a_container_is_replaced_with_the_one_that_brings_its_files(default: Recorded) -> None:
    for each in _running(default):
        labels = {label["label"]: label["value"] for label in each.inputs["labels"]}
        assert labels[f"{PROJECT}.files"] == f"{each.name}-files-id"
        urns = each.request.propertyDependencies["labels"].urns
        assert any(urn.endswith(f"::{each.name}-files") for urn in urns), "else it keeps running on the old files"


def test_a_container_that_runs_can_write_no_file_of_its_image(default: Recorded) -> None:
    for each in _running(default):
        assert each.inputs["readOnly"] is True, each.name
        assert not each.inputs.get("uploads"), f"Docker refuses files for {each.name}, which is read-only"


def test_no_container_sets_both_entry_point_and_command(default: Recorded) -> None:
    for each in default.all(CONTAINER).values():
        assert not {"entrypoints", "command"} <= set(each.inputs), f"a failed start of {each.name} would be passed by"


def test_every_container_has_limits_log_rotation_and_a_restart_policy(default: Recorded) -> None:
    for each in _running(default):
        assert each.inputs["memory"] == each.inputs["memorySwap"] > 0, each.name
        assert each.inputs["logDriver"] == "json-file"
        assert each.inputs["logOpts"] == {"max-file": "3", "max-size": "10m"}
        assert each.inputs["restart"] == ("no" if each.name == "migration" else "always")
        assert each.inputs["user"].split(":")[0] != "0", f"{each.name} runs as root"


def test_a_service_is_waited_for_until_it_is_healthy(default: Recorded) -> None:
    for role in SERVICES:
        inputs = default.of(CONTAINER, role).inputs
        assert inputs["wait"] is True
        assert inputs["healthcheck"]["tests"][0] == "CMD-SHELL"
        assert default.of(CONTAINER, role).request.replaceOnChanges == [
            "healthcheck",
            "init",
            "networkDatas",
            "tmpfs",
        ]


@pytest.mark.parametrize("workers", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("job_runner", ["false", "true"])
def test_all_pools_together_fit_into_postgresql(workers: int, job_runner: str) -> None:
    recorded = run_stack({"workers": str(workers), "jobRunner": job_runner})
    envs = _envs(recorded, "server")
    a_pool = int(envs["MLFLOW_STACK_POOL_SIZE"]) + int(envs["MLFLOW_STACK_MAX_OVERFLOW"])
    assert a_pool >= 1
    assert workers * 2 * a_pool < MAX_CONNECTIONS, "some connections are left for the migration and a person"
    assert f"max_connections={MAX_CONNECTIONS}" in recorded.of(CONTAINER, "postgres").inputs["entrypoints"]


def test_direct_access_publishes_the_api_and_tells_clients_the_key() -> None:
    changes = {"artifactAccess": "direct", "bindAddress": "0.0.0.0", "allowInsecurePublicBind": "true"}
    recorded = run_stack(changes)
    minio_ports = {port["internal"]: port["ip"] for port in recorded.of(CONTAINER, "minio").inputs["ports"]}
    assert minio_ports == {9000: "0.0.0.0", 9001: "127.0.0.1"}
    assert recorded.outputs["clientEnv"]["AWS_SECRET_ACCESS_KEY"] == recorded.outputs["credentials"]["bucketUserSecret"]


def test_old_versions_of_objects_are_kept_only_when_asked_for_and_expire(default: Recorded) -> None:
    assert not default.all("minio:index/s3BucketVersioning:S3BucketVersioning")
    recorded = run_stack({"bucketVersioning": "true", "bucketVersionDays": "7"})
    versioning = recorded.of("minio:index/s3BucketVersioning:S3BucketVersioning", "versioning").inputs
    assert versioning["versioningConfiguration"]["status"] == "Enabled"
    (rule,) = recorded.of("minio:index/ilmPolicy:IlmPolicy", "rules").inputs["rules"]
    assert rule == {"id": "old-versions", "expiration": "DeleteMarker", "noncurrentVersionExpirationDays": 7}


def test_the_settings_of_a_bucket_are_written_one_after_the_other() -> None:
    recorded = run_stack({"bucketVersioning": "true"})
    after = recorded.of("minio:index/ilmPolicy:IlmPolicy", "rules").request.dependencies
    assert any(urn.endswith("::versioning") for urn in after), "of two at once MinIO loses one"


def test_the_garbage_collector_is_there_only_with_a_schedule_and_has_the_rights_of_the_server(
    default: Recorded,
) -> None:
    assert "gc" not in default.all(CONTAINER)
    recorded = run_stack({"gcSchedule": "30 3 * * 0", "gcOlderThan": "7d"})
    collector = recorded.of(CONTAINER, "gc").inputs
    assert collector["command"] == ["gc-schedule", "30 3 * * 0", "7d"]
    files = {Path(each["file"]).name for each in recorded.of(CONTAINER, "gc-files").inputs["uploads"]}
    assert files == {"pg-service.conf", "aws-credentials"}, "neither a login nor a key of MLflow's"
    assert _envs(recorded, "gc")["PGUSER"] == "mlflowuser"
    assert collector["wait"] is True
    assert recorded.outputs["containers"]["gc"] == "mlflow-dev-gc"


def test_a_policy_names_one_bucket_and_is_sorted(default: Recorded) -> None:
    for name in ("bucket-user-policy", "console-user-policy"):
        text: str = default.of("minio:index/iamPolicy:IamPolicy", name).inputs["policy"]
        document = json.loads(text)
        resources = {resource for statement in document["Statement"] for resource in statement["Resource"]}
        assert resources == {"arn:aws:s3:::mlflow", "arn:aws:s3:::mlflow/*"}
        assert text == json.dumps(document, sort_keys=True, separators=(",", ":")), "else a refresh finds a change"


def test_the_console_user_may_only_look(default: Recorded) -> None:
    document = json.loads(default.of("minio:index/iamPolicy:IamPolicy", "console-user-policy").inputs["policy"])
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert actions == {"s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject"}


def test_the_networks_keep_the_gateway_from_postgresql(default: Recorded) -> None:
    joined = {
        role: {
            network["name"].removeprefix("mlflow-dev-")
            for network in default.of(CONTAINER, role).inputs["networksAdvanced"]
        }
        for role in (*SERVICES, "migration")
    }
    assert joined == {
        "postgres": {"backend"},
        "minio": {"artifact"},
        "migration": {"backend"},
        "server": {"app", "artifact", "backend"},
        "gateway": {"front", "app", "artifact"},
    }


def test_the_public_host_is_allowed_beside_the_names_in_the_stack() -> None:
    envs = _envs(run_stack({"publicHost": "mlflow.example.org"}), "server")
    allowed = envs["MLFLOW_STACK_ALLOWED_HOSTS"].split(",")
    assert allowed == ["mlflow-server", "mlflow-dev-gateway", "mlflow-dev-server", "mlflow.example.org"]


def test_two_stacks_share_no_name() -> None:
    names = [
        {
            each.inputs["name"]
            for each in run_stack(stack=stack).resources.values()
            if each.type.startswith("docker:") and "container" in each.type.lower() + "volume"
        }
        for stack in ("one", "two")
    ]
    assert not names[0] & names[1] - {None}


def test_backups_by_themselves_are_made_with_the_server_s_rights_in_the_stores() -> None:
    recorded = run_stack({"backupTarget": "/backup", "backupSchedule": "0 4 * * *"})
    credentials: dict[str, str] = recorded.outputs["credentials"]
    uploads = json.dumps(recorded.of(CONTAINER, "backup-files").inputs["uploads"])
    held = {key for key, value in credentials.items() if not key.endswith("User") and value in uploads}
    expected = {"postgresRuntimePassword", "bucketUserSecret", "backupKey", "kekPassphrase", "webhookKey", "objectKey"}
    assert held == expected, "not the owner's, the superuser's or root's"
    assert "uploads" in recorded.of(CONTAINER, "backup-files").secret_inputs
    keeper = recorded.of(CONTAINER, "backup").inputs
    assert {"containerPath": "/target", "hostPath": "/backup"} in [
        {key: mount[key] for key in ("containerPath", "hostPath") if key in mount} for mount in keeper["volumes"]
    ]
    assert keeper["user"] == "10004:10004"


def test_without_a_target_nothing_of_backups_is_there(default: Recorded) -> None:
    assert not [each.name for each in default.resources.values() if "backup" in each.name]
