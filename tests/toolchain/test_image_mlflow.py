"""The MLflow image: what is in it, how it migrates and serves, on real PostgreSQL and MinIO."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from tests.toolchain.boxes import Boxes, File, eventually, execute, exit_of, inspect_of, logs, once, put
from toolchain.images import docker_host
from toolchain.images.progress import Progress, StepFailedError
from toolchain.paths import PROJECT_DIR

_CHECKS = (PROJECT_DIR / "tests/toolchain/image_mlflow_checks.py").read_text(encoding="utf-8")
_VERSION = "3.17.2"
_HEAD = "dc11669786a5"
_SECRETS = {
    "owner": "own:er\\pw-4f1c",
    "runtime": "run'time%pw-9b2d",
    "bucket": "bucket-secret-77aa",
    "kek": "kek-passphrase-0123456789abcdef-0123",
    "webhook": "b3a1zJq0m2WJt5o2l3bXr3cYQ0m1m7c9Z2xk8s6d4fE=",
}
_POSTGRES = (
    "initdb -D /tmp/data -U postgres --auth-host=scram-sha-256 --auth-local=trust --no-sync >/dev/null"
    " && echo 'host all all all scram-sha-256' >>/tmp/data/pg_hba.conf"
    " && exec postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp"
)
_ROLES = r"""
CREATE ROLE mlflowowner LOGIN PASSWORD 'own:er\pw-4f1c';
CREATE ROLE mlflowuser LOGIN PASSWORD 'run''time%pw-9b2d';
"""
_RIGHTS = """
ALTER DEFAULT PRIVILEGES FOR ROLE mlflowowner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO mlflowuser;
ALTER DEFAULT PRIVILEGES FOR ROLE mlflowowner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO mlflowuser;
"""


@dataclass
class Stores:
    """PostgreSQL and MinIO on one network, and what MLflow needs to find them."""

    boxes: Boxes
    image: str
    network: str
    postgres: Container
    minio: Container

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the superuser of the container; it must succeed."""
        command = ["psql", "-h", "/tmp", "-U", "postgres", "-d", database, "-qAt", "-v", "ON_ERROR_STOP=1", "-c"]
        code, output = execute(self.postgres, [*command, statement])
        assert code == 0, output
        return output.strip()

    def database(self, name: str) -> None:
        """A new database that the owner role owns."""
        self.sql(f"CREATE DATABASE {name} OWNER mlflowowner")
        self.sql(_RIGHTS, name)

    def dump(self, database: str) -> str:
        """Everything in a database, as pg_dump writes it."""
        code, output = execute(self.postgres, ["pg_dump", "-h", "/tmp", "-U", "postgres", "--inserts", database])
        assert code == 0, output
        return "\n".join(line for line in output.splitlines() if not line.startswith("\\"))

    def start(self, mode: str, database: str, user: str = "mlflowowner", **environment: str) -> Container:
        """The image in one of its modes."""
        password = _SECRETS["owner" if user == "mlflowowner" else "runtime"]
        keys = f"[default]\naws_access_key_id = root\naws_secret_access_key = {_SECRETS['bucket']}\n"
        return self.boxes.run(
            self.image,
            [mode],
            network=self.network,
            files={
                "pg-service.conf": File(f"[mlflow]\npassword={password}\n", 0o444),
                "aws-credentials": File(keys, 0o444),
                "kek-passphrase": File(_SECRETS["kek"], 0o444),
                "webhook-key": File(_SECRETS["webhook"], 0o444),
            },
            environment={
                "PGHOST": self.postgres.name,
                "PGUSER": user,
                "PGDATABASE": database,
                "MLFLOW_S3_ENDPOINT_URL": f"http://{self.minio.name}:9000",
                "MLFLOW_STACK_WORKERS": "2",
                **environment,
            },
        )

    def migrate(self, database: str, **environment: str) -> tuple[int, str]:
        """Migrate: exit code and everything said."""
        job = self.start("migrate", database, **environment)
        return exit_of(job, 180), logs(job)


