"""What another MLflow keeps arrives in an empty stack: real servers are the sources, compared run by run."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts as mlflow_artifacts
import pytest
import requests
import sqlalchemy
from alembic import command
from docker.errors import NotFound
from docker.models.containers import Container
from mlflow.entities import LoggedModelOutput, Metric
from mlflow.store.db.utils import _get_alembic_config  # pyright: ignore[reportPrivateUsage] - what `mlflow db upgrade` calls
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from mlflow.tracking import MlflowClient

from bench import sweep
from bench.compose import Compose, Images, Variant
from tests.stack import holdings
from tests.stack.harness import REPOSITORY, Checkout, Result, Stack, Started, deployed, execute, free_ports, wait_until

_MLFLOW = REPOSITORY / ".venv-test" / "bin" / "mlflow"


@pytest.fixture(scope="module")
def empty(checkout: Checkout, tag: str) -> Iterator[Stack]:
    """A stack of its own."""
    with deployed(checkout, f"{tag}i", workers=1) as stack:
        yield stack


def bring(stack: Stack, source: str, **options: str) -> Result:
    """Import; whatever the result."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return stack.checkout.toolchain("import", f"--from={source}", *arguments, stack=stack.name)


def emptied(stack: Stack) -> None:
    """Make the stack as good as new."""
    with holdings.connect(stack) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic%'"
            " AND tablename NOT IN ('experiments', 'workspaces')"
        ).fetchall()
        connection.execute(f"TRUNCATE {', '.join(name for (name,) in tables)} CASCADE".encode())
        connection.execute("DELETE FROM experiments WHERE experiment_id <> 0")
    client = holdings.s3(stack)
    for key in holdings.objects(stack):
        client.delete_object(Bucket="mlflow", Key=key)


# -- the sources -------------------------------------------------------------------------------------------------


@dataclass
class Source:
    """An MLflow with something in it.

    Attributes:
        environment: What its clients need beside the address.
        seen: What a client reads from it: the same must be read from the stack.
    """

    uri: str
    environment: dict[str, str] = field(default_factory=dict[str, str])
    seen: dict[str, Any] = field(default_factory=dict[str, Any])


