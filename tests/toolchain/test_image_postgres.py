"""PostgreSQL's image and entry point, on real volumes: first start, later starts, kills, refusals."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from urllib.parse import quote

import docker
import pytest
from docker.models.containers import Container

from tests.toolchain.boxes import FILES, Boxes, File, eventually, execute, exit_of, inspect_of, logs, once
from toolchain.paths import PROJECT_DIR

_UID = 999
_DATA = "/var/lib/postgresql"
_ENTRYPOINT = (PROJECT_DIR / "images/postgres/entrypoint.sh").read_text(encoding="utf-8")
#: Every character that a shell, SQL or a configuration file could trip over.
_PASSWORD = "a'b''c\"d\\e$f$$g`h%i;j--k /*l ö€ \t!"


def _server(
    boxes: Boxes, image: str, volume: str, password: str | bytes, *arguments: str, **options: object
) -> Container:
    return boxes.run(
        image,
        list(arguments),
        uid=_UID,
        entrypoint=[f"{FILES}/entrypoint.sh"],
        files={"entrypoint.sh": File(_ENTRYPOINT, 0o555), "admin-password": File(password)},
        volumes={volume: _DATA},
        **options,
    )


def _ready(container: Container) -> float:
    def answers() -> bool:
        container.reload()
        assert container.status in {"running", "created"}, logs(container)
        return execute(container, ["pg_isready", "--quiet", "--host=127.0.0.1"])[0] == 0

    return eventually(answers, "PostgreSQL is ready")


def _query(container: Container, password: str, statement: str, host: str = "127.0.0.1") -> tuple[int, str]:
    return execute(
        container,
        ["psql", "--no-psqlrc", "-qAt", "-U", "postgres", "-h", host, "-d", "postgres", "-c", statement],
        environment={"PGPASSWORD": password},
    )


def test_a_new_volume_gets_a_cluster_with_checksums_and_a_collation_of_its_own(
    boxes: Boxes, built: Mapping[str, str]
) -> None:
    server = _server(boxes, built["postgresImage"], boxes.volume(), _PASSWORD, "-c", "max_connections=42")
    print(f"fresh volume ready after {_ready(server):.2f} s")
    facts = (
        "SELECT current_setting('data_checksums'), current_setting('server_encoding'), datlocprovider, datlocale,"
        " current_setting('max_connections'), current_setting('server_version'), current_setting('fsync'),"
        " current_setting('full_page_writes'), current_setting('synchronous_commit')"
        " FROM pg_database WHERE datname = 'template1'"
    )
    assert _query(server, _PASSWORD, facts) == (0, "on|UTF8|b|C.UTF-8|42|18.4|on|on|on\n")


def test_nobody_comes_in_without_a_password_but_the_containers_own_user(
    boxes: Boxes, built: Mapping[str, str], docker_client: docker.DockerClient
) -> None:
    server = _server(boxes, built["postgresImage"], boxes.volume(), _PASSWORD)
    _ready(server)
    code, output = _query(server, "wrong", "SELECT 1")
    assert code, output
    assert "password authentication failed" in output
    assert _query(server, "", "SELECT current_user", host="/var/run/postgresql") == (0, "postgres\n")
    code, output = execute(server, ["psql", "-U", "postgres", "-d", "postgres", "-c", "SELECT 1"], user="65534")
    assert code, "another user of the container needs a password on the socket, too"
    _, rules = execute(server, ["sh", "-c", "grep -vE '^#|^$' $PGDATA/pg_hba.conf"])
    assert {line.split()[-1] for line in rules.splitlines()} == {"peer", "scram-sha-256"}
    _, stored = _query(server, _PASSWORD, "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
    assert stored.startswith("SCRAM-SHA-256$")


def test_the_password_is_nowhere_to_be_seen(
    boxes: Boxes, built: Mapping[str, str], docker_client: docker.DockerClient
) -> None:
    password = "Sehr-Geheim'1234567"
    volume = boxes.volume()
    for _ in range(2):  # the second start sets it in single-user mode, with every statement logged if it could be
        server = _server(boxes, built["postgresImage"], volume, password, "-c", "log_statement=all")
        _ready(server)
        environments = once(
            docker_client,
            built["postgresImage"],
            "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'",
            user="0",
            pid_mode=f"container:{server.id}",
            cap_add=["SYS_PTRACE"],
        )
        assert "PGDATA" in environments
        seen = environments + logs(server) + inspect_of(docker_client, server)
        for form in (password, quote(password), password.replace("'", "''"), "Sehr-Geheim"):
            assert form not in seen
        server.remove(force=True, v=True)


def test_a_new_password_takes_effect_at_the_next_start(boxes: Boxes, built: Mapping[str, str]) -> None:
    volume = boxes.volume()
    first = _server(boxes, built["postgresImage"], volume, "the old one")
    _ready(first)
    assert _query(first, "the old one", "CREATE TABLE kept AS SELECT 7 AS n")[0] == 0
    first.stop(timeout=30)
    assert "database system is shut down" in logs(first), "SIGINT from the image is a fast and clean stop"

    second = _server(boxes, built["postgresImage"], volume, _PASSWORD)
    print(f"existing volume ready after {_ready(second):.2f} s")
    assert _query(second, "the old one", "SELECT 1")[0] != 0
    assert _query(second, _PASSWORD, "SELECT n FROM kept") == (0, "7\n")


def test_a_first_start_killed_at_any_moment_is_made_good_by_the_next(boxes: Boxes, built: Mapping[str, str]) -> None:
    moments = random.Random(20261124)  # noqa: S311 - a test's choice of moments, no secret
    for _ in range(4):
        volume = boxes.volume()
        server = _server(boxes, built["postgresImage"], volume, _PASSWORD)
        time.sleep(moments.uniform(0.05, 1.5))
        server.kill(signal="SIGKILL")
        server.start()
        _ready(server)
        assert _query(server, _PASSWORD, "SELECT 1") == (0, "1\n")
        assert execute(server, ["sh", "-c", "ls -d $PGDATA.new"])[0] != 0, "nothing half made stays behind"
        server.remove(force=True, v=True)


def test_a_server_killed_while_it_writes_keeps_what_was_committed(boxes: Boxes, built: Mapping[str, str]) -> None:
    server = _server(boxes, built["postgresImage"], boxes.volume(), _PASSWORD)
    _ready(server)
    assert _query(server, _PASSWORD, "CREATE TABLE t (n int)")[0] == 0
    for number in range(3):
        assert _query(server, _PASSWORD, "INSERT INTO t SELECT generate_series(1, 10000)")[0] == 0
        server.kill(signal="SIGKILL")
        server.start()
        _ready(server)
        assert _query(server, _PASSWORD, "SELECT count(*) FROM t") == (0, f"{(number + 1) * 10000}\n")


def test_data_of_another_major_is_refused_and_not_touched(
    boxes: Boxes, built: Mapping[str, str], postgres_16: str, docker_client: docker.DockerClient
) -> None:
    volume = boxes.volume()
    old = _server(boxes, postgres_16, volume, _PASSWORD)
    _ready(old)
    assert _query(old, _PASSWORD, "SHOW server_version") == (0, "16.14\n")
    old.stop(timeout=30)
    mounted = {volume: {"bind": _DATA, "mode": "rw"}}
    sums = f"cd {_DATA} && find . -type f ! -name .mlflow-stack.lock | sort | xargs sha256sum | sha256sum"
    before = once(docker_client, postgres_16, sums, volumes=mounted, user="0")

    new = _server(boxes, built["postgresImage"], volume, _PASSWORD)
    assert exit_of(new) == 65
    assert "data of PostgreSQL 16, this image is PostgreSQL 18" in logs(new)
    # The same when the data lies exactly where this image looks for its own.
    moved = _server(boxes, built["postgresImage"], volume, _PASSWORD, environment={"PGDATA": f"{_DATA}/16/docker"})
    assert exit_of(moved) == 65
    assert "mend: set postgresImage to an image of PostgreSQL 16" in logs(moved)
    assert once(docker_client, postgres_16, sums, volumes=mounted, user="0") == before


def test_a_server_throws_away_what_was_loaded_for_a_later_one_and_is_not_served_beside_its_cluster(
    boxes: Boxes, postgres_16: str, docker_client: docker.DockerClient
) -> None:
    volume = boxes.volume()
    mounted = {volume: {"bind": _DATA, "mode": "rw"}}

    def in_volume(script: str) -> str:
        return once(docker_client, postgres_16, f"cd {_DATA} && {script}", volumes=mounted, user=str(_UID))

    in_volume("mkdir -p 18/docker.moving 18/docker.moved 18/docker.ready && echo 18 >18/docker.ready/PG_VERSION")
    old = _server(boxes, postgres_16, volume, _PASSWORD)
    _ready(old)
    assert in_volume("ls -A 18") == "", "what was loaded before this start is out of date"
    old.stop(timeout=30)
    in_volume("mkdir 18/docker && echo 18 >18/docker/PG_VERSION")
    old.start()
    assert exit_of(old) == 65
    assert "mend: set postgresImage to an image of PostgreSQL 18" in logs(old)


def test_a_folder_that_is_no_database_is_not_touched(
    boxes: Boxes, built: Mapping[str, str], docker_client: docker.DockerClient
) -> None:
    volume = boxes.volume()
    mounted = {volume: {"bind": _DATA, "mode": "rw"}}
    path = f"{_DATA}/18/docker"
    once(docker_client, built["postgresImage"], f"mkdir -p {path} && echo mine > {path}/letter", volumes=mounted)
    server = _server(boxes, built["postgresImage"], volume, _PASSWORD)
    assert exit_of(server) == 65
    assert "not empty and not a database" in logs(server)
    assert once(docker_client, built["postgresImage"], f"cat {path}/letter", volumes=mounted) == "mine\n"


def test_two_servers_never_share_a_volume(boxes: Boxes, built: Mapping[str, str]) -> None:
    volume = boxes.volume()
    first = _server(boxes, built["postgresImage"], volume, _PASSWORD)
    _ready(first)
    second = _server(boxes, built["postgresImage"], volume, _PASSWORD)
    assert exit_of(second) == 75
    assert "another PostgreSQL server uses this volume" in logs(second)
    assert _query(first, _PASSWORD, "SELECT 1") == (0, "1\n")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [("", "is empty"), ("\n", "is empty"), ("one\ntwo", "more than one line"), ("one\r", "more than one line")],
)
def test_a_password_that_is_none_is_refused(boxes: Boxes, built: Mapping[str, str], content: str, wrong: str) -> None:
    server = _server(boxes, built["postgresImage"], boxes.volume(), content)
    assert exit_of(server) == 78
    assert wrong in logs(server)


def test_a_database_made_elsewhere_gets_our_superuser_and_our_access_rules(
    boxes: Boxes, built: Mapping[str, str], docker_client: docker.DockerClient
) -> None:
    volume = boxes.volume()
    once(
        docker_client,
        built["postgresImage"],
        "initdb -D $PGDATA -U mlflowuser --auth=trust >/dev/null",
        volumes={volume: {"bind": _DATA, "mode": "rw"}},
    )
    server = _server(boxes, built["postgresImage"], volume, _PASSWORD)
    _ready(server)
    assert _query(server, _PASSWORD, "SELECT usesuper FROM pg_user WHERE usename = current_user") == (0, "t\n")
    code, _ = execute(server, ["psql", "-U", "mlflowuser", "-h", "127.0.0.1", "-d", "postgres", "-wc", "SELECT 1"])
    assert code, "the trust of its old access rules is gone"


def test_it_runs_with_a_read_only_root_file_system_and_no_capabilities(boxes: Boxes, built: Mapping[str, str]) -> None:
    volume = boxes.volume()
    for _ in range(2):
        server = _server(
            boxes,
            built["postgresImage"],
            volume,
            _PASSWORD,
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            tmpfs={"/tmp": "mode=1777", "/var/run/postgresql": f"uid={_UID},gid={_UID}"},
        )
        _ready(server)
        assert _query(server, _PASSWORD, "SELECT 1") == (0, "1\n")
        server.remove(force=True, v=True)


def test_the_image_has_what_backup_and_upgrade_need_and_no_compiler(
    built: Mapping[str, str], docker_client: docker.DockerClient
) -> None:
    tools = "pg_dump pg_dumpall pg_restore pg_upgrade pg_basebackup pg_controldata pg_checksums psql vacuumdb flock"
    script = f"for t in {tools}; do $t --version | grep -qE ' 18.4|util-linux' || echo missing $t; done; id -u; id -g"
    assert once(docker_client, built["postgresImage"], script) == "999\n999\n"
