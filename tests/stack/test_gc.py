"""What users deleted leaves database and bucket, counted by asking both; nothing that is referred to goes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts as mlflow_artifacts
import pytest
import requests
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, LoggedModelOutput, Metric
from mlflow.tracking import MlflowClient

from tests.stack import holdings
from tests.stack.hardening import assert_hardened
from tests.stack.harness import Checkout, Result, Stack, deployed, wait_until
from tests.stack.secure import Secure, json_of

#: What MLflow's proxy of artifacts answers under.
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def own(checkout: Checkout, tag: str) -> Iterator[Stack]:
    """A stack of its own: what other tests deleted would be counted."""
    with deployed(checkout, f"{tag}g", workers=1) as stack:
        yield stack


@dataclass
class Made:
    """What a client made, and what of it is to stay.

    Attributes:
        stays: Names of objects.
        runs: Ids of runs that stay.
        experiment: Id of the experiment that stays.
        model: Name of the registered model.
    """

    client: MlflowClient
    experiment: str
    model: str
    stays: set[str] = field(default_factory=set[str])
    runs: list[str] = field(default_factory=list[str])


def gc(stack: Stack, *arguments: str, older_than: str = "0s") -> Result:
    """Collect what was deleted just now."""
    return stack.checkout.toolchain("gc", "--older-than", older_than, *arguments, stack=stack.name)


def said(result: Result, word: str) -> tuple[int, int, int]:
    """Rows, objects and bytes, as the command tells them."""
    rows = re.search(rf"^{word}: (\d+) rows", result.stdout, re.MULTILINE)
    objects = re.search(rf"^{word}: (\d+) objects of the bucket, (\d+) bytes", result.stdout, re.MULTILINE)
    assert rows, result.text
    assert objects, result.text
    return int(rows[1]), int(objects[1]), int(objects[2])


@pytest.fixture(scope="module")
def made(own: Stack, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Everything that may be deleted, deleted, beside everything that may still refer to it."""
    client = MlflowClient(own.tracking_uri)
    made = Made(client, client.create_experiment("stays"), f"model {uuid.uuid4()}")
    work = tmp_path_factory.mktemp("gc")
    kept, restored = _run(made, made.experiment, work), _run(made, made.experiment, work)
    client.delete_run(restored)
    client.restore_run(restored)
    made.runs += [kept, restored]
    for _ in range(3):
        client.delete_run(_run(made, made.experiment, work))
    _registered(made, work)
    _models(made, work)
    _traces(own, made)
    _deleted_experiment(own, made, work)
    bucket = holdings.s3(own)
    for key in ("somebody's/file.txt", f"nobody/{uuid.uuid4().hex}/artifacts/file.txt", "0/notes/artifacts/file.txt"):
        bucket.put_object(Bucket="mlflow", Key=key, Body=b"not MLflow's")
        made.stays.add(key)
    made.stays |= {key for key in holdings.objects(own) if key.split("/")[1] in made.runs}
    return made


def _run(made: Made, experiment: str, work: Path) -> str:
    """A run with a bit of everything that hangs on a run."""
    client = made.client
    run = client.create_run(experiment).info.run_id
    client.log_batch(run, metrics=[Metric("loss", 0.5, 1, step) for step in range(20)])
    client.log_param(run, "rate", 0.1)
    file = work / "file.bin"
    file.write_bytes(uuid.uuid4().bytes * 1000)
    client.log_artifact(run, str(file))
    dataset: Any = MetaDataset(HTTPDatasetSource("http://localhost/data.csv"), name=f"data {run[:4]}")
    client.log_inputs(run, datasets=[DatasetInput(dataset._to_mlflow_entity())])
    return run


def _registered(made: Made, work: Path) -> None:
    """A registered model whose run was deleted, and one whose version was deleted, too."""
    client = made.client
    for name, is_deleted in ((made.model, False), (f"{made.model} deleted", True)):
        run = _run(made, made.experiment, work)
        client.create_registered_model(name)
        source = client.get_run(run).info.artifact_uri
        assert source
        version = client.create_model_version(name, f"{source}/file.bin", run)
        client.delete_run(run)
        if is_deleted:
            client.delete_model_version(name, version.version)
        else:
            made.runs.append(run)


def _models(made: Made, work: Path) -> None:
    """Logged models: one that stays, one that was deleted, and one that was deleted and is registered."""
    client = made.client
    for fate in ("stays", "deleted", "registered"):
        run = client.create_run(made.experiment).info.run_id
        model = client.create_logged_model(made.experiment, name=fate, source_run_id=run)
        client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        client.log_model_artifacts(model.model_id, str(_folder(work)))
        client.finalize_logged_model(model.model_id, "READY")
        if fate == "registered":
            client.create_model_version(made.model, model.model_uri, model_id=model.model_id)
        if fate != "stays":
            client.delete_logged_model(model.model_id)
        if fate != "deleted":
            made.stays.add(f"{made.experiment}/models/{model.model_id}/artifacts/MLmodel")
        made.runs.append(run)


