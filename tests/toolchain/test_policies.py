"""The policy pack under the real CLI and this project's language host: small programs, previewed.

Each bad program breaks one rule, so that a rule which sees nothing is found out, and one which sees too much, too.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.toolchain.projects import Project, cli, project
from toolchain import events, paths, policies
from toolchain.errors import RefusedError

__all__ = ["cli", "project"]  # fixtures

PACK = paths.PROJECT_DIR / "policies"

#: What each program begins with: what it takes to make a container that keeps every rule.
GOOD = """
from typing import Any

import pulumi
import pulumi_docker as docker
import pulumi_minio as minio
import pulumi_postgresql as postgresql

DIGEST = "0123456789abcdef" * 4
hidden = pulumi.Config().require_secret("hidden")
protected = pulumi.ResourceOptions(protect=True)


def role(name: str) -> list[docker.ContainerLabelArgs]:
    return [docker.ContainerLabelArgs(label="mlflow-stack.role", value=name)]


def published(ip: str | None) -> list[docker.ContainerPortArgs]:
    return [docker.ContainerPortArgs(internal=5000, external=5001, ip=ip)]


def secret_file(content: pulumi.Input[str]) -> list[docker.ContainerUploadArgs]:
    return [docker.ContainerUploadArgs(file="/run/mlflow-stack/password", content=content)]


def container(name: str, **changes: Any) -> docker.Container:
    kept = {
        "image": f"postgres:18.4@sha256:{DIGEST}",
        "user": "999:999",
        "read_only": True,
        "capabilities": docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        "security_opts": ["no-new-privileges:true"],
        "envs": ["PASSWORD_FILE=/run/mlflow-stack/password", "PGHOST=db"],
        "uploads": secret_file(hidden),
        "ports": published("127.0.0.1"),
    }
    return docker.Container(name, **{**kept, **changes})


def data_volume(opts: pulumi.ResourceOptions) -> docker.Volume:
    labels = [docker.VolumeLabelArgs(label="mlflow-stack.role", value="postgres")]
    return docker.Volume("data", name="some-postgres-data", labels=labels, opts=opts)


def bucket(*, protect: bool) -> minio.S3Bucket:
    server = minio.Provider("minio", minio_server="127.0.0.1:9", minio_user="root", minio_password=hidden)
    return minio.S3Bucket("bucket", bucket="mlflow", opts=pulumi.ResourceOptions(protect=protect, provider=server))
"""

KEEPS_ALL = """
gateway = container("gateway", labels=role("gateway"), envs=["GATEWAY_TLS=files"], ports=published("0.0.0.0"))
container("server", labels=role("server"), envs=["MLFLOW_STACK_AUTH=basic"], ports=None)
docker.RemoteImage("pulled", name=f"caddy@sha256:{DIGEST}")
docker.RemoteImage("made-here", name="local/mlflow-stack/caddy:2.10.2-0123456789ab")
data_volume(protected)
postgresql.Database("database", name="mlflow", opts=protected)
bucket(protect=True)
docker.Volume("files", name="some-postgres-files")
# What is not known yet stands in the way of nothing that is only forbidden.
container("later", command=[gateway.id], image=gateway.id)
container("never-started", start=False, must_run=False, read_only=False, ports=None)
"""


@dataclass(frozen=True, slots=True)
class Bad:
    """A program that breaks one rule.

    Attributes:
        rule: The rule.
        resource: What breaks it.
        program: The program.
        value: How the message tells the value.
    """

    rule: str
    resource: str
    program: str
    value: str


PROGRAMS = (
    Bad(
        "no-public-bind-without-tls",
        "open",
        'container("open", ports=published("0.0.0.0"))',
        "ports: 0.0.0.0:5001",
    ),
    Bad(
        "no-public-bind-without-tls",
        "nowhere",
        'container("nowhere", ports=published(None))',
        "ports: 0.0.0.0:5001",
    ),
    Bad(
        "no-public-bind-without-tls",
        "gateway",
        """
