"""Backup under load, everything destroyed, restored on a fresh stack with other credentials: nothing is missing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import mlflow
import mlflow.artifacts as mlflow_artifacts
import mlflow.sklearn as mlflow_sklearn
import pytest
import requests
from mlflow_stack_backup.database import LOCK

from components.settings import DEFAULT_MLFLOW_VERSION, SECRET_KEYS
from tests.stack import encrypted
from tests.stack.conftest import SUITE
from tests.stack.hardening import assert_hardened
from tests.stack.harness import Checkout, Result, Stack, execute, free_ports, host_address, never_up, wait_until
from tests.stack.ledger import Entry, Ledger, client, under_load
from tests.stack.secure import json_of

_NAME = "backed up"


@dataclass
class Source:
    """A stack with something of everything in it, and what it has acknowledged.

    Attributes:
        stack: The stack.
        login: A user's name and password.
        ledger: That user's runs.
        run: A run with a model, a directory and an artifact that was uploaded in parts.
        read_back: What a client reads of it.
        secrets: What MLflow keeps encrypted, in plain.
        folder: Where its backups are.
    """

    stack: Stack
    login: tuple[str, str]
    ledger: Ledger
    run: str
    read_back: tuple[float, dict[str, str]]
    secrets: list[Any]
    folder: Path

    def overwrite(self, content: str) -> str:
        """Put an artifact in place of the one before, and give what was there."""
        value = self.ledger._artifact(self.ledger.entries[0].run)  # pyright: ignore[reportPrivateUsage] - beside it
        url = value.replace("value.txt", "overwritten.txt")
        found = self.ledger.session.get(url, timeout=20).text
        self.ledger.session.put(url, data=content.encode(), timeout=20).raise_for_status()
        return found

    def backup(self) -> Result:
        """Make a backup."""
        return self.stack.checkout.toolchain("backup", str(self.folder), stack=self.stack.name)


@dataclass(frozen=True, slots=True)
class Backups:
    """Two backups of one stack.

    Attributes:
        source: The stack.
        sets: Their names, the older one first.
        before: What was acknowledged when the older one began.
        load: What was acknowledged while it was made.
        said: What the younger one told.
    """

    source: Source
    sets: tuple[str, str]
    before: list[Entry]
    load: list[Entry]
    said: str


def _user(stack: Stack, name: str) -> tuple[str, str]:
    made = stack.checkout.toolchain("user", name, stack=stack.name, record=False).ok()
    (line,) = [line for line in made.stdout.splitlines() if "MLFLOW_TRACKING_PASSWORD=" in line]
    return name, line.partition("=")[2]


def _session(login: tuple[str, str]) -> requests.Session:
    session = client()
    session.auth = login
    return session


def _variables(stack: Stack, login: tuple[str, str]) -> dict[str, str]:
    """What a client is told."""
    return {
        "MLFLOW_TRACKING_URI": stack.tracking_uri,
        "MLFLOW_TRACKING_USERNAME": login[0],
        "MLFLOW_TRACKING_PASSWORD": login[1],
    }


def _suite(stack: Stack, login: tuple[str, str], work: Path) -> str:
    """Have a client log of everything something, and give its run."""
    report = work / "result.json"
    environment = _variables(stack, login) | {"PATH": os.environ["PATH"], "HOME": str(work), "TMPDIR": str(work)}
    # An artifact beyond 8 MiB is uploaded in parts, and its ETag is no checksum of it.
    arguments = ["--json", str(report), "--name", _NAME, "--work", str(work), "--sizes=9"]
    command = [sys.executable, "-W", "ignore", str(SUITE), *arguments]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return str(json.loads(report.read_text(encoding="utf-8"))["runId"])


def _read_back(stack: Stack, login: tuple[str, str], run: str) -> tuple[float, dict[str, str]]:
    """What the registered model predicts, and the SHA-256 of every artifact of a run."""
    with patch.dict(os.environ, _variables(stack, login)), TemporaryDirectory() as target:
        mlflow.set_tracking_uri(stack.tracking_uri)
        model: Any = mlflow_sklearn.load_model(f"models:/{_NAME}-model@champion")
        folder = Path(mlflow_artifacts.download_artifacts(run_id=run, dst_path=target))
        files = [path for path in folder.rglob("*") if path.is_file()]
        digests = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        return round(float(model.predict([[10.0]])[0]), 6), digests


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the client has its files."""
    return tmp_path_factory.mktemp("backup-client")


