"""Each rule of the policy pack on a resource that breaks it and on one that keeps it; no engine, no pulumi-policy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rules import credentials, data_protection, hardening, pinned_images, public_bind
from rules.assignments import texts
from rules.container import CONTAINER
from rules.resource import UNKNOWN, Path, Resource
from rules.rule import Finding, ResourceRule, Rule, StackRule
from tests.unit.recording import Recorded, run_stack

REMOTE_IMAGE = "docker:index/remoteImage:RemoteImage"
IMAGE = "docker:index/image:Image"
VOLUME = "docker:index/volume:Volume"
BUCKET = "minio:index/s3Bucket:S3Bucket"
DATABASE = "postgresql:index/database:Database"

RULES: tuple[Rule, ...] = (
    *public_bind.RULES,
    *pinned_images.RULES,
    *hardening.RULES,
    *credentials.RULES,
    *data_protection.RULES,
)

DIGEST = "0123456789abcdef" * 4
PINNED = f"postgres:18.4@sha256:{DIGEST}"


def resource(type_: str, props: Mapping[str, Any] | None = None, *, stack: str = "prod", **options: Any) -> Resource:
    """A resource of a stack."""
    return Resource(type_, "thing", f"urn:pulumi:{stack}::mlflow-stack::{type_}::thing", props or {}, **options)


def labels(**named: str) -> list[dict[str, str]]:
    """Labels as the Docker provider takes them, with this project's prefix."""
    return [{"label": f"mlflow-stack.{name}", "value": value} for name, value in named.items()]


def container(*, secret: frozenset[Path] = frozenset(), **props: Any) -> Resource:
    """A container that keeps every rule, but for what a test changes."""
    kept = {
        "image": PINNED,
        "capabilities": {"drops": ["ALL"]},
        "securityOpts": ["no-new-privileges:true"],
        "readOnly": True,
        "user": "999:999",
        "ports": [{"internal": 5000, "external": 5001, "ip": "127.0.0.1"}],
        "envs": ["PGHOST=db", "PASSWORD_FILE=/run/mlflow-stack/password"],
        "labels": labels(role="server"),
    }
    return resource(CONTAINER, {**kept, **props}, secret=secret)


def without(key: str) -> Resource:
    """A container that keeps every rule, but for an input that it lacks."""
    good = container()
    return resource(CONTAINER, {name: value for name, value in good.props.items() if name != key})


def found(rule: Rule, *resources: Resource, values: frozenset[str] = frozenset()) -> list[str]:
    """The lines that a rule has for resources."""
    findings: Iterator[Finding]
    if isinstance(rule, StackRule):
        findings = rule.check(resources, values)
    else:
        findings = (finding for each in resources for finding in rule.check(each))
    return [finding.line(rule.name) for finding in findings]


def named(name: str) -> Rule:
    """The rule of a name."""
    return next(rule for rule in RULES if rule.name == name)


def assert_refused(name: str, *resources: Resource, value: str, values: frozenset[str] = frozenset()) -> None:
    """One line, which says the rule, the resource, the value, the limit and the mend."""
    lines = found(named(name), *resources, values=values)
    assert len(lines) == 1, lines
    head, _, mend = lines[0].partition(". mend: ")
    assert head.startswith(f"{name}: thing: {value}: "), head
    assert head.removeprefix(f"{name}: thing: {value}: "), "no limit"
    assert mend, "no mend"


def test_a_container_that_keeps_every_rule_breaks_none() -> None:
    assert [line for rule in RULES for line in found(rule, container())] == []


def test_every_rule_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.description.endswith(".") for rule in RULES)


# -- no public bind without TLS and a login ------------------------------------------------------------------


def gateway(tls: str | None, ip: str | None = "0.0.0.0") -> Resource:
    """A gateway, published on an address."""
    port = {"internal": 5000, "external": 5001} | ({} if ip is None else {"ip": ip})
    envs = [] if tls is None else [f"GATEWAY_TLS={tls}"]
    return container(labels=labels(role="gateway"), ports=[port], envs=envs)


def server(login: str | None) -> Resource:
    """A server that says how it lets people in."""
    return container(ports=[], envs=[] if login is None else [f"MLFLOW_STACK_AUTH={login}"])