@pytest.fixture(scope="module")
def stores(
    docker_client: docker.DockerClient, built: Mapping[str, str], minio_image: str, mlflow_image: str
) -> Iterator[Stores]:
    """One PostgreSQL and one MinIO for all tests of this file, each test with a database of its own."""
    boxes = Boxes(docker_client)
    try:
        network = boxes.network()
        postgres = boxes.run(built["postgresImage"], ["-c", _POSTGRES], uid=999, entrypoint=["bash"], network=network)
        minio = boxes.run(
            minio_image,
            ["-c", "mkdir -p /tmp/data/mlflow && exec minio server /tmp/data"],
            entrypoint=["sh"],
            network=network,
            environment={"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": _SECRETS["bucket"]},
        )
        ready = ["psql", "-h", "/tmp", "-U", "postgres", "-c", "SELECT 1"]
        eventually(lambda: execute(postgres, ready)[0] == 0, "PostgreSQL is ready")
        made = Stores(boxes, mlflow_image, network, postgres, minio)
        made.sql(_ROLES)
        yield made
    finally:
        boxes.clear()


@pytest.fixture(scope="module")
def server(stores: Stores) -> Container:
    """A server that serves."""
    stores.database("serving")
    assert stores.migrate("serving")[0] == 0
    container = stores.start("serve", "serving", "mlflowuser")
    eventually(lambda: _health(container)[0] == 200, f"the server is well: {logs(container)}", 120)
    return container


def _health(container: Container) -> tuple[int, str]:
    _, output = execute(container, ["mlflow-stack-probe"])
    match = re.search(r"^(\d{3}) (.*)$", output, re.MULTILINE)
    return (int(match.group(1)), match.group(2)) if match else (0, output)


def _check(client: docker.DockerClient, image: str, name: str) -> dict[str, Any]:
    container = client.containers.create(
        image, ["-c", "sleep 600"], entrypoint=["sh"], network_mode="none", labels={"mlflow-stack-tests.images": "1"}
    )
    try:
        container.start()
        put(container, "/tmp/checks.py", File(_CHECKS, 0o444))
        code, output = execute(container, ["python", "/tmp/checks.py", name], stderr=False)
        assert code == 0, output
        return dict(json.loads(output.splitlines()[-1]))
    finally:
        container.remove(force=True, v=True)


def test_it_runs_without_privileges_compilers_caches_and_tests(
    docker_client: docker.DockerClient, mlflow_image: str
) -> None:
    script = """
        id -u; command -v gcc cc make strip pip
        find / -xdev \\( -name '.cache' -o -name 'pip' -o -name 'tests' \\) -type d -path '*mlflow*' 2>/dev/null | head
        find /opt/mlflow -writable 2>/dev/null | head -3
        true
    """
    assert once(docker_client, mlflow_image, script).split() == ["10002"]


def test_every_installed_library_imports(docker_client: docker.DockerClient, mlflow_image: str) -> None:
    found = _check(docker_client, mlflow_image, "libraries")
    assert not found["failed"]
    assert found["imported"] > 80


def test_every_mlflow_command_works_down_to_its_help(docker_client: docker.DockerClient, mlflow_image: str) -> None:
    found = _check(docker_client, mlflow_image, "commands")
    assert not found["failed"]
    assert found["asked"] > 80


def test_nothing_that_a_start_imports_has_to_be_compiled(docker_client: docker.DockerClient, mlflow_image: str) -> None:
    assert _check(docker_client, mlflow_image, "compiled") == {"missing": []}


def test_what_the_launcher_repeats_of_mlflow_is_what_mlflow_does(
    docker_client: docker.DockerClient, mlflow_image: str
) -> None:
    found = _check(docker_client, mlflow_image, "contract")
    assert {name: pair for name, pair in found["environment"].items() if pair[0] != pair[1]} == {}
    assert found["random"] == []
    ours, theirs = found["allowed_hosts"]
    assert ours == theirs


def test_a_presigned_url_carries_the_address_of_the_caller_and_only_in_a_request(
    docker_client: docker.DockerClient, mlflow_image: str
) -> None:
    found = _check(docker_client, mlflow_image, "contract")
    assert found["class"], "the entry point does not replace MLflow's own repository"
    assert found["outside"].startswith("https://front.example:5001/bucket/run/")
    assert found["inside"].startswith("http://inside:9000/bucket/run/")
    assert found["without_our_client"] == [], "these sign with a client that is not ours"
    assert found["other_signers"] == [], "MLflow signs in a method that nobody has looked at"
    assert found["fetches"] == [
        "artifact_router.download_artifact",
        "handlers._download_artifact",
        "handlers._send_artifact",
    ], "the server fetches an artifact in order to send it, and for nothing else: else it must not be handed over"
    assert found["hosts"] == [None, None, None, None, ["http", "x"], ["http", "[::1]:5001"], None]