@pytest.fixture(scope="module")
def source(checkout: Checkout, tag: str, work: Path) -> Iterator[Source]:
    """A stack with logins, a model, artifacts of all kinds, and secrets that MLflow encrypts."""
    stack = Stack.prepare(checkout, f"{tag}bk", auth="basic", workers="2")
    try:
        stack.up().ok()
        ada = _user(stack, "ada")
        run = _suite(stack, ada, work)
        admin = _session(("admin", stack.credentials()["mlflowAdminPassword"]))
        secrets = encrypted.make(
            stack, lambda path, body: json_of(admin.post(stack.tracking_uri + path, json=body, timeout=30))
        )
        ledger = Ledger(stack.tracking_uri, session=_session(ada))
        ledger.log(3)
        yield Source(stack, ada, ledger, run, _read_back(stack, ada, run), secrets, work / "sets")
    finally:
        stack.destroy()


@pytest.fixture(scope="module")
def backups(source: Source) -> Backups:
    """A backup under load, and another one after it."""
    before = list(source.ledger.entries)
    source.overwrite("as the older backup has it")
    with under_load(source.ledger):
        first = source.backup().ok()
    load = source.ledger.entries[len(before) :]
    source.overwrite("as the younger backup has it")
    source.stack.configure(mlflowVersion="3.99.0")  # as before an upgrade; it is not what serves
    try:
        second = source.backup().ok()
    finally:
        source.stack.forget("mlflowVersion")
    (one,), (other,) = (re.findall(r"^backup +(\S+) in", done.stdout, re.MULTILINE) for done in (first, second))
    assert source.ledger.missing() == [], "the backup harmed what it read"
    source.stack.assert_no_changes()
    return Backups(source, (one, other), before, load, second.stdout)


def _manifest(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / "sets" / name / "manifest.json").read_text(encoding="utf-8"))


def test_a_second_backup_adds_what_is_new_and_nothing_else(backups: Backups) -> None:
    first, second = (_manifest(backups.source.folder, name) for name in backups.sets)
    assert first["objects"]["new"] == first["objects"]["count"]
    new = 1 + second["objects"]["count"] - first["objects"]["count"]  # one was overwritten, others were logged
    assert second["objects"]["new"] == new < second["objects"]["count"]
    assert f"{second['objects']['count']} objects, {new} of them new" in backups.said


def test_the_manifest_names_the_version_that_serves_and_not_one_that_is_to_come(backups: Backups) -> None:
    versions = [_manifest(backups.source.folder, name)["versions"]["mlflow"] for name in backups.sets]
    assert versions == [DEFAULT_MLFLOW_VERSION, DEFAULT_MLFLOW_VERSION]