@pytest.mark.parametrize("ip", ["0.0.0.0", "::", "192.0.2.1", "", "not an address"])
def test_a_public_port_of_anything_but_the_gateway_is_refused(ip: str) -> None:
    public = container(ports=[{"internal": 5000.0, "external": 5001.0, "ip": ip}])
    value = f"ports: {ip or '(every address)'}:5001"
    assert_refused("no-public-bind-without-tls", public, value=value)


def test_a_port_without_an_address_counts_as_public() -> None:
    public = container(ports=[{"internal": 5000}])
    assert_refused("no-public-bind-without-tls", public, value="ports: (every address):a port of Docker's choice")


def test_a_container_that_publishes_every_port_is_refused() -> None:
    assert_refused(
        "no-public-bind-without-tls",
        container(publishAllPorts=True),
        value="ports: every port of its image",
    )


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.0.0.2", "::1"])
def test_any_container_may_be_published_on_loopback(ip: str) -> None:
    local = container(ports=[{"internal": 5000, "external": 5001, "ip": ip}])
    assert found(named("no-public-bind-without-tls"), local, gateway(None, ip)) == []
    assert found(named("no-public-bind-without-login"), gateway(None, ip), server(None)) == []


@pytest.mark.parametrize(("tls", "told"), [(None, "(not set)"), ("off", "off"), ("", "")])
def test_a_public_gateway_without_tls_is_refused(tls: str | None, told: str) -> None:
    assert_refused("no-public-bind-without-tls", gateway(tls), value=f"ports: 0.0.0.0:5001, GATEWAY_TLS={told}")


@pytest.mark.parametrize("tls", ["internal", "files", "acme"])
def test_a_public_gateway_with_tls_and_a_login_is_let_pass(tls: str) -> None:
    assert found(named("no-public-bind-without-tls"), gateway(tls)) == []
    assert found(named("no-public-bind-without-login"), gateway(tls), server("basic")) == []


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ([server(None)], "(not set)"),
        ([server("none")], "none"),
        ([], "(no server)"),
        ([server("basic"), server("none")], "basic, none"),
    ],
)
def test_a_public_gateway_without_a_login_is_refused(servers: list[Resource], told: str) -> None:
    assert_refused(
        "no-public-bind-without-login",
        gateway("internal"),
        *servers,
        value=f"ports: 0.0.0.0:5001, MLFLOW_STACK_AUTH={told}",
    )


def test_a_login_that_is_not_known_yet_is_no_login() -> None:
    unknown = container(ports=[], envs=[UNKNOWN])
    assert len(found(named("no-public-bind-without-login"), gateway("internal"), unknown)) == 1


# -- no unpinned image ---------------------------------------------------------------------------------------

MOVING = [
    "postgres",
    "postgres:latest",
    "postgres:18.4",
    "registry.example.org:5000/postgres",
    "local/mlflow-stack/mlflow:3.17.2",
    "local/mlflow-stack/mlflow:latest",
    "elsewhere/mlflow-stack/mlflow:3.17.2-b2d32bbb871b",
    "registry.example.org/local/mlflow:3.17.2-b2d32bbb871b",
    "local/mlflow-stack/mlflow:3.17.2-b2d32bbb871b-latest",
    f"postgres@sha256:{DIGEST[1:]}",
    f"postgres@md5:{DIGEST}",
    "",
]
FIXED = [
    PINNED,
    f"postgres@sha256:{DIGEST}",
    f"registry.example.org:5000/a/b:1@sha256:{DIGEST}",
    f"sha256:{DIGEST}",
    "local/mlflow-stack/mlflow:3.17.2-b2d32bbb871b",
    "local/mlflow-stack/debian:12-5280db7c2142",
]


@pytest.mark.parametrize("reference", MOVING)
@pytest.mark.parametrize(("type_", "key"), [(CONTAINER, "image"), (REMOTE_IMAGE, "name"), (IMAGE, "imageName")])
def test_an_image_that_can_become_another_is_refused(type_: str, key: str, reference: str) -> None:
    assert_refused("no-unpinned-image", resource(type_, {key: reference}), value=f"{key}: {reference}")