def test_a_version_without_a_lock_is_refused_by_the_build(
    docker_client: docker.DockerClient, built: Mapping[str, str]
) -> None:
    arguments = {"PYTHON_IMAGE": built["pythonImage"], "MLFLOW_VERSION": "3.17.1"}
    said: list[str] = []
    with pytest.raises(StepFailedError) as refused:
        docker_host.build(
            docker_client,
            PROJECT_DIR / "images/mlflow",
            "local/imagetest:none",
            arguments,
            Progress("mlflow", said.append),
        )
    assert "lock.py 3.17.1" in f"{refused.value}{said}"


def test_the_schema_dump_makes_the_very_schema_that_mlflow_makes(stores: Stores) -> None:
    stores.database("dumped")
    stores.database("migrated")
    code, said = stores.migrate("dumped")
    assert code == 0, said
    assert "instead" not in said, "the dump was not used"
    code, said = stores.migrate("migrated", MLFLOW_STACK_SCHEMA_SNAPSHOT="false")
    assert code == 0, said
    assert stores.dump("dumped") == stores.dump("migrated")


def test_a_second_migration_has_nothing_to_do(stores: Stores) -> None:
    stores.database("twice")
    assert stores.migrate("twice")[0] == 0
    code, said = stores.migrate("twice")
    assert code == 0
    assert said.strip().endswith("nothing to do")


def test_a_database_of_a_newer_mlflow_is_refused_and_left_alone(stores: Stores) -> None:
    stores.database("newer")
    stores.migrate("newer")
    stores.sql("UPDATE alembic_version SET version_num = 'ffffffffffff'", "newer")
    before = stores.dump("newer")
    code, said = stores.migrate("newer")
    assert code == 2, said
    assert "ffffffffffff" in said.splitlines()[-1]
    assert _HEAD in said.splitlines()[-1]
    assert stores.dump("newer") == before


@pytest.mark.parametrize("way", ["true", "false"])
def test_a_migration_that_fails_says_why_on_its_last_line(stores: Stores, way: str) -> None:
    name = f"no_rights_{way}"
    stores.database(name)
    stores.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner", name)
    code, said = stores.migrate(name, MLFLOW_STACK_SCHEMA_SNAPSHOT=way)
    assert code == 1, said
    assert "permission denied for schema public" in said.splitlines()[-1]
    assert stores.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == "0"


def test_a_running_migration_keeps_out_another(stores: Stores) -> None:
    stores.database("locked")
    lock = "SELECT pg_advisory_lock(120312342278007); SELECT pg_sleep(25)"
    execute(stores.postgres, ["psql", "-h", "/tmp", "-U", "postgres", "-d", "locked", "-c", lock], detach=True)
    time.sleep(1)
    code, said = stores.migrate("locked", MLFLOW_STACK_DATABASE_WAIT_SECONDS="3")
    assert code == 1, said
    assert "another migration" in said.splitlines()[-1]


@pytest.mark.parametrize(("database", "found"), [("nothing", "none"), ("older", "0000")])
def test_the_server_does_not_serve_on_another_schema(stores: Stores, database: str, found: str) -> None:
    stores.database(database)
    if found != "none":
        stores.migrate(database)
        stores.sql("UPDATE alembic_version SET version_num = '0000'", database)
    container = stores.start("serve", database, "mlflowuser")
    assert exit_of(container) == 3
    line = logs(container).splitlines()[-1]
    assert f"schema revision is {found}" in line
    assert _HEAD in line


def test_a_database_that_never_comes_is_given_up_with_a_line(stores: Stores) -> None:
    job = stores.start("migrate", "serving", PGHOST="nowhere.invalid", MLFLOW_STACK_DATABASE_WAIT_SECONDS="2")
    assert exit_of(job) == 1
    assert "not reachable within 2 s" in logs(job).splitlines()[-1]