container("gateway", labels=role("gateway"), envs=["GATEWAY_TLS=off"], ports=published("0.0.0.0"))
container("server", labels=role("server"), envs=["MLFLOW_STACK_AUTH=basic"], ports=None)
""",
        "ports: 0.0.0.0:5001, GATEWAY_TLS=off",
    ),
    Bad(
        "no-public-bind-without-login",
        "gateway",
        """
container("gateway", labels=role("gateway"), envs=["GATEWAY_TLS=internal"], ports=published("0.0.0.0"))
container("server", labels=role("server"), envs=["MLFLOW_STACK_AUTH=none"], ports=None)
""",
        "ports: 0.0.0.0:5001, MLFLOW_STACK_AUTH=none",
    ),
    Bad(
        # Labels of which one is not known yet: a preview's outputs may not know any.
        "no-public-bind-without-login",
        "gateway",
        """
other = container("other")
labels = [*role("gateway"), docker.ContainerLabelArgs(label="files", value=other.id)]
container("gateway", labels=labels, envs=["GATEWAY_TLS=internal"], ports=published("0.0.0.0"))
""",
        "ports: 0.0.0.0:5001, MLFLOW_STACK_AUTH=(no server)",
    ),
    Bad("no-unpinned-image", "moving", 'container("moving", image="postgres:latest")', "image: postgres:latest"),
    Bad("no-unpinned-image", "pulled", 'docker.RemoteImage("pulled", name="caddy:2")', "name: caddy:2"),
    Bad("no-privileged-container", "mighty", 'container("mighty", privileged=True)', "privileged: true"),
    Bad("no-privileged-container", "root", 'container("root", user="0:0")', "user: 0:0"),
    Bad("no-privileged-container", "writer", 'container("writer", read_only=False)', "readOnly: false"),
    Bad(
        "no-privileged-container",
        "capable",
        'container("capable", capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"], adds=["SYS_ADMIN"]))',
        "capabilities.adds: SYS_ADMIN",
    ),
    Bad("no-privileged-container", "climber", 'container("climber", security_opts=None)', "securityOpts: (none)"),
    Bad("no-privileged-container", "host", 'container("host", network_mode="host")', "networkMode: host"),
    Bad(
        "no-privileged-container",
        "socket",
        """
mounted = docker.ContainerVolumeArgs(host_path="/var/run/docker.sock", container_path="/var/run/docker.sock")
container("socket", volumes=[mounted])
""",
        "volumes: /var/run/docker.sock",
    ),
    Bad(
        "no-credential-in-sight",
        "teller",
        'container("teller", envs=["POSTGRES_PASSWORD=hunter22"])',
        "envs: POSTGRES_PASSWORD=(hidden)",
    ),
    Bad(
        "no-credential-in-sight",
        "marked",
        'container("marked", envs=["PGHOST=db", pulumi.Output.concat("GREETING=", hidden)])',
        "envs: (hidden)",
    ),
    Bad(
        "no-credential-in-sight",
        "flags",
        'container("flags", command=["serve", "--token", "hunter22"])',
        "command: token=(hidden)",
    ),
    Bad(
        "no-credential-in-plain-files",
        "plain",
        'container("plain", uploads=secret_file("hunter22"))',
        "uploads: password",
    ),
    Bad(
        "no-secret-of-another-in-sight",
        "gossip",
        """
container("keeper")
container("gossip", envs=["GREETING=" + str(pulumi.Config().get("hidden"))])
""",
        "envs: (hidden)",
    ),
    Bad("data-is-protected", "data", "data_volume(pulumi.ResourceOptions())", "protect: false"),
    Bad("data-is-protected", "bucket", "bucket(protect=False)", "protect: false"),
    Bad("data-is-protected", "database", 'postgresql.Database("database", name="mlflow")', "protect: false"),
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview under the pack told.

    Attributes:
        code: Its exit code.
        text: Everything it printed.
        outcome: What its event log says.
        broken: The rules that were broken, from the engine's own events.
    """

    code: int
    text: str
    outcome: events.Outcome
    broken: frozenset[str]


@pytest.fixture(scope="session")
def pack() -> Path:
    """The pack, with what it runs on."""
    policies.prepare()
    return PACK


