"""A stack for a test: deployed by the project's own commands from a copy of the checkout.

The copy has its own state, passphrase and stack files, so a test never touches the developer's; it shares the
caches (Pulumi CLI, base images) and the virtual environment, so it costs no second build.
"""

from __future__ import annotations

import json
import os
import pty
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import docker
import yaml
from docker.models.containers import Container

from components import command as commands
from components.settings import SECRET_KEYS
from tests.stack import own_files
from toolchain import paths

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = "mlflow-stack"

PROJECT_LABEL = "mlflow-stack.project"
STACK_LABEL = "mlflow-stack.stack"
ROLE_LABEL = "mlflow-stack.role"

#: The credentials in a stack file.
_CREDENTIALS = {f"{PROJECT}:{key}" for key in SECRET_KEYS}

#: Seconds a command of the project may take; a cold one builds images.
COMMAND_TIMEOUT = 1500

#: What would let the developer's own stack, state or choices leak into a test; or have each command of a test compile
#: the whole toolchain anew.
_FOREIGN_VARIABLES = re.compile(
    r"^(PULUMI_|STACK$|YES$|TO$|FROM$|SET$|KEY_FILE$|S3_FILE$|OVERWRITE$|POLICIES$|POLICY_CONFIG$|MLFLOW_(?!STACK_CACHE)|AWS_|MAKE|MFLAGS|VIRTUAL_ENV$|PYTHONDONTWRITEBYTECODE$)"
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said and how it ended.

    Attributes:
        argv: The command.
        code: Its exit code.
        stdout: What it printed.
        stderr: What it complained about.
        seconds: How long it took.
    """

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        """Everything it printed, for an assert's message."""
        return (
            f"$ {shlex.join(self.argv)}   -> exit code {self.code} after {self.seconds:.1f} s\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )

    def ok(self) -> Result:
        """The result itself, where the command succeeded.

        Raises:
            AssertionError: It did not; the message holds all it printed.
        """
        assert self.code == 0, self.text
        return self


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Poll a condition.

    Args:
        condition: Asked every fifth of a second; an exception counts as no.
        what: What is waited for, for the message.
        seconds: How long at most.

    Raises:
        AssertionError: It did not come true in time.
    """
    end = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < end:
        try:
            if condition():
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
            last = error
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s{f'; last: {last!r}' if last else ''}")


#: Ports that a test may take: below the range that the kernel hands out by itself.
_PORTS = range(20000, 32000)

#: Shares of these, one for each process that runs tests side by side.
_SHARES = 8


def free_ports(count: int) -> list[int]:
    """TCP ports of the loopback address that nobody holds, nor has another process of this run just chosen."""
    mine = _PORTS
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker:
        size = len(_PORTS) // _SHARES
        mine = _PORTS[int(worker) % _SHARES * size :][:size]
    ports: list[int] = []
    while len(ports) < count:
        port = secrets.choice(mine)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


@dataclass(frozen=True, slots=True)
class Started:
    """A command at work."""

    process: subprocess.Popen[bytes]
    printed: Path

    def wait(self, seconds: float) -> int:
        """Give its exit code.

        Raises:
            TimeoutError: It is still at work after that time.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def kill(self) -> None:
        """End it and all it started by SIGKILL: none of them gets to clean up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def interrupt(self) -> None:
        """Do what Ctrl-C on a terminal does: all of its processes get the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def output(self) -> str:
        """What it has printed so far."""
        return self.printed.read_text(encoding="utf-8")


class Checkout:
    """A copy of the project in a folder of its own.

    Attributes:
        root: The folder.
        environment: What its commands see.
        inside: What goes before each of its commands, to run it in a namespace.
        transcript: Everything its commands printed, but for those that were asked for a secret.
    """

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None, *, inside: Sequence[str] = ()) -> None:
        self.root = root
        self.inside = tuple(inside)
        self.transcript = root.with_name(f"{root.name}-transcript.txt")
        self.environment = {key: value for key, value in os.environ.items() if not _FOREIGN_VARIABLES.match(key)} | {
            "PULUMI_HOME": str(_pulumi_home(root.with_name(f"{root.name}-pulumi"))),
            **(environment or {}),
        }
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source, target = REPOSITORY / name, root / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        (root / ".venv").symlink_to(REPOSITORY / ".venv")
        self._copied = {*root.glob("Pulumi.*.yaml")}

    def with_credentials(self) -> dict[str, Any] | None:
        """The stack file of a stack that has all credentials; None where there is none yet.

        Not one that was copied: a developer's own, whose passphrase was left behind.
        """
        for path in sorted({*self.root.glob("Pulumi.*.yaml")} - self._copied):
            found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            if "encryptionsalt" in found and set(found.get("config") or {}) >= _CREDENTIALS:
                return found
        return None

    def run(
        self,
        *argv: str | Path,
        environment: Mapping[str, str] | None = None,
        record: bool = True,
        stdin: str | None = None,
        timeout: float = COMMAND_TIMEOUT,
    ) -> Result:
        """Run a command in the copy.

        Args:
            argv: The command.
            environment: On top of the copy's own.
            record: Whether what it prints belongs to the transcript; not where a secret was asked for.
            stdin: What it reads; nothing by default.
            timeout: Seconds it may take.
        """
        command = (*self.inside, *map(str, argv))
        begin = time.monotonic()
        # check=False: how it ended is what the caller asks.
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **(environment or {})},
            input=stdin if stdin is not None else "",
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        result = Result(command, done.returncode, done.stdout, done.stderr, time.monotonic() - begin)
        if record:
            with self.transcript.open("a", encoding="utf-8") as file:
                file.write(result.text + "\n")
        return result

    def toolchain(self, command: str, *arguments: str, stack: str, **options: Any) -> Result:
        """Run one of the project's commands straight, so that its own exit code is seen (make turns all into 2)."""
        return self.run("./mlflow-stack", command, "--stack", stack, *arguments, **options)

    @contextmanager
    def started(self, command: str, *arguments: str, stack: str) -> Generator[Started]:
        """One of the project's commands at work, in a process group of its own; it is ended when the block is left."""
        with self.root.with_name(f"{self.root.name}-started.txt").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                [*self.inside, "./mlflow-stack", command, "--stack", stack, *arguments],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            started = Started(process, Path(output.name))
            try:
                yield started
            finally:
                if process.poll() is None:
                    started.kill()
                with self.transcript.open("a", encoding="utf-8") as file:
                    file.write(Path(output.name).read_text(encoding="utf-8"))

    def make(self, target: str, *variables: str, **options: Any) -> Result:
        """Run a make target."""
        return self.run("make", "--no-print-directory", target, *variables, **options)

    def pulumi_environment(self, stack: str) -> dict[str, str]:
        """The variables that `make env` hands to a plain `pulumi`."""
        printed = self.toolchain("env", stack=stack, record=False).ok().stdout
        shown = subprocess.run(
            ["bash", "-c", f"set -e; eval {shlex.quote(printed)}; env -0"],
            cwd=self.root,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        variables = dict(entry.split("=", 1) for entry in shown.stdout.split("\0") if "=" in entry)
        return {key: value for key, value in variables.items() if self.environment.get(key) != value}


def _pulumi_home(folder: Path) -> Path:
    """A home of Pulumi's own for a checkout: with the plugins of this user, and without a login.

    A file stands where Pulumi would keep a detailed log of every run: a tenth of its time, and half a gigabyte.
    """
    plugins = paths.pulumi_home() / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    (folder / "plugins").symlink_to(plugins)
    (folder / "logs").touch()
    return folder


@dataclass(frozen=True, slots=True)
class Inventory:
    """The Docker objects that bear a stack's labels, by name."""

    containers: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return not (self.containers or self.networks or self.volumes)


def inventory(client: docker.DockerClient, stack: str) -> Inventory:
    """What there is of a stack: by label, and by name, so that an unlabelled object does not hide."""
    mine: dict[str, str | list[str] | bool] = {"label": f"{STACK_LABEL}={stack}"}
    prefix = f"mlflow-{stack}-"

    def names(labelled: Iterable[Any], every: Iterable[Any]) -> frozenset[str]:
        found = {item.name for item in labelled} | {item.name for item in every if item.name.startswith(prefix)}
        return frozenset(map(str, found))

    return Inventory(
        names(
            client.containers.list(all=True, ignore_removed=True, filters=mine),
            client.containers.list(all=True, ignore_removed=True),
        ),
        names(client.networks.list(filters=mine), client.networks.list()),
        names(client.volumes.list(filters=mine), client.volumes.list()),
    )


def built_images(client: docker.DockerClient) -> frozenset[str]:
    """Tags of the images that this project built on the Docker host."""
    # The list alone: `client.images.list` asks for each image again, which another process may have removed by then.
    images: list[dict[str, Any]] = client.api.images(filters={"label": f"{PROJECT_LABEL}={PROJECT}"})
    return frozenset(tag for image in images for tag in image["RepoTags"] or [] if tag != "<none>:<none>")


@dataclass
class Stack:
    """A stack by name, in a checkout.

    Attributes:
        checkout: Where its program, state and stack file are.
        name: Name of the Pulumi stack.
        settings: Plain settings, as written into its stack file before the first `up`.
    """

    checkout: Checkout
    name: str
    settings: dict[str, str] = field(default_factory=dict[str, str])
    client: docker.DockerClient = field(default_factory=docker.from_env)
    _environment: dict[str, str] | None = None
    _outputs: dict[str, Any] | None = None

    @classmethod
    def prepare(cls, checkout: Checkout, name: str, *, own_credentials: object = False, **settings: object) -> Stack:
        """Write the stack file: free ports unless given, and no protection of data, as in dev.

        Credentials are those of another stack of the checkout, if there is one: to generate them takes as long as a
        whole `up` that changes nothing.
        """
        ports = ("mlflowPort", "minioApiPort", "minioConsolePort", "postgresPort")
        chosen: dict[str, str] = dict(zip(ports, map(str, free_ports(len(ports))), strict=True))
        chosen["dataProtection"] = "false"
        chosen |= {key: str(value) for key, value in settings.items()}
        stack = cls(checkout, name, chosen)
        config: dict[str, object] = {f"{PROJECT}:{key}": value for key, value in sorted(chosen.items())}
        content: dict[str, object] = {"config": config}
        if not own_credentials and (other := checkout.with_credentials()):
            content = {"encryptionsalt": other["encryptionsalt"], "config": config}
            config |= {key: value for key, value in other["config"].items() if key in _CREDENTIALS}
        stack.file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return stack

    @property
    def file(self) -> Path:
        """Its stack file."""
        return self.checkout.root / f"Pulumi.{self.name}.yaml"

    # -- commands --------------------------------------------------------------------------------------------

    def init(self) -> Result:
        """Make state, passphrase and credentials, without a deployment."""
        return self.checkout.toolchain("init", stack=self.name).ok()

    def up(self, **options: Any) -> Result:
        """Bring the stack up; whatever the result."""
        self._outputs = None
        return self.checkout.toolchain("up", stack=self.name, **options)

    def destroy(self, **options: Any) -> Result:
        """Take the stack away; whatever the result."""
        self._outputs = None
        return self.checkout.toolchain("destroy", "--yes", stack=self.name, **options)

    def pulumi(self, *arguments: str, record: bool = True, **options: Any) -> Result:
        """Run a plain `pulumi` as a person does after `eval "$(make env)"`."""
        if self._environment is None:
            self._environment = self.checkout.pulumi_environment(self.name)
        environment = {**self._environment, **options.pop("environment", {})}
        return self.checkout.run(
            "pulumi", *arguments, "--stack", self.name, environment=environment, record=record, **options
        )

    def configure(self, **settings: object) -> None:
        """Change plain settings, as `pulumi config set` does."""
        write_settings(self.file, **{key: str(value) for key, value in settings.items()})

    def forget(self, *keys: str) -> None:
        """Take settings back, as `pulumi config rm` does."""
        remove_settings(self.file, *keys)

    # -- what it is ------------------------------------------------------------------------------------------

    def look_anew(self) -> Stack:
        """Read the outputs again the next time: a command may have changed them, such as a rotation of credentials."""
        self._outputs = None
        return self

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs, secrets in plain."""
        if self._outputs is None:
            self._outputs = own_files.outputs(self.checkout.root, self.name)
        if self._outputs is None:
            shown = self.pulumi("stack", "output", "--json", "--show-secrets", record=False).ok()
            self._outputs = json.loads(shown.stdout)
        assert self._outputs is not None
        return self._outputs

    @property
    def tracking_uri(self) -> str:
        """The address for a client on this host."""
        return str(self.outputs["trackingUri"])

    def credentials(self) -> dict[str, str]:
        """Every secret of the stack's config, by key, in plain."""
        found = own_files.credentials(self.checkout.root, self.name)
        if found is not None:
            return found
        shown = self.pulumi("config", "--json", "--show-secrets", record=False).ok()
        config: dict[str, Any] = json.loads(shown.stdout)
        return {
            key.removeprefix(f"{PROJECT}:"): str(entry["value"])
            for key, entry in config.items()
            if entry.get("secret") and entry.get("value")
        }

    def container(self, role: str) -> Container:
        """The container of a role."""
        return self.client.containers.get(f"mlflow-{self.name}-{role}")

    def inventory(self) -> Inventory:
        """What there is of it on the Docker host."""
        return inventory(self.client, self.name)

    # -- what must hold --------------------------------------------------------------------------------------

    def assert_healthy(self) -> None:
        """Every container of the output `containers` runs and is healthy, now."""
        containers: dict[str, str] = self.outputs["containers"]
        assert set(containers) == {"postgres", "minio", "server", "gateway"}, "the roles in the output `containers`"
        for role, name in containers.items():
            state = self.client.containers.get(name).attrs["State"]
            assert state["Status"] == "running", f"{role}: {state}"
            assert state.get("Health", {}).get("Status") == "healthy", f"{role} is not healthy: {state}"

    def is_healthy(self) -> bool:
        """`assert_healthy`, as a condition to wait for."""
        self.assert_healthy()
        return True

    def assert_no_changes(self, *, refresh: bool = False) -> None:
        """A preview expects no changes, optionally one that looks at the real objects first."""
        arguments = ["preview", "--expect-no-changes", "--diff", "--non-interactive"]
        result = self.pulumi(*arguments, *(["--refresh"] if refresh else []))
        assert result.code == 0, f"a preview of an untouched stack expects changes\n{result.text}"

    def assert_nothing_left(self, *, images: Iterable[str] = ()) -> None:
        """Nothing of the stack is on the Docker host, nor an image that only it used."""
        left = self.inventory()
        assert left.is_empty, f"left behind by destroy: {left}"
        assert not (self.checkout.root / ".local" / "in-use" / self.name).exists(), "something is remembered of it"
        kept = built_images(self.client) & set(images)
        assert not kept, f"images that only this stack used, left behind by destroy: {sorted(kept)}"


def write_settings(stack_file: Path, **settings: str) -> None:
    """Write settings into a stack file, known to the program or not, without the engine that `pulumi config` starts."""
    remove_settings(stack_file, *settings)
    text = stack_file.read_text(encoding="utf-8")
    for key, value in settings.items():
        text = text.replace("config:\n", f'config:\n  {PROJECT}:{key}: "{value}"\n', 1)
    stack_file.write_text(text, encoding="utf-8")


def remove_settings(stack_file: Path, *keys: str) -> None:
    """Take plain settings out of a stack file, those that are in it."""
    text = stack_file.read_text(encoding="utf-8")
    for key in keys:
        text = re.sub(rf"^  {PROJECT}:{key}: .*\n", "", text, flags=re.MULTILINE)
    stack_file.write_text(text, encoding="utf-8")


@contextmanager
def deployed(checkout: Checkout, name: str, **settings: object) -> Generator[Stack]:
    """A stack that is up; afterwards unchanged, destroyed, and gone.

    A test that fails leaves nothing behind either, but then says its own reason, not the clean-up's.
    """
    stack = Stack.prepare(checkout, name, **settings)
    passed = False
    try:
        stack.up().ok()
        yield stack
        passed = True
    finally:
        if not passed:
            stack.destroy()
    stack.assert_no_changes()
    stack.destroy().ok()
    stack.assert_nothing_left()


def host_address(client: docker.DockerClient, network: str) -> str:
    """Where the containers of a network find the host.

    A daemon does not tell the gateway of its `bridge` before it was started a second time; it is the first address.
    """
    (pool, *_) = client.networks.get(network).attrs["IPAM"]["Config"]
    return str(pool.get("Gateway") or next(ip_network(pool["Subnet"]).hosts()))


def exclusive_images(stack: Stack) -> frozenset[str]:
    """The built images that no container of another stack uses."""
    mine = set(map(str, stack.outputs["images"].values())) & built_images(stack.client)
    # The list alone, as above.
    containers: list[dict[str, Any]] = stack.client.api.containers(all=True)
    return frozenset(mine - {str(c["Image"]) for c in containers if c["Labels"].get(STACK_LABEL) != stack.name})


def execute(container: Container, command: Sequence[str], user: str = "") -> str:
    """Run a command in a container and give what it printed; again where Docker lost that.

    Raises:
        AssertionError: It failed.
    """
    said = commands.ask(container, command, user=user)
    assert said.code == 0, f"{command} in {container.name}: exit code {said.code}: {said.out} {said.error}"
    return said.out


def on_a_terminal(stack: Stack, command: str, answers: str) -> tuple[int, str]:
    """Run one of the project's commands on a terminal where somebody types; give its exit code and all it said."""
    typing, terminal = pty.openpty()
    try:
        os.write(typing, answers.encode())
        done = subprocess.run(
            ["./mlflow-stack", command, "--stack", stack.name],
            cwd=stack.checkout.root,
            env=stack.checkout.environment,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT,
        )
    finally:
        os.close(terminal)
        os.close(typing)
    return done.returncode, done.stdout


@contextmanager
def never_up(stack: Stack) -> Generator[Stack]:
    """A stack whose stack file may be changed, and of which nothing may ever be on the Docker host."""
    stack_file = stack.file.read_bytes()
    yield stack
    stack.file.write_bytes(stack_file)
    left = stack.inventory()
    if not left.is_empty:
        stack.destroy()
    assert left.is_empty, f"a command that was refused, or only looks, left behind {left}"