@pytest.mark.parametrize("reference", FIXED)
@pytest.mark.parametrize(("type_", "key"), [(CONTAINER, "image"), (REMOTE_IMAGE, "name"), (IMAGE, "imageName")])
def test_a_pinned_image_is_let_pass(type_: str, key: str, reference: str) -> None:
    assert found(named("no-unpinned-image"), resource(type_, {key: reference})) == []


def test_an_image_that_is_built_upon_must_be_pinned_too() -> None:
    built = {"imageName": FIXED[-1], "build": {"args": {"PYTHON_IMAGE": "python:3.11", "MLFLOW_VERSION": "3.17.2"}}}
    assert_refused("no-unpinned-image", resource(IMAGE, built), value="build.args.PYTHON_IMAGE: python:3.11")


def test_the_id_of_an_image_that_is_not_made_yet_passes_until_it_is_known() -> None:
    assert found(named("no-unpinned-image"), container(image=UNKNOWN)) == []


# -- no privileged container ---------------------------------------------------------------------------------

PRIVILEGED: list[tuple[dict[str, Any], str]] = [
    ({"privileged": True}, "privileged: true"),
    ({"capabilities": {"drops": ["ALL"], "adds": ["SYS_ADMIN"]}}, "capabilities.adds: SYS_ADMIN"),
    ({"capabilities": {"drops": ["ALL"], "adds": ["CAP_CHOWN"]}}, "capabilities.adds: CHOWN"),
    ({"capabilities": {"drops": ["NET_RAW"]}}, "capabilities.drops: NET_RAW"),
    ({"networkMode": "host"}, "networkMode: host"),
    ({"pidMode": "host"}, "pidMode: host"),
    ({"ipcMode": "host"}, "ipcMode: host"),
    ({"usernsMode": "host"}, "usernsMode: host"),
    ({"cgroupnsMode": "host"}, "cgroupnsMode: host"),
    ({"devices": [{"hostPath": "/dev/sda"}]}, "devices: 1"),
    ({"deviceCgroupRules": ["c 1:3 mr"]}, "deviceCgroupRules: 1"),
    ({"deviceRequests": [{"driver": "nvidia"}]}, "deviceRequests: 1"),
    ({"gpus": "all"}, "gpus: all"),
    ({"volumes": [{"hostPath": "/var/run/docker.sock", "containerPath": "/s"}]}, "volumes: /var/run/docker.sock"),
    ({"volumes": [{"hostPath": "/run", "containerPath": "/s"}]}, "volumes: /run"),
    ({"volumes": [{"hostPath": "/", "containerPath": "/host"}]}, "volumes: /"),
    ({"mounts": [{"type": "bind", "source": "/run/docker.sock", "target": "/s"}]}, "volumes: /run/docker.sock"),
    ({"securityOpts": []}, "securityOpts: (none)"),
    ({"securityOpts": ["no-new-privileges:false"]}, "securityOpts: no-new-privileges:false"),
    ({"securityOpts": ["no-new-privileges", "seccomp=unconfined"]}, "securityOpts: seccomp:unconfined"),
    ({"securityOpts": ["no-new-privileges", "label:disable"]}, "securityOpts: label:disable"),
    ({"readOnly": False}, "readOnly: false"),
    ({"user": "0:0"}, "user: 0:0"),
    ({"user": "000"}, "user: 000"),
    ({"user": "root"}, "user: root"),
    ({"user": "postgres"}, "user: postgres"),
    ({"user": ""}, "user: (not set)"),
    ({"user": UNKNOWN}, "user: (not set)"),
]


@pytest.mark.parametrize(("props", "value"), PRIVILEGED, ids=[value for _, value in PRIVILEGED])
def test_a_right_too_many_is_refused(props: dict[str, Any], value: str) -> None:
    assert_refused("no-privileged-container", container(**props), value=value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("capabilities", "capabilities.drops: (none)"),
        ("securityOpts", "securityOpts: (none)"),
        ("readOnly", "readOnly: (not set)"),
        ("user", "user: (not set)"),
    ],
)
def test_a_container_that_leaves_a_restriction_out_is_refused(key: str, value: str) -> None:
    assert_refused("no-privileged-container", without(key), value=value)