def test_a_backup_is_for_its_user_alone_and_tells_no_secret(backups: Backups) -> None:
    source = backups.source
    values = [value.encode() for value in source.stack.credentials().values()]
    for path in [source.folder, *source.folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, f"others may read {path}"
        if path.is_file() and path.stat().st_size < 1 << 20:
            assert not [value for value in values if value in path.read_bytes()], f"a credential is in {path}"


def test_the_manifest_has_the_checksum_of_every_file(backups: Backups) -> None:
    folder = backups.source.folder / "sets" / backups.sets[1]
    manifest = _manifest(backups.source.folder, backups.sets[1])
    listed = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    there = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert set(there) - {"manifest.json"} == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256(there[name].read_bytes()).hexdigest() == digest, name


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _object(folder: Path) -> Path:
    return min(folder.glob("objects/*/*/artifacts/value.txt"))


def _made_by(folder: Path, name: str, **versions: object) -> None:
    """Have a set say that it was made by other versions, with a checksum that fits."""
    path = folder / "sets" / name / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    manifest.pop("checksum")
    manifest["versions"] |= versions
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False)
    path.write_text(json.dumps({**manifest, "checksum": hashlib.sha256(text.encode()).hexdigest()}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(
            lambda folder, _: _flip(_object(folder)),
            "{object}: is damaged: its content is not that of the backup",
            id="a flipped bit in an object",
        ),
        pytest.param(lambda folder, _: _object(folder).unlink(), "{object}: is missing", id="an object missing"),
        pytest.param(
            lambda folder, name: _flip(folder / "sets" / name / "database.dump"),
            "sets/{set}/database.dump: is damaged",
            id="a flipped bit in the dump",
        ),
        pytest.param(
            lambda folder, name: (folder / "sets" / name / "keys" / "keys.json.bin").unlink(),
            "sets/{set}/keys/keys.json.bin: is missing",
            id="a key missing",
        ),
        pytest.param(
            lambda folder, name: _flip(folder / "sets" / name / "manifest.json"),
            "sets/{set}/manifest.json: is damaged",
            id="a flipped bit in the manifest",
        ),
        pytest.param(
            lambda folder, name: _made_by(folder, name, mlflow="99.0.0", schema={"alembic_version": "of-tomorrow"}),
            "mlflowVersion: 3.17.2: the set was made by MLflow 99.0.0, whose schema this version does not know",
            id="of a newer MLflow",
        ),
        pytest.param(
            lambda folder, name: _made_by(folder, name, postgresql="99.1"),
            "sets/{set}: is of PostgreSQL 99",
            id="of a newer PostgreSQL",
        ),
    ],
)
def test_a_set_that_can_t_be_restored_is_refused_by_name_before_anything_changes(
    backups: Backups, tag: str, tmp_path: Path, spoil: Callable[[Path, str], object], words: str
) -> None:
    folder = tmp_path / "sets"
    shutil.copytree(backups.source.folder, folder)
    name = str(_object(folder).relative_to(folder))
    spoil(folder, backups.sets[1])
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text(backups.source.stack.credentials()["backupKey"], encoding="utf-8")
    with never_up(Stack.prepare(backups.source.stack.checkout, f"{tag}never")) as stack:
        refused = stack.checkout.toolchain("restore", str(folder), "--key-file", str(key), stack=stack.name)
    assert refused.code == 2, refused.text
    assert words.format(object=name, set=backups.sets[1]) in refused.stderr, refused.text


def test_a_stack_that_holds_data_is_not_overwritten_without_being_told(backups: Backups) -> None:
    source = backups.source
    refused = source.stack.checkout.toolchain("restore", str(source.folder), stack=source.stack.name)
    assert refused.code == 2, refused.text
    assert re.search(r"stack: \S+: holds \d+ runs, .*1 models, .*1 users, ", refused.stderr), refused.text
    assert source.ledger.missing() == []


@pytest.mark.sampled
def test_a_backup_is_verified_by_a_stack_of_its_own_that_goes_again(backups: Backups) -> None:
    source = backups.source
    client, checkout = source.stack.client, source.stack.checkout
    before = {str(container.name) for container in client.containers.list(all=True)}
    verified = checkout.toolchain("verify-backup", str(source.folder), stack=source.stack.name).ok().stdout
    assert re.search(rf"^verified +{backups.sets[1]}", verified, re.MULTILINE), verified
    assert f"{_NAME}-model 1 (python_function, sklearn)" in verified, "the model's own description was read"
    left = {str(container.name) for container in client.containers.list(all=True)} - before
    assert not [name for name in left if "verify" in name], left
    assert not [*checkout.root.glob("Pulumi.verify-*"), *(checkout.root / ".local").glob("verify-*")]
    assert source.ledger.missing() == [], "the stack itself is as it was"


def test_another_stack_s_target_is_refused(backups: Backups, tmp_path: Path) -> None:
    stack, folder = backups.source.stack, tmp_path / "sets"
    shutil.copytree(backups.source.folder, folder)
    mark = folder / "target.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text(encoding="utf-8")), "stack": "theirs"}), encoding="utf-8")
    refused = stack.checkout.toolchain("backup", str(folder), stack=stack.name)
    assert refused.code == 2, refused.text
    assert f"TO: {stack.name}: holds the backups of stack theirs" in refused.stderr