def _folder(work: Path) -> Path:
    folder = work / "model"
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    return folder


def _traces(stack: Stack, made: Made) -> None:
    """Traces with the object that clients before 3.5 write beside the rows: one that stays, one that was deleted."""
    stays, deleted = (_trace(stack, made.experiment) for _ in range(2))
    made.client.delete_traces(made.experiment, trace_ids=[deleted])
    made.stays.add(f"{made.experiment}/traces/{stays}/artifacts/traces.json")


def _trace(stack: Stack, experiment: str) -> str:
    mlflow.set_tracking_uri(stack.tracking_uri)
    span = mlflow.start_span_no_context("question", experiment_id=experiment)
    span.end()
    mlflow.flush_trace_async_logging()
    key = f"{experiment}/traces/{span.trace_id}/artifacts/traces.json"
    requests.put(f"{stack.tracking_uri}{_ARTIFACTS}/{key}", data=b"{}" * 100, timeout=30).raise_for_status()
    return span.trace_id


def _deleted_experiment(stack: Stack, made: Made, work: Path) -> None:
    """Experiments with all of that in them, one of them where a user chose to have it."""
    client = made.client
    for location in (None, "mlflow-artifacts:/chosen/by user"):
        experiment = client.create_experiment(f"goes {uuid.uuid4()}", artifact_location=location)
        _run(made, experiment, work)
        model = client.create_logged_model(experiment, name="goes")
        client.log_model_artifacts(model.model_id, str(_folder(work)))
        if location is None:
            _trace(stack, experiment)
        client.delete_experiment(experiment)


# -- what is asked first -----------------------------------------------------------------------------------------


def test_what_was_deleted_just_now_stays_by_default(own: Stack, made: Made) -> None:
    before = holdings.rows(own), holdings.objects(own)
    done = own.checkout.toolchain("gc", stack=own.name).ok()
    assert "OLDER_THAN=30d" in done.stdout
    assert said(done, "will go") == (0, 0, 0)
    assert (holdings.rows(own), holdings.objects(own)) == before


def test_a_dry_run_only_says_it(own: Stack, made: Made) -> None:
    before = holdings.rows(own), holdings.objects(own)
    done = gc(own, "--dry").ok()
    rows, objects, size = said(done, "would go")
    assert rows > 150
    assert objects > 8
    assert size > 5 * 16000
    assert (holdings.rows(own), holdings.objects(own)) == before


def test_it_does_not_run_beside_another_job(own: Stack, made: Made) -> None:
    with holdings.connect(own, "Runtime") as backup:
        backup.execute("SET application_name = 'mlflow-stack-backup'")
        backup.execute("SELECT pg_advisory_lock(120312342278008)")
        refused = gc(own)
    assert refused.code == 2, refused.text
    assert "backup is at work on this stack" in refused.stderr


@pytest.mark.parametrize("text", ["", "30", "d", "1y", "1d 2h", "-1d"])
def test_a_time_of_another_form_is_refused(own: Stack, text: str) -> None:
    refused = gc(own, older_than=text) if text.startswith("-") is False else gc(own, f"--older-than={text}")
    assert refused.code == 2, refused.text
    assert "OLDER_THAN" in refused.stderr


# -- what it does ------------------------------------------------------------------------------------------------


def test_it_frees_what_it_says_and_nothing_that_is_referred_to(own: Stack, made: Made) -> None:
    rows, objects = holdings.rows(own), holdings.objects(own)
    foretold = said(gc(own, "--dry").ok(), "would go")
    done = gc(own).ok()
    rows_after, objects_after = holdings.rows(own), holdings.objects(own)
    freed = (
        sum(rows.values()) - sum(rows_after.values()),
        len(objects) - len(objects_after),
        sum(objects.values()) - sum(objects_after.values()),
    )
    assert said(done, "will go") == said(done, "gone") == foretold == freed, done.text
    assert set(objects_after) == made.stays, "the objects that are left"
    assert set(objects_after) <= set(objects)
    lost = {table: (rows[table], rows_after[table]) for table in rows if rows_after[table] != rows[table]}
    assert lost["experiments"][1] == 2, "the default one, and the one that stays"
    assert lost["runs"][1] == len(made.runs)
    for table in ("metrics", "latest_metrics", "params", "tags", "inputs", "trace_info", "logged_models"):
        assert table in lost, f"rows of {table} stayed: {rows[table]}"
    assert lost["inputs"][1] == 3 + 3, "of a run that is gone"
    for run in made.runs:
        assert made.client.get_run(run).info.run_id == run
    assert "version 1 of the registered model" in done.stdout, "what stays is named, with the reason"
    for version in ("1", "2"):
        source = made.client.get_model_version_download_uri(made.model, version)
        assert mlflow_artifacts.list_artifacts(source, tracking_uri=own.tracking_uri) is not None