@pytest.mark.parametrize(
    "props",
    [
        {"capabilities": {"drops": ["all"], "adds": ["NET_BIND_SERVICE"]}},
        {"securityOpts": ["no-new-privileges=true"]},
        {"user": "10001"},
        {"networkMode": "bridge", "ipcMode": "private", "gpus": None, "devices": []},
        {"volumes": [{"volumeName": "data", "containerPath": "/data"}, {"hostPath": "/srv", "containerPath": "/srv"}]},
        {"mounts": [{"type": "volume", "source": "data", "target": "/data"}]},
    ],
    ids=str,
)
def test_what_a_service_needs_is_let_pass(props: dict[str, Any]) -> None:
    assert found(named("no-privileged-container"), container(**props)) == []


def test_a_container_that_is_never_started_may_be_written_by_docker() -> None:
    assert found(named("no-privileged-container"), container(start=False, readOnly=False)) == []
    assert_refused("no-privileged-container", container(start=False, user="0"), value="user: 0")


@pytest.mark.parametrize("kind", ["service:Service", "plugin:Plugin"])
def test_a_workload_that_the_rules_cannot_look_into_is_refused(kind: str) -> None:
    unread = resource(f"docker:index/{kind}")
    assert_refused("no-privileged-container", unread, value=f"type: {kind.partition(':')[2]}")


# -- no credential in sight ----------------------------------------------------------------------------------

SHOWN: list[tuple[dict[str, Any], str]] = [
    ({"envs": ["POSTGRES_PASSWORD=hunter22"]}, "envs: POSTGRES_PASSWORD=(hidden)"),
    ({"envs": ["PGPASSWORD=hunter22"]}, "envs: PGPASSWORD=(hidden)"),
    ({"envs": ["AWS_SECRET_ACCESS_KEY=/abc+def"]}, "envs: AWS_SECRET_ACCESS_KEY=(hidden)"),
    ({"envs": ["apiToken=x y"]}, "envs: apiToken=(hidden)"),
    ({"envs": ["KEK_PASSPHRASE=hunter22"]}, "envs: KEK_PASSPHRASE=(hidden)"),
    ({"envs": ["CREDENTIALS=a:b"]}, "envs: CREDENTIALS=(hidden)"),
    ({"command": ["serve", "--admin-password=hunter22"]}, "command: admin-password=(hidden)"),
    ({"command": ["serve", "--token", "hunter22"]}, "command: token=(hidden)"),
    ({"command": ["sh", "-c", "PGPASSWORD='hunter22' psql"]}, "command: PGPASSWORD=(hidden)"),
    ({"entrypoints": ["run", "--secret-key", "hunter22"]}, "entrypoints: secret-key=(hidden)"),
    ({"healthcheck": {"tests": ["CMD-SHELL", "PGPASSWORD=hunter22 psql"]}}, "healthcheck.tests: PGPASSWORD=(hidden)"),
    ({"labels": [{"label": "backup.password", "value": "hunter22"}]}, "labels: backup.password=(hidden)"),
    ({"envs": ["DATABASE=postgresql://me:hunter22@db/mlflow"]}, "envs: (hidden)"),
    ({"command": ["serve", "postgresql://me:hunter22@db/mlflow"]}, "command: (hidden)"),
    ({"envs": ["PEM=-----BEGIN RSA PRIVATE KEY-----\nabc"]}, "envs: (hidden)"),
]


@pytest.mark.parametrize(("props", "value"), SHOWN, ids=[str(props) for props, _ in SHOWN])
def test_a_credential_that_docker_inspect_would_show_is_refused_and_not_shown(
    props: dict[str, Any], value: str
) -> None:
    shown = container(**props)
    assert_refused("no-credential-in-sight", shown, value=value)
    lines = found(named("no-credential-in-sight"), shown)
    assert "hunter22" not in "".join(lines), "the message shows the credential"


@pytest.mark.parametrize(
    ("type_", "props", "value"),
    [
        (VOLUME, {"driverOpts": {"password": "hunter22"}}, "driverOpts: password=(hidden)"),
        ("docker:index/network:Network", {"options": {"encryption.key": "x1"}}, "options: encryption.key=(hidden)"),
        (IMAGE, {"build": {"args": {"PIP_TOKEN": "hunter22"}}}, "build.args: PIP_TOKEN=(hidden)"),
    ],
)
def test_a_credential_of_what_is_no_container_is_refused_too(type_: str, props: dict[str, Any], value: str) -> None:
    assert_refused("no-credential-in-sight", resource(type_, props), value=value)