@pytest.fixture
def s3(source: Source, tmp_path: Path) -> Iterator[Path]:
    """An S3 that is none of the stack's, with an empty bucket `backups`; a file with its AWS profile."""
    gateway = host_address(source.stack.client, "bridge")
    (port,) = free_ports(1)
    (tmp_path / "root-user").write_text("elsewhere", encoding="utf-8")
    (tmp_path / "root-password").write_text("of-another-machine", encoding="utf-8")
    server = source.stack.client.containers.run(
        source.stack.outputs["images"]["minio"],
        entrypoint=["sh", "-c", "mkdir -p /data/backups && exec minio-entrypoint server /data"],
        environment={"MINIO_ROOT_USER_FILE": "/files/root-user", "MINIO_ROOT_PASSWORD_FILE": "/files/root-password"},
        volumes={str(tmp_path): {"bind": "/files", "mode": "ro"}},
        user="0",
        ports={"9000/tcp": (gateway, port)},
        detach=True,
    )
    profile = tmp_path / "profile"
    profile.touch(0o600)
    profile.write_text(
        "[backups]\naws_access_key_id = elsewhere\naws_secret_access_key = of-another-machine\n"
        f"endpoint_url = http://{gateway}:{port}\nregion = us-east-1\n",
        encoding="utf-8",
    )
    try:
        wait_until(
            lambda: requests.get(f"http://{gateway}:{port}/minio/health/live", timeout=5).ok, "the other S3 answers"
        )
        yield profile
    finally:
        server.remove(force=True, v=True)


@pytest.mark.sampled
def test_a_backup_goes_to_any_s3_and_is_read_back_from_there(backups: Backups, s3: Path) -> None:
    source = backups.source
    made, again = (
        source.stack.checkout.toolchain(
            "backup", "s3://backups/of/mlflow", "--s3-file", str(s3), stack=source.stack.name
        ).ok()
        for _ in range(2)
    )
    assert "of-another-machine" not in made.text
    assert " 0 of them new" in again.stdout
    # Every check is made before the stack is looked at: the refusal means that all of it was read back.
    refused = source.stack.checkout.toolchain(
        "restore", "s3://backups/of/mlflow", "--s3-file", str(s3), stack=source.stack.name
    )
    assert refused.code == 2, refused.text
    assert f"stack: {source.stack.name}: holds " in refused.stderr, refused.text


@pytest.mark.sampled
def test_the_stack_makes_backups_by_itself_and_is_loud_when_it_can_t(backups: Backups, tmp_path: Path) -> None:
    source, folder = backups.source, tmp_path / "by-itself"
    stack = source.stack
    folder.mkdir()
    folder.chmod(0o777)

    def sets() -> list[str]:
        return sorted(path.parent.name for path in folder.glob("sets/*/manifest.json"))

    def health() -> str:
        return str(stack.container("backup").attrs["State"]["Health"]["Status"])

    stack.configure(backupTarget=folder, backupSchedule="* * * * *", backupKeep=1)
    try:
        stack.up().ok()
        keeper = stack.container("backup").attrs
        assert keeper["Config"]["User"] == "10004:10004"
        assert_hardened(stack, "backup")
        mounts = {mount["Destination"]: mount.get("Name") or mount["Source"] for mount in keeper["Mounts"]}
        files = f"mlflow-{stack.name}-backup-files"
        assert mounts == {"/target": str(folder), "/run/mlflow-stack": files}, "and no Docker socket"
        wait_until(lambda: bool(sets()), "a backup at its time", 120)
        first = sets()[-1]
        told = stack.checkout.toolchain("backup", stack=stack.name).ok().stdout
        assert re.search(r"^backup +\S+ in ", told, re.MULTILINE), told
        wait_until(lambda: len(sets()) == 1 and sets()[0] > first, "the older one is removed")
        kept = {path.name for path in (folder / "sets" / sets()[0] / "keys").iterdir()}
        assert kept == {
            f"{name}.bin" for name in ("keys.json", f"Pulumi.{stack.name}.yaml", "state.json", "passphrase")
        }
        assert health() == "healthy"

        shutil.move(folder / "target.json", tmp_path)  # what is in the folder is no target any more
        failed = stack.checkout.toolchain("backup", stack=stack.name)
        assert failed.code == 1, failed.text
        assert "is not empty, and no target of backups" in failed.stderr
        wait_until(lambda: health() == "unhealthy", "the container's health tells of it", 120)
        assert "mlflow_stack_backup_ok 0" in execute(
            stack.container("backup"),
            [
                "python3",
                "-c",
                "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics').read().decode())",
            ],
        )
        status, doctor = (stack.checkout.toolchain(command, stack=stack.name) for command in ("status", "doctor"))
        assert status.code == 1
        assert "the last backup failed: TO: " in status.stdout, status.text
        assert doctor.code == 1
        assert "mend: make backup STACK=" in doctor.stdout, doctor.text

        shutil.move(tmp_path / "target.json", folder)
        stack.checkout.toolchain("backup", stack=stack.name).ok()
        wait_until(lambda: health() == "healthy", "the next one is well", 60)
    finally:
        stack.forget("backupTarget", "backupSchedule", "backupKeep")
        stack.up().ok()
    stack.assert_no_changes()
    assert source.ledger.missing() == []