def test_a_second_one_finds_nothing(own: Stack, made: Made) -> None:
    assert said(gc(own).ok(), "will go") == (0, 0, 0)


def test_one_that_is_killed_is_finished_by_the_next(own: Stack, made: Made, tmp_path: Path) -> None:
    before = holdings.rows(own), holdings.objects(own)
    for _ in range(20):
        made.client.delete_run(_run(made, made.experiment, tmp_path))
    with own.checkout.started("gc", "--older-than", "0s", stack=own.name) as command:
        wait_until(lambda: "will go" in command.output() or command.process.poll() is not None, "it begins")
        command.kill()
        own.container("gc-job").kill()
    gc(own).ok()
    after = holdings.rows(own), holdings.objects(own)
    # The datasets belong to the experiment, which stays.
    assert {**after[0], "datasets": 0} == {**before[0], "datasets": 0}
    assert after[1] == before[1]
    assert not [name for name in own.inventory().containers if name.endswith("gc-job")]


@pytest.mark.sampled
def test_logins_change_nothing(secure: Secure) -> None:
    """With users, too: the job has the rights of the server in both stores, and asks no server."""
    session = secure.session(secure.user("boole"))

    def post(route: str, **body: Any) -> Any:
        return json_of(session.post(secure.url(f"/api/2.0/mlflow/{route}"), json=body, timeout=30))

    experiment = post("experiments/create", name=f"gc {uuid.uuid4()}")["experiment_id"]
    run = post("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]["run_id"]
    key = f"{experiment}/{run}/artifacts/file.txt"
    session.put(secure.url(f"{_ARTIFACTS}/{key}"), data=b"x" * 100, timeout=30).raise_for_status()
    post("experiments/delete", experiment_id=experiment)
    assert key in holdings.objects(secure.stack)
    gc(secure.stack).ok()
    assert key not in holdings.objects(secure.stack)
    gone = session.get(secure.url(f"/api/2.0/mlflow/runs/get?run_id={run}"), timeout=30)
    assert gone.status_code in (403, 404), gone.text


# -- by the clock, and with old versions ---------------------------------------------------------------------------


@pytest.mark.sampled
def test_by_the_clock_it_is_loud_when_it_fails_and_old_versions_outlive_their_switch(own: Stack) -> None:
    client = MlflowClient(own.tracking_uri)
    run = client.create_run(client.create_experiment(f"clock {uuid.uuid4()}")).info.run_id
    own.configure(bucketVersioning="true", bucketVersionDays="7", gcSchedule="* * * * *", gcOlderThan="30d")
    own.up().ok()
    assert own.container("gc").health == "healthy"
    assert_hardened(own, "gc")
    bucket = holdings.s3(own)
    (rule,) = bucket.get_bucket_lifecycle_configuration(Bucket="mlflow")["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    client.log_text(run, "kept", "note.txt")
    (key,) = [name for name in holdings.objects(own) if run in name]
    client.delete_run(run)
    with holdings.connect(own) as connection:
        long_ago = "UPDATE runs SET deleted_time = deleted_time - 31 * 86400000::bigint WHERE run_uuid = %s"
        connection.execute(long_ago, (run,))
        own.container("gc").restart()  # the minute in which it starts counts
        wait_until(lambda: key not in holdings.objects(own), "it collects", 120)
        connection.execute("REVOKE SELECT ON runs FROM mlflowuser")
        try:
            own.container("gc").restart()
            wait_until(lambda: own.container("gc").health == "unhealthy", "the failure shows", 180)
            told = own.checkout.toolchain("status", stack=own.name)
            doctor = own.checkout.toolchain("doctor", stack=own.name)
        finally:
            connection.execute("GRANT SELECT ON runs TO mlflowuser")
    assert told.code == 1, told.text
    assert re.search(r"^  gc +unhealthy", told.stdout, re.MULTILINE), told.text
    assert re.search(
        r"^gc: unhealthy: its last words: .*failed with exit code 1.*make logs ROLE=gc", doctor.stdout, re.MULTILINE
    )
    own.configure(bucketVersioning="false")
    own.forget("gcSchedule")
    own.up().ok()
    assert bucket.get_bucket_versioning(Bucket="mlflow")["Status"] == "Suspended"
    (version,) = [each for each in bucket.list_object_versions(Bucket="mlflow")["Versions"] if each["Key"] == key]
    body = bucket.get_object(Bucket="mlflow", Key=key, VersionId=version["VersionId"])["Body"].read()
    assert body == b"kept", "an old version is gone with its switch"
    assert not [name for name in own.inventory().containers if name.endswith("-gc")]