@pytest.fixture
def previewed(project: Project, pack: Path) -> Project:
    """A project whose programs take the providers' plugins from this checkout, and have a credential."""
    project.environment["PATH"] = f"{paths.PLUGINS_BIN}:{project.environment['PATH']}"
    project.environment["PULUMI_DEBUG_COMMANDS"] = "true"  # for --event-log
    project.ok("config", "set", "--secret", "hidden", "--stack", "try", stdin="a long secret")
    return project


def preview(project: Project, program: str, config: Sequence[str | Path] = ()) -> Preview:
    """Preview a program under the pack."""
    (project.folder / "__main__.py").write_text(GOOD + program, encoding="utf-8")
    log = project.folder / "log.json"
    log.unlink(missing_ok=True)
    arguments = ("--policy-pack", str(PACK), *map(str, config), "--event-log", str(log))
    done = project.run("preview", "--stack", "try", *arguments)
    logged = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    found = [event["policyEvent"] for event in logged if "policyEvent" in event]
    assert {event["enforcementLevel"] for event in found} <= {"mandatory"}, found
    broken = frozenset(str(event["policyName"]) for event in found)
    return Preview(done.returncode, done.stdout + done.stderr, events.read(log), broken)


def test_a_program_that_keeps_every_rule_passes(previewed: Project) -> None:
    done = preview(previewed, KEEPS_ALL)
    assert done.broken == frozenset(), done.text
    assert done.code == 0, done.text
    assert "Policies:" in done.text, "the pack was not asked"


@pytest.mark.parametrize("bad", PROGRAMS, ids=[f"{bad.rule}: {bad.value}" for bad in PROGRAMS])
def test_a_program_that_breaks_one_rule_is_refused_for_that_one(previewed: Project, bad: Bad) -> None:
    done = preview(previewed, bad.program)
    assert done.code != 0, done.text
    assert done.broken == {bad.rule}, done.text
    lines = [line.strip() for line in done.text.splitlines() if line.strip().startswith(f"{bad.rule}: ")]
    assert len(lines) == 1, done.text
    assert lines[0].startswith(f"{bad.rule}: {bad.resource}: {bad.value}: "), lines[0]
    assert re.search(r"\. mend: \S+", lines[0]), f"no mend: {lines[0]}"
    assert done.outcome.mends == lines, "make repeats them at the end"
    assert done.outcome.was_refused, "a preview touches nothing"
    assert "hunter22" not in done.text, "the message shows the credential"
    assert "a long secret" not in done.text, "the message shows the secret"


def test_a_throw_away_stack_may_be_let_off_by_a_policy_config(previewed: Project) -> None:
    config = previewed.folder / "policies.json"
    unprotected = "data_volume(pulumi.ResourceOptions())"
    config.write_text(json.dumps({"data-is-protected": {"allowUnprotected": ["try"]}}), encoding="utf-8")
    let_off = preview(previewed, unprotected, ["--policy-pack-config", config])
    assert let_off.code == 0, let_off.text
    config.write_text(json.dumps({"data-is-protected": {"allowUnprotected": "try"}}), encoding="utf-8")
    misspelt = preview(previewed, unprotected, ["--policy-pack-config", config])
    assert misspelt.code != 0, misspelt.text
    assert "allowUnprotected: Invalid type" in misspelt.text, "a config of another shape is refused as such"


def test_a_stack_whose_name_is_dev_needs_no_protection(previewed: Project) -> None:
    previewed.ok("stack", "init", "dev")
    (previewed.folder / "__main__.py").write_text(
        GOOD.replace('pulumi.Config().require_secret("hidden")', 'pulumi.Output.secret("a long secret")')
        + "data_volume(pulumi.ResourceOptions())",
        encoding="utf-8",
    )
    done = previewed.run("preview", "--stack", "dev", "--policy-pack", str(PACK))
    assert done.returncode == 0, done.stdout + done.stderr