def test_a_backup_waits_until_a_job_that_removes_things_has_ended(backups: Backups) -> None:
    stack = backups.source.stack
    postgres = stack.container("postgres")
    ask = ["psql", "-U", "postgres", "-d", "mlflow", "-qAt"]
    with subprocess.Popen(
        ["docker", "exec", "-i", "-u", "postgres", str(postgres.name), *ask],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as collector:
        assert collector.stdin is not None
        assert collector.stdout is not None
        print(f"SELECT 'held', pg_advisory_lock({LOCK});", file=collector.stdin, flush=True)
        assert "held" in collector.stdout.readline()
        with stack.checkout.started("backup", str(backups.source.folder), stack=stack.name) as working:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlflow-stack-backup'"
            wait_until(
                lambda: execute(postgres, [*ask, "-c", waiting], user="postgres").strip() == "1", "the backup waits"
            )
            assert not [
                path for path in backups.source.folder.rglob("database.dump") if path.parent.name not in backups.sets
            ]
            collector.stdin.close()
            assert working.wait(120) == 0, working.output()


@contextmanager
def _sql(stack: Stack) -> Generator[Callable[[str], str]]:
    """Something that asks the stack's database in one session, as the superuser: a query whose answer is a line."""
    ask = ["psql", "-U", "postgres", "-d", "mlflow", "-qAt"]
    with subprocess.Popen(
        ["docker", "exec", "-i", "-u", "postgres", str(stack.container("postgres").name), *ask],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as session:
        stdin, stdout = session.stdin, session.stdout
        assert stdin is not None
        assert stdout is not None

        def answer(query: str) -> str:
            print(query, file=stdin, flush=True)
            return stdout.readline().strip()

        try:
            yield answer
        finally:
            stdin.close()


def _cut_off(stack: Stack, set_id: str, restore: Sequence[str], *, before_its_database: bool) -> None:
    """Have a restore killed when all objects are there: right before its database is, or right after."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlflow-stack-restore'"
    with _sql(stack) as holder, _sql(stack) as asked:
        assert holder(f"SELECT 'held', pg_advisory_lock({LOCK});").startswith("held")  # another job is at work
        with stack.checkout.started(*restore, stack=stack.name) as working:
            wait_until(lambda: asked(f"{waits};") == "1", "the restore waits for the other job", 120)
            assert stack.container("server").status == "running", "and has touched nothing"
            assert not _marker(stack).exists()
            holder("BEGIN; LOCK TABLE runs IN ACCESS SHARE MODE; SELECT 'locked';")
            holder(f"SELECT pg_advisory_unlock({LOCK});")
            wait_until(lambda: asked(f"{waits} AND wait_event = 'relation';") == "1", "its database is about to come")
            if not before_its_database:
                os.killpg(working.process.pid, signal.SIGSTOP)  # it does not learn that its job has ended
                holder("COMMIT; SELECT 'given up';")
                said = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'mlflow'"
                wait_until(lambda: set_id in asked(f"{said};"), "its database is there")
            working.kill()
    wait_until(lambda: _job_is_gone(stack), "its job ends with it")


def _marker(stack: Stack) -> Path:
    return stack.checkout.root / ".local" / f"restore-{stack.name}"


def _job_is_gone(stack: Stack) -> bool:
    found = stack.client.containers.list(filters={"name": f"mlflow-{stack.name}-backup-job"})
    return not found


def test_everything_is_there_on_a_fresh_stack_with_other_credentials(
    backups: Backups, tag: str, tmp_path: Path
) -> None:
    source = backups.source
    key = tmp_path / "key"
    key.touch(0o600)
    credentials = source.stack.credentials()
    key.write_text(credentials["backupKey"], encoding="utf-8")
    source.stack.destroy().ok()
    source.stack.assert_nothing_left()

    elsewhere = Stack.prepare(Checkout(tmp_path / "elsewhere"), f"{tag}re", auth="basic", workers="2")
    try:
        restore = ("restore", str(source.folder), "--set", backups.sets[0])
        locked = elsewhere.checkout.toolchain(*restore, stack=elsewhere.name)
        assert locked.code == 2, locked.text
        assert "KEY_FILE: " in locked.stderr, "the stack's own key is another one"
        elsewhere.checkout.toolchain(*restore, "--key-file", str(key), stack=elsewhere.name).ok()
        elsewhere.assert_healthy()
        elsewhere.assert_no_changes()

        own = elsewhere.credentials()
        kept = {name for name in SECRET_KEYS if own[name] == credentials[name]}
        assert kept == {"kekPassphrase", "webhookKey"}, "other credentials are the stack's own"
        source.ledger.uri = elsewhere.tracking_uri
        assert [
            run for run in source.ledger.missing() if run.partition(":")[0] in {e.run for e in backups.before}
        ] == []
        assert _read_back(elsewhere, source.login, source.run) == source.read_back, "the model and the artifacts"
        assert encrypted.decrypted(elsewhere) == source.secrets
        assert source.overwrite("anew") == "as the older backup has it"
        source.ledger.log()

        (lost,) = source.ledger.entries[-1:]
        younger = ("restore", str(source.folder), "--key-file", str(key), "--overwrite")
        elsewhere.checkout.toolchain("rotate", "kekPassphrase", stack=elsewhere.name).ok()
        own = elsewhere.credentials()
        newest = max(path.parent.name for path in source.folder.glob("sets/*/manifest.json"))
        _cut_off(elsewhere, newest, younger, before_its_database=True)
        said = elsewhere.up().ok().stderr
        assert f"a restore of {newest} was cut off before it reached the database" in said
        assert elsewhere.credentials() == own
        assert encrypted.decrypted(elsewhere) == source.secrets, "the data of before has its own keys"
        _cut_off(elsewhere, newest, younger, before_its_database=False)
        for refused in (
            elsewhere.pulumi("up", "--yes", "--skip-preview", "--non-interactive"),
            elsewhere.checkout.toolchain("backup", str(tmp_path / "sets"), stack=elsewhere.name),
        ):
            assert f"restore: {newest}: " in refused.text, "the database is not read with another one's keys"
        elsewhere.checkout.toolchain(*younger, stack=elsewhere.name).ok()
        assert not _marker(elsewhere).exists()
        assert elsewhere.credentials()["kekPassphrase"] == credentials["kekPassphrase"]
        assert encrypted.decrypted(elsewhere) == source.secrets, "the data of the backup has the backup's keys"
        elsewhere.assert_healthy()
        elsewhere.assert_no_changes()
        assert {run.partition(":")[0] for run in source.ledger.missing()} == {lost.run}, (
            "all of the younger, and no more"
        )
        assert source.overwrite("anew") == "as the younger backup has it"
    finally:
        elsewhere.destroy().ok()
    elsewhere.assert_nothing_left()