@pytest.mark.parametrize(
    "props",
    [
        {"envs": ["POSTGRES_PASSWORD_FILE=/run/mlflow-stack/password"]},
        {"envs": ["AWS_SHARED_CREDENTIALS_FILE=aws-credentials"]},
        {"envs": ["TLS_KEY=/run/tls/key.pem"]},
        {"envs": ["USE_TOKENS=true", "POSTGRES_PASSWORD=", "MLFLOW_TRACKING_URI=http://mlflow:5000"]},
        {"envs": ["BROKER=amqp://$USER:$PASSWORD@broker", UNKNOWN]},
        {"command": ["serve", "--password-file", "/run/mlflow-stack/password", "--tls-key", "/run/tls/key.pem"]},
        {"command": ["sh", "-c", 'PGPASSWORD="$(cat /run/mlflow-stack/password)" psql']},
        {"command": ["serve", "--require-token", "--port", "5000"]},
        {"command": UNKNOWN, "envs": UNKNOWN, "labels": UNKNOWN, "healthcheck": UNKNOWN},
    ],
    ids=str,
)
def test_the_path_of_a_credential_is_let_pass(props: dict[str, Any]) -> None:
    assert found(named("no-credential-in-sight"), container(**props)) == []


@pytest.mark.parametrize("path", [("envs",), ("envs", 0), ("command", 1), ("labels", 0, "value"), ("hostname",)])
def test_an_input_that_is_marked_as_secret_is_refused(path: Path) -> None:
    marked = container(secret=frozenset({path}))
    assert_refused("no-credential-in-sight", marked, value=f"{path[0]}: (hidden)")


def upload(content: object, name: str = "admin-password") -> list[dict[str, object]]:
    """A file given to a container."""
    return [{"file": f"/run/mlflow-stack/{name}", "content": content}]


@pytest.mark.parametrize("name", ["admin-password", "tls.key", "webhook-key", "client_secret.json", "aws-credentials"])
def test_a_credential_file_whose_content_is_not_secret_is_refused(name: str) -> None:
    plain = container(uploads=upload("hunter22", name))
    assert_refused("no-credential-in-plain-files", plain, value=f"uploads: {name}")
    assert "hunter22" not in "".join(found(named("no-credential-in-plain-files"), plain))


@pytest.mark.parametrize("path", [("uploads",), ("uploads", 0), ("uploads", 0, "content")])
def test_a_credential_file_whose_content_is_secret_is_let_pass(path: Path) -> None:
    marked = container(uploads=upload("hunter22"), secret=frozenset({path}))
    assert found(named("no-credential-in-plain-files"), marked) == []
    assert found(named("no-credential-in-sight"), marked) == [], "docker inspect does not show files"


@pytest.mark.parametrize("content", [None, "", UNKNOWN])
def test_a_file_without_a_content_or_with_an_unknown_one_is_let_pass(content: object) -> None:
    assert found(named("no-credential-in-plain-files"), container(uploads=upload(content))) == []


def test_a_plain_file_of_another_name_is_let_pass() -> None:
    plain = container(uploads=upload("listen 80", "Caddyfile"))
    assert found(named("no-credential-in-plain-files"), plain) == []


def test_a_value_that_another_resource_keeps_secret_is_refused_in_plain_sight() -> None:
    values = frozenset({"a long secret"})
    shown = container(envs=["GREETING=so it is a long secret"])
    assert_refused("no-secret-of-another-in-sight", shown, value="envs: (hidden)", values=values)
    marked = container(envs=["GREETING=a long secret"], secret=frozenset({("envs",)}))
    assert found(named("no-secret-of-another-in-sight"), marked, values=values) == [], "the other rule says it"
    assert found(named("no-secret-of-another-in-sight"), container(), values=values) == []


# -- data is protected outside of dev ------------------------------------------------------------------------