def fill(uri: str, work: Path) -> None:
    """Log a bit of everything."""
    client = MlflowClient(uri)
    folder = work / "model"
    folder.mkdir(exist_ok=True)
    for name in ("one", "two words"):
        experiment = client.create_experiment(name)
        run = ""
        for number in range(3):
            run = client.create_run(experiment, run_name=f"run {number}").info.run_id
            client.log_batch(run, metrics=[Metric("loss", 1 / (step + 1), step, step) for step in range(50)])
            client.log_metric(run, "nan", float("nan"))
            client.log_param(run, "süß", "Grüße ✓")
            client.set_tag(run, "number", str(number))
            file = work / "data.bin"
            file.write_bytes(run.encode() * 500)
            client.log_artifact(run, str(file), "in/folders")
            client.log_text(run, run, "note.txt")
        (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        model = client.create_logged_model(experiment, name="model", source_run_id=run)
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        client.create_registered_model(f"registered {name}")
        client.create_model_version(f"registered {name}", model.model_uri, model_id=model.model_id)
        source = client.get_run(run).info.artifact_uri
        client.create_model_version(f"registered {name}", f"{source}/in/folders", run)
        client.set_registered_model_alias(f"registered {name}", "champion", "1")
        client.delete_run(client.create_run(experiment).info.run_id)
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run(experiment_id=experiment), mlflow.start_span("question") as span:
        span.set_inputs({"text": "why?"})
    mlflow.flush_trace_async_logging()


def seen(uri: str, work: Path) -> dict[str, Any]:
    """Everything that a client reads, without where it is."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiments = client.search_experiments(view_type=3)
    runs = [run for each in experiments for run in client.search_runs([each.experiment_id], run_view_type=3)]
    found: dict[str, Any] = {
        "experiments": sorted((each.name, each.lifecycle_stage) for each in experiments),
        "runs": {},
        "models": {},
        "traces": {},
    }
    for run in runs:
        history = [
            (point.step, point.timestamp, point.value) for point in client.get_metric_history(run.info.run_id, "loss")
        ]
        where = (
            mlflow_artifacts.download_artifacts(
                run_id=run.info.run_id, dst_path=str(work / uuid.uuid4().hex), tracking_uri=uri
            )
            if run.info.lifecycle_stage == "active"
            else ""
        )
        files = (
            {str(path.relative_to(where)): path.read_bytes() for path in Path(where).rglob("*") if path.is_file()}
            if where
            else {}
        )
        found["runs"][run.info.run_id] = (
            run.info.run_name,
            run.info.lifecycle_stage,
            run.info.start_time,
            run.data.params,
            {key: repr(value) for key, value in run.data.metrics.items()},
            {key: value for key, value in run.data.tags.items() if key != "mlflow.source.name"},
            history,
            files,
        )
    for version in client.search_model_versions():
        where = Path(
            mlflow_artifacts.download_artifacts(
                f"models:/{version.name}/{version.version}", dst_path=str(work / uuid.uuid4().hex), tracking_uri=uri
            )
        )
        files = {path.name: path.read_bytes() for path in where.rglob("*") if path.is_file()}
        found["models"][version.name, version.version] = (version.aliases, version.run_id, files)
    for each in experiments:
        for trace in client.search_traces(experiment_ids=[each.experiment_id]):
            found["traces"][trace.info.trace_id] = [(span.name, span.inputs) for span in trace.data.spans]
    return found


@contextmanager
def served(folder: Path, *arguments: str) -> Generator[str]:
    """A plain `mlflow server` on this machine, in a folder of its own."""
    (port,) = free_ports(1)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, _MLFLOW, "server", "--port", str(port), "--workers", "1", *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            uri = f"http://127.0.0.1:{port}"
            wait_until(lambda: requests.get(f"{uri}/health", timeout=5).ok, "the source serves", 90)
            yield uri
        finally:
            process.terminate()
            process.wait(30)


@dataclass(frozen=True, slots=True)
class Plain:
    """A server on SQLite with local artifacts, that was used and then stopped.

    Attributes:
        folder: Where it ran.
        seen: What a client read from it.
    """

    folder: Path
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """The source that most people have."""
    folder, work = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("client")
    with served(
        folder, "--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./mlartifacts"
    ) as uri:
        fill(uri, work)
        return Plain(folder, seen(uri, work))


@pytest.fixture(scope="module")
def compose(empty: Stack, tag: str) -> Iterator[Compose]:
    """The tutorial's three containers, on the images of the stack."""
    images = empty.outputs["images"]
    variant = Variant(f"import-{tag}", "compose, as a source", 1, 1, job_runner=False)
    made = Compose(empty.client, Images(images["postgres"], images["minio"], images["server"]), variant)
    try:
        made.up()
        wait_until(lambda: requests.get(f"{made.uri}/health", timeout=5).ok, "compose's server serves", 90)
        yield made
    finally:
        sweep.sweep_compose(empty.client, variant.key)


# -- SQLite ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("", {}, "FROM: (not set)"),
        ("sqlite:////nowhere/mlflow.db", {}, "there is no file"),
        ("gopher://host/db", {}, "must be sqlite:///PATH"),
        ("postgresql://user:secret@host/db", {}, "PASSWORD_FILE"),
        ("postgresql://user@host", {}, "must name a host and a database"),
        ("postgresql://user@host/db", {"network": "nobody's"}, "there is no Docker network"),
        ("./nowhere", {}, "there is no folder"),
    ],
)
def test_what_can_not_be_is_refused(empty: Stack, source: str, options: dict[str, str], words: str) -> None:
    refused = bring(empty, source, **options)
    assert refused.code == 2, refused.text
    assert words in refused.stderr
    assert "secret@" not in refused.stderr


def test_a_wrong_folder_is_refused_before_anything_is_copied(empty: Stack, plain: Plain, tmp_path: Path) -> None:
    before = holdings.rows(empty)
    refused = bring(empty, f"sqlite:///{plain.folder}/mlflow.db", artifacts=str(tmp_path))
    assert refused.code == 2, refused.text
    assert "nor is anything of" in refused.stderr
    assert (holdings.rows(empty), holdings.objects(empty)) == (before, {})


def test_a_server_on_sqlite_arrives_run_by_run(empty: Stack, plain: Plain, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in plain.folder.rglob("*")}
    done = bring(empty, f"sqlite:///{plain.folder}/mlflow.db", artifacts=str(plain.folder / "mlartifacts")).ok()
    assert (
        "brought in: 3 experiments, 9 runs, 2 models, 2 registered models, 4 versions of them, 1 traces" in done.stdout
    )
    assert seen(empty.tracking_uri, tmp_path) == plain.seen
    assert {path: path.stat().st_mtime_ns for path in plain.folder.rglob("*")} == before, "the source was written to"
    client = MlflowClient(empty.tracking_uri)
    where = client.get_run(next(iter(plain.seen["runs"]))).info.artifact_uri
    assert str(where).startswith("mlflow-artifacts:/")
    new = client.create_experiment("after it")
    assert int(new) not in {0, 1, 2}, "a number that an experiment brought along is given again"


def test_a_stack_that_holds_something_takes_nothing_in(empty: Stack, plain: Plain) -> None:
    before = holdings.rows(empty), holdings.objects(empty)
    refused = bring(empty, f"sqlite:///{plain.folder}/mlflow.db", artifacts=str(plain.folder / "mlartifacts"))
    assert refused.code == 2, refused.text
    assert "only an empty one takes in others" in refused.stderr
    assert (holdings.rows(empty), holdings.objects(empty)) == before
    empty.assert_healthy()