def test_no_secret_is_in_any_environment_argument_log_or_inspection(
    server: Container, docker_client: docker.DockerClient
) -> None:
    script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'"
    seen = execute(server, ["sh", "-c", script], user="root")[1] + logs(server) + inspect_of(docker_client, server)
    assert {name for name, value in _SECRETS.items() if value in seen} == set()


def test_the_server_answers_its_routes_and_turns_strangers_hosts_away(server: Container) -> None:
    script = """
import json, urllib.request, urllib.error
def ask(path, host="localhost:5000", body=None):
    headers = {"Host": host, "Content-Type": "application/json"}
    request = urllib.request.Request("http://127.0.0.1:5000" + path, body, headers)
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
search = b'{"max_results": 1}'
print(json.dumps([
    ask("/"), ask("/version"), ask("/api/2.0/mlflow/experiments/search", body=search),
    ask("/", "evil.example"), ask("/", "mlflow-server:5000"),
    ask("/api/2.0/mlflow/experiments/search", "evil.example", search),
    ask("/api/2.0/mlflow-artifacts/artifacts?path="), ask("/ajax-api/3.0/mlflow/server-info"),
]))
"""
    code, output = execute(server, ["python", "-c", script])
    assert code == 0, output
    assert json.loads(output) == [200, 200, 200, 403, 200, 403, 200, 200]


@pytest.mark.parametrize("store", ["postgres", "minio"])
def test_health_says_503_while_a_store_is_frozen_and_200_after(stores: Stores, server: Container, store: str) -> None:
    frozen: Container = getattr(stores, store)
    frozen.pause()
    try:
        eventually(lambda: _health(server)[0] == 503, "health notices", 15)
        started = time.monotonic()
        status, reason = _health(server)
        assert status == 503
        assert ("database" if store == "postgres" else "bucket") in reason
        assert time.monotonic() - started < 8, "a probe must not hang"
    finally:
        frozen.unpause()
    eventually(lambda: _health(server)[0] == 200, "health recovers", 15)


def test_a_thousand_probes_ask_the_stores_once_a_second(stores: Stores, server: Container) -> None:
    count = "SELECT sessions FROM pg_stat_database WHERE datname = 'serving'"
    stores.sql("SELECT pg_stat_clear_snapshot()")
    before = int(stores.sql(count))
    script = """
import time, urllib.request
end = time.monotonic() + 5
asked = 0
while time.monotonic() < end:
    urllib.request.urlopen("http://127.0.0.1:5000/health", timeout=10).read()
    asked += 1
print(asked)
"""
    code, output = execute(server, ["python", "-c", script])
    assert code == 0, output
    time.sleep(2)
    opened = int(stores.sql(count)) - before
    assert int(output) > 100, "not probed hard enough to show anything"
    assert opened <= 9, f"{opened} connections for {output.strip()} probes in 5 s"


def test_a_stop_lets_the_request_in_flight_end(stores: Stores) -> None:
    stores.database("stopping")
    stores.migrate("stopping")
    container = stores.start("serve", "stopping", "mlflowuser")
    eventually(lambda: _health(container)[0] == 200, "the server is well", 120)
    script = """
import socket, time
s = socket.create_connection(("127.0.0.1", 5000))
body = b'{"max_results": 1}'
head = ["POST /api/2.0/mlflow/experiments/search HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
s.sendall("\\r\\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body[:5])
open("/tmp/begun", "w").close()
time.sleep(3)
s.sendall(body[5:])
open("/tmp/answer", "wb").write(s.recv(200))
"""
    execute(container, ["python", "-c", script], detach=True)
    eventually(lambda: execute(container, ["test", "-e", "/tmp/begun"])[0] == 0, "a request is in flight", 20)
    container.kill("SIGTERM")
    eventually(lambda: execute(container, ["test", "-s", "/tmp/answer"])[0] == 0, "the request is answered", 10)
    assert execute(container, ["head", "-c", "15", "/tmp/answer"])[1] == "HTTP/1.1 200 OK"
    eventually(lambda: _stopped(container), "the server has stopped", 10)
    assert exit_of(container) == 0


def _stopped(container: Container) -> bool:
    container.reload()
    return container.status == "exited"