def volume(role: str = "postgres", name: str = "mlflow-prod-postgres-data", **options: Any) -> Resource:
    """A volume of a role."""
    return resource(VOLUME, {"name": name, "labels": labels(role=role)}, **options)


@pytest.mark.parametrize(
    "data",
    [volume(), volume("minio", "mlflow-prod-minio-data"), resource(BUCKET), resource(DATABASE)],
    ids=["postgres volume", "minio volume", "bucket", "database"],
)
def test_data_without_protection_is_refused_outside_of_dev(data: Resource) -> None:
    assert_refused("data-is-protected", data, value="protect: false")


@pytest.mark.parametrize(("type_", "props"), [(VOLUME, volume().props), (BUCKET, {}), (DATABASE, {})])
@pytest.mark.parametrize(
    "options",
    [
        {"protected": True},
        {"stack": "dev"},
        {"stack": "ci-1", "config": {"allowUnprotected": ["ci-1"]}},
    ],
    ids=["protected", "dev", "allowed"],
)
def test_data_that_is_protected_or_may_go_is_let_pass(
    type_: str, props: Mapping[str, Any], options: dict[str, Any]
) -> None:
    assert found(named("data-is-protected"), resource(type_, props, **options)) == []


def test_another_stacks_permission_is_none() -> None:
    other = volume(config={"allowUnprotected": ["ci-1"]})
    assert_refused("data-is-protected", other, value="protect: false")


@pytest.mark.parametrize("kept", [volume("server"), volume(name="mlflow-prod-postgres-files")])
def test_a_volume_that_holds_no_data_needs_no_protection(kept: Resource) -> None:
    assert found(named("data-is-protected"), kept) == []


# -- this project's own program ------------------------------------------------------------------------------


def resources(recorded: Recorded) -> list[Resource]:
    """What a run of the program registered, as the rules see it."""
    return [
        Resource(
            type=each.type,
            name=each.name,
            urn=urn,
            props=json.loads(json.dumps(each.inputs, default=lambda _: None)),
            protected=each.request.protect,
            secret=frozenset((key,) for key in each.secret_inputs),
        )
        for urn, each in recorded.resources.items()
    ]


def of(name: str, recorded: Recorded) -> list[str]:
    """What a rule has against the program."""
    secrets = frozenset(value for key, value in recorded.outputs["credentials"].items() if not key.endswith("User"))
    return found(named(name), *resources(recorded), values=secrets)


@pytest.fixture(scope="module", params=["dev", "prod"])
def program(request: pytest.FixtureRequest) -> Recorded:
    """The program on its default settings."""
    return run_stack(stack=request.param)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_this_program_keeps_every_rule_on_its_default_settings(program: Recorded, rule: Rule) -> None:
    assert of(rule.name, program) == []


def test_the_rules_see_what_this_program_shows(program: Recorded) -> None:
    seen = {text.where for each in resources(program) for text in texts(each)}
    assert {"envs", "command", "entrypoints", "labels", "healthcheck.tests"} <= seen, "a rule that sees nothing passes"


def test_an_insecure_public_bind_is_refused_for_tls_and_for_the_login() -> None:
    public = run_stack({"bindAddress": "0.0.0.0", "allowInsecurePublicBind": "true"})
    assert len(of("no-public-bind-without-tls", public)) == 1
    assert len(of("no-public-bind-without-login", public)) == 1


@pytest.mark.parametrize("tls", ["internal", "acme"])
def test_a_public_bind_with_tls_and_a_login_keeps_every_rule(tls: str) -> None:
    public = run_stack({"bindAddress": "0.0.0.0", "publicHost": "mlflow.example.org", "auth": "basic", "tls": tls})
    assert [line for rule in RULES for line in of(rule.name, public)] == []


def test_a_moving_image_that_a_setting_names_is_refused() -> None:
    moving = run_stack({"gatewayImage": "caddy:2", "pythonImage": "python:3.11"})
    lines = of("no-unpinned-image", moving)
    assert {"gateway", "gateway-image", "mlflow-image"} <= {line.split(": ")[1] for line in lines}, lines


def test_only_rules_about_one_resource_take_a_config() -> None:
    assert {rule.name for rule in RULES if isinstance(rule, ResourceRule) and rule.config} == {"data-is-protected"}