# -- one that is cut off -------------------------------------------------------------------------------------------


@contextmanager
def held_up(stack: Stack) -> Generator[None]:
    """Have an import into an empty stack wait when all artifacts are copied, as for somebody who writes just then."""
    emptied(stack)
    with holdings.connect(stack) as connection, connection.transaction():
        connection.execute("LOCK TABLE guardrail_configs IN SHARE MODE")
        yield


@contextmanager
def under_way(stack: Stack, plain: Plain) -> Generator[Started]:
    """An import that has copied artifacts, in a block of `held_up`."""
    arguments = [f"--from=sqlite:///{plain.folder}/mlflow.db", f"--artifacts={plain.folder}/mlartifacts"]
    with stack.checkout.started("import", *arguments, stack=stack.name) as command:
        wait_until(lambda: bool(holdings.objects(stack)), "it copies")
        yield command


def _is_gone(container: Container) -> bool:
    try:
        container.reload()
    except NotFound:
        return True
    return False


def test_what_was_logged_beside_one_whose_command_was_killed_stays(empty: Stack, plain: Plain) -> None:
    client = MlflowClient(empty.tracking_uri)
    with held_up(empty):
        with under_way(empty, plain) as command:
            command.kill()
        job = empty.container("import-job")
        empty.container("server").start()  # as Docker does after a restart of the machine
        wait_until(lambda: requests.get(f"{empty.tracking_uri}/health", timeout=5).ok, "the server serves", 50)
        run = client.create_run("0").info.run_id
        client.log_metric(run, "acknowledged", 1)
    assert job.wait(timeout=60)["StatusCode"] == 1
    said = job.logs().decode()
    assert "was written to while artifacts were copied: that stays, and no row was brought in" in said, said
    assert client.get_run(run).data.metrics == {"acknowledged": 1}
    assert holdings.rows(empty)["runs"] == 1


def test_one_at_work_is_not_disturbed_and_when_its_command_was_killed_an_up_ends_it(empty: Stack, plain: Plain) -> None:
    with held_up(empty):
        with under_way(empty, plain) as command:
            job = empty.container("import-job")
            for refused in (empty.up(), bring(empty, f"sqlite:///{plain.folder}/mlflow.db")):
                assert refused.code == 2, refused.text
                assert "import: is at work in another terminal. mend: wait for it to end" in refused.stderr
            assert (empty.container("import-job"), empty.container("import-job").status) == (job, "running")
            assert empty.container("server").status == "exited"
            command.kill()
        assert empty.container("import-job").status == "running", "else this test proves nothing"
        ended = empty.up().ok()
    assert "an import was cut off: what went on of it was ended" in ended.stderr, ended.text
    assert _is_gone(job)
    empty.assert_healthy()
    assert holdings.rows(empty)["runs"] == 0


@pytest.mark.sampled
def test_one_that_is_killed_can_be_run_again(empty: Stack, plain: Plain, tmp_path: Path) -> None:
    arguments = [f"--from=sqlite:///{plain.folder}/mlflow.db", f"--artifacts={plain.folder}/mlartifacts"]
    with ExitStack() as held:
        held.enter_context(held_up(empty))
        with under_way(empty, plain) as command:
            command.kill()
        job = empty.container("import-job")
        assert job.status == "running", "else this test proves nothing"
        with empty.checkout.started("import", *arguments, stack=empty.name) as again:
            wait_until(lambda: _is_gone(job) or again.process.poll() is not None, "the one before is ended")
            assert holdings.rows(empty)["runs"] == 0, "rows of an import that did not end"
            held.close()
            assert again.wait(120) == 0, again.output()
    assert seen(empty.tracking_uri, tmp_path) == plain.seen
    empty.assert_healthy()


# -- runs in files -----------------------------------------------------------------------------------------------


def test_runs_in_files_arrive(empty: Stack, tmp_path: Path) -> None:
    emptied(empty)
    folder, work = tmp_path / "project", tmp_path / "client"
    (folder / "mlruns").mkdir(parents=True)
    work.mkdir()
    script = (
        "import mlflow\n"
        "mlflow.set_experiment('of files')\n"
        "with mlflow.start_run():\n"
        "    mlflow.log_metric('loss', 0.5)\n"
        "    mlflow.log_text('kept', 'note.txt')\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_TRACKING_URI": f"file://{folder}/mlruns"}
    environment["MLFLOW_ALLOW_FILE_STORE"] = "true"
    subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=True, capture_output=True)
    done = bring(empty, str(folder)).ok()
    assert "is number" in done.stdout, "the number of an experiment in files does not fit into PostgreSQL"
    client = MlflowClient(empty.tracking_uri)
    experiment = client.get_experiment_by_name("of files")
    assert experiment
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {"loss": 0.5}
    assert mlflow_artifacts.load_text(f"{run.info.artifact_uri}/note.txt") == "kept"