#: Asks about a gateway first by its inputs, as the engine does for each resource, then by outputs not known yet.
ASKED_TWICE = """
from types import SimpleNamespace
from pulumi_policy import PolicyResource, ResourceValidationArgs, StackValidationArgs
from pulumi_policy.proxy import UNKNOWN_ARRAY_VALUE, unknown_checking_proxy
from rules import public_bind
from rules.crossguard import policies

login, tls = "no-public-bind-without-login", "no-public-bind-without-tls"
by_name = {policy.name: policy for policy in policies(public_bind.RULES)}
inputs = {
    "labels": [{"label": "mlflow-stack.role", "value": "gateway"}],
    "envs": ["GATEWAY_TLS=internal"],
    "ports": [{"internal": 5000, "external": 5001, "ip": "0.0.0.0"}],
}
outputs = {**inputs, "labels": UNKNOWN_ARRAY_VALUE}
type_, urn = "docker:index/container:Container", "urn:pulumi:try::try::docker:index/container:Container::gateway"
options = SimpleNamespace(protect=False)


def print_it(message, urn=None):
    print(message)


def asked(props):
    return (type_, unknown_checking_proxy(props), urn, "gateway", options, None)


by_name[tls].validate(ResourceValidationArgs(*asked(inputs)), print_it)
by_name[login].validate(StackValidationArgs([PolicyResource(*asked(outputs), None, [], {})]), print_it)
"""


def test_a_rule_about_several_resources_looks_at_inputs_where_outputs_are_not_known_yet(pack: Path) -> None:
    python = pack / ".venv" / "bin" / "python"
    told = subprocess.run([python, "-c", ASKED_TWICE], cwd=pack, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("no-public-bind-without-login: gateway: ports: 0.0.0.0:5001"), told.stdout


# -- the commands behind make --------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An event log in which a container is planned and a policy refuses it."""
    planned = {"op": "create", "type": "docker:index/container:Container", "new": {"custom": True}}
    violation = {"enforcementLevel": "mandatory", "message": "A rule.\na-rule: thing: value: limit. mend: this\n"}
    path = tmp_path / "log.json"
    path.write_text(
        json.dumps({"resourcePreEvent": {"metadata": planned, "planning": True}})
        + "\n"
        + json.dumps({"policyEvent": violation})
        + "\n",
        encoding="utf-8",
    )
    return path


def test_a_violation_in_a_preview_is_a_refusal(log: Path) -> None:
    outcome = events.read(log)
    assert outcome.mends == ["a-rule: thing: value: limit. mend: this"]
    assert outcome.was_refused


def test_a_violation_after_something_was_made_is_none(log: Path) -> None:
    log.write_text(log.read_text(encoding="utf-8").replace('"planning": true', '"planning": false'), encoding="utf-8")
    assert not events.read(log).was_refused


def test_an_advice_of_a_policy_is_no_error(log: Path) -> None:
    log.write_text(log.read_text(encoding="utf-8").replace('"mandatory"', '"advisory"'), encoding="utf-8")
    assert events.read(log).errors == []


def test_no_pack_is_used_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLICIES", raising=False)
    assert policies.arguments() == []
    monkeypatch.setenv("POLICIES", "")
    assert policies.arguments() == []


def test_the_pack_and_its_config_are_handed_to_the_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pack: Path
) -> None:
    monkeypatch.setenv("POLICIES", "policies")
    assert policies.arguments() == ["--policy-pack", pack]
    config = tmp_path / "policies.json"
    config.write_text("{}", encoding="utf-8")
    monkeypatch.setenv("POLICY_CONFIG", str(config))
    assert policies.arguments() == ["--policy-pack", pack, "--policy-pack-config", config]


@pytest.mark.parametrize(("variable", "value"), [("POLICIES", "polices"), ("POLICY_CONFIG", "no-such.json")])
def test_a_pack_or_a_config_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("POLICIES", "policies")
    monkeypatch.setenv(variable, value)
    with pytest.raises(RefusedError, match=rf"^{variable}: {value}: must be .*\. mend: "):
        policies.check()


def test_the_pack_runs_on_the_programs_own_sdk() -> None:
    def sdk(file: Path) -> str:
        return next(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("pulumi=="))

    assert sdk(PACK / "requirements.txt") == sdk(paths.PROJECT_DIR / "requirements.txt")