# -- older ones ----------------------------------------------------------------------------------------------------

#: The schema of MLflow 2.22: no logged models yet, traces without spans.
_OLD = "0584bdc529eb"
_OLD_ROWS = (
    """INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time)
       VALUES (7, 'old', '/elsewhere/mlruns/7', 'active', 1)""",
    """INSERT INTO runs (run_uuid, name, user_id, source_type, status, start_time, lifecycle_stage, artifact_uri,
       experiment_id) VALUES (:run, 'old run', 'ada', 'LOCAL', 'FINISHED', 1, 'active', :where, 7)""",
    "INSERT INTO params (key, value, run_uuid) VALUES ('rate', '0.1', :run)",
)


def old_database(url: str, artifacts: Path) -> str:
    """Make a database as MLflow 2.22 left it, with a run in it; give the run's id."""
    engine = sqlalchemy.create_engine(url)
    InitialBase.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(engine.url.render_as_string(hide_password=False)), _OLD)
    run = uuid.uuid4().hex
    note = artifacts / "7" / run / "artifacts" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("old", encoding="utf-8")
    values = {"run": run, "where": f"/elsewhere/mlruns/7/{run}/artifacts"}
    with engine.begin() as connection:
        for statement in _OLD_ROWS:
            connection.execute(sqlalchemy.text(statement), values)
    engine.dispose()
    return run


def _assert_old_run(stack: Stack, run: str) -> None:
    found = MlflowClient(stack.tracking_uri).get_run(run)
    assert (found.info.run_name, found.data.params, found.info.experiment_id) == ("old run", {"rate": "0.1"}, "7")
    mlflow.set_tracking_uri(stack.tracking_uri)
    assert mlflow_artifacts.load_text(f"{found.info.artifact_uri}/note.txt") == "old"


@pytest.mark.sampled
def test_an_older_sqlite_database_is_upgraded_on_a_copy(empty: Stack, tmp_path: Path) -> None:
    emptied(empty)
    run = old_database(f"sqlite:///{tmp_path}/old.db", tmp_path / "moved")
    before = (tmp_path / "old.db").read_bytes()
    bring(empty, f"sqlite:///{tmp_path}/old.db", artifacts=str(tmp_path / "moved")).ok()
    _assert_old_run(empty, run)
    assert (tmp_path / "old.db").read_bytes() == before, "the source was upgraded"


@pytest.mark.sampled
def test_an_older_postgresql_database_is_upgraded_on_a_copy(empty: Stack, compose: Compose, tmp_path: Path) -> None:
    emptied(empty)
    network = f"mlflow-compose-{compose.variant.key}"
    postgres = empty.client.containers.get(f"{network}-postgres")
    execute(postgres, ["createdb", "--host=/tmp", "--username=mlflowuser", "old"])
    host = postgres.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
    secret = compose.client_environment["AWS_SECRET_ACCESS_KEY"]
    run = old_database(f"postgresql+psycopg://mlflowuser:{secret}@{host}:5432/old", tmp_path / "moved")
    password = tmp_path / "password"
    password.write_text(f"{secret}\n", encoding="utf-8")
    password.chmod(0o600)
    bring(
        empty,
        "postgresql://mlflowuser@mlflow-backend-store/old",
        artifacts=str(tmp_path / "moved"),
        password_file=str(password),
        network=network,
    ).ok()
    _assert_old_run(empty, run)


# -- the usual compose set-up --------------------------------------------------------------------------------------


def test_the_usual_compose_set_up_arrives_run_by_run(
    empty: Stack, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied(empty)
    for name, value in compose.client_environment.items():
        monkeypatch.setenv(name, value)
    fill(compose.uri, tmp_path)
    source = seen(compose.uri, tmp_path)
    for name in compose.client_environment:
        monkeypatch.delenv(name)
    keys = compose.client_environment
    password, credentials = tmp_path / "password", tmp_path / "credentials"
    password.write_text(keys["AWS_SECRET_ACCESS_KEY"])
    credentials.write_text(
        f"[default]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
    )
    for path in (password, credentials):
        path.chmod(0o600)
    network = f"mlflow-compose-{compose.variant.key}"
    done = bring(
        empty,
        "postgresql://mlflowuser@mlflow-backend-store:5432/mlflow",
        password_file=str(password),
        s3_endpoint="http://mlflow-artifact-store:9000",
        s3_credentials=str(credentials),
        network=network,
    ).ok()
    assert keys["AWS_SECRET_ACCESS_KEY"] not in done.text
    assert seen(empty.tracking_uri, tmp_path) == source
