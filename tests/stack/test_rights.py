"""Each credential may do what its part of the stack does, and nothing else: asked of the servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import psycopg
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.stack.harness import Stack, execute


@pytest.fixture(scope="module")
def credentials(used_stack: Stack) -> dict[str, str]:
    """User names and passwords by the keys of the output `credentials`."""
    return dict(used_stack.outputs["credentials"])


# -- PostgreSQL ----------------------------------------------------------------------------------------------


def _connect(stack: Stack, credentials: dict[str, str], role: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host="127.0.0.1",
        port=int(stack.settings["postgresPort"]),
        dbname=stack.settings.get("databaseName", "mlflow"),
        user=credentials[f"postgres{role}User"],
        password=credentials[f"postgres{role}Password"],
        sslmode="disable",
        autocommit=True,
    )


@pytest.fixture
def runtime(used_stack: Stack, credentials: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the role that the tracking server uses."""
    with _connect(used_stack, credentials, "Runtime") as connection:
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "ALTER TABLE runs ADD COLUMN mine int",
        "ALTER TABLE runs OWNER TO CURRENT_USER",
        "DROP TABLE tags",
        "TRUNCATE tags",
        "CREATE INDEX mine ON runs (run_uuid)",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "SET ROLE mlflowowner",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER SYSTEM SET fsync = off",
    ],
)
def test_the_runtime_role_may_not(runtime: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        runtime.execute(statement.encode())


def test_the_runtime_role_may_not_pass_its_rights_on(runtime: psycopg.Connection[Any]) -> None:
    # PostgreSQL answers a GRANT without grant option with a warning alone: look whether it took.
    runtime.execute("GRANT SELECT ON runs TO public")
    granted = runtime.execute(
        "SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC' AND table_name = 'runs'"
    ).fetchone()
    assert granted == (0,), "everybody may read the runs now"


def test_the_runtime_role_reads_and_writes_rows(runtime: psycopg.Connection[Any]) -> None:
    with runtime.transaction(force_rollback=True):
        runtime.execute("INSERT INTO experiments (name, artifact_location) VALUES ('rights', 'nowhere')")
        runtime.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'rights'")
        runtime.execute("DELETE FROM experiments WHERE name = 'rights'")
        count = runtime.execute("SELECT count(*) FROM runs").fetchone()
    assert count is not None
    assert count[0] >= 2, "the client's runs are not to be seen in the database that was asked"


def test_the_runtime_role_has_no_attributes(runtime: psycopg.Connection[Any]) -> None:
    row = runtime.execute(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
        "WHERE rolname = current_user"
    ).fetchone()
    assert row == (False,) * 5, f"superuser, createrole, createdb, replication, bypassrls: {row}"


def test_the_owner_is_no_superuser(used_stack: Stack, credentials: dict[str, str]) -> None:
    with _connect(used_stack, credentials, "Owner") as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False,) * 3, f"superuser, createrole, createdb: {row}"


def test_nobody_logs_in_without_a_password(used_stack: Stack, credentials: dict[str, str]) -> None:
    for role in ("Admin", "Owner", "Runtime"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            _connect(used_stack, {**credentials, f"postgres{role}Password": "wrong-password"}, role)


# -- MinIO ---------------------------------------------------------------------------------------------------


def _s3(stack: Stack, user: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.settings['minioApiPort']}",
        aws_access_key_id=user,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def root(used_stack: Stack, credentials: dict[str, str]) -> Iterator[Any]:
    """MinIO's root user, with a second bucket and an object in it."""
    client = _s3(used_stack, credentials["minioRootUser"], credentials["minioRootPassword"])
    client.create_bucket(Bucket="somebody-elses")
    client.put_object(Bucket="somebody-elses", Key="secret", Body=b"x")
    yield client
    client.delete_object(Bucket="somebody-elses", Key="secret")
    client.delete_bucket(Bucket="somebody-elses")


@pytest.fixture
def bucket_user(used_stack: Stack, credentials: dict[str, str], root: Any) -> Any:
    """The user that the tracking server uses."""
    return _s3(used_stack, credentials["bucketUser"], credentials["bucketUserSecret"])


@pytest.fixture
def console_user(used_stack: Stack, credentials: dict[str, str], root: Any) -> Any:
    """The user that looks at the bucket in the console."""
    return _s3(used_stack, credentials["consoleUser"], credentials["consoleUserPassword"])


def _refused(call: Any, **arguments: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert status == 403, f"{arguments}: answered {status}: {caught.value}"


@pytest.mark.parametrize("user", ["bucket_user", "console_user"])
def test_a_minio_user_sees_its_bucket_only(user: str, request: pytest.FixtureRequest) -> None:
    client: Any = request.getfixturevalue(user)
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["mlflow"], "the buckets it lists"
    _refused(client.list_objects_v2, Bucket="somebody-elses")
    _refused(client.get_object, Bucket="somebody-elses", Key="secret")
    _refused(client.put_object, Bucket="somebody-elses", Key="mine", Body=b"x")
    _refused(client.create_bucket, Bucket="another")
    _refused(client.delete_bucket, Bucket="mlflow")
    _refused(client.put_bucket_policy, Bucket="mlflow", Policy="{}")


def test_the_bucket_user_reads_and_writes_its_bucket(bucket_user: Any) -> None:
    bucket_user.put_object(Bucket="mlflow", Key="rights-test", Body=b"x")
    try:
        assert bucket_user.get_object(Bucket="mlflow", Key="rights-test")["Body"].read() == b"x"
    finally:
        bucket_user.delete_object(Bucket="mlflow", Key="rights-test")


def test_the_console_user_cannot_write(console_user: Any) -> None:
    listed = console_user.list_objects_v2(Bucket="mlflow")["Contents"]
    key = listed[0]["Key"]
    assert console_user.head_object(Bucket="mlflow", Key=key)["ContentLength"] >= 0, "it may read"
    _refused(console_user.put_object, Bucket="mlflow", Key="rights-test", Body=b"x")
    _refused(console_user.delete_object, Bucket="mlflow", Key=key)
    _refused(console_user.create_multipart_upload, Bucket="mlflow", Key="rights-test")


@pytest.mark.parametrize("user", ["bucketUser", "consoleUser"])
def test_a_minio_user_cannot_use_the_admin_api(used_stack: Stack, credentials: dict[str, str], user: str) -> None:
    from minio import MinioAdmin  # noqa: PLC0415 - used here only
    from minio.credentials.providers import StaticProvider  # noqa: PLC0415
    from minio.error import MinioAdminException  # noqa: PLC0415

    def admin(name: str, secret: str) -> MinioAdmin:
        endpoint = f"127.0.0.1:{used_stack.settings['minioApiPort']}"
        return MinioAdmin(endpoint=endpoint, credentials=StaticProvider(name, secret), secure=False)

    assert admin(credentials["minioRootUser"], credentials["minioRootPassword"]).user_list(), "the admin API answers"
    secret = credentials["bucketUserSecret" if user == "bucketUser" else "consoleUserPassword"]
    plain = admin(credentials[user], secret)
    calls: list[Callable[[], object]] = [
        plain.user_list,
        plain.info,
        plain.policy_list,
        lambda: plain.user_add("mine", "mine-mine-mine"),
    ]
    for call in calls:
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            call()


def test_nobody_uses_minio_anonymously(used_stack: Stack) -> None:
    api = f"http://127.0.0.1:{used_stack.settings['minioApiPort']}"
    for path in ("/", "/mlflow/", "/mlflow/?list-type=2"):
        answer = requests.get(f"{api}{path}", timeout=10, headers={"Accept": "application/xml"})
        assert answer.status_code == 403, f"GET {path} without a key: {answer.status_code}"
    written = requests.put(f"{api}/mlflow/rights-test", data=b"x", timeout=10)
    assert written.status_code == 403, f"PUT without a key: {written.status_code}"


# -- the containers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["postgres", "minio", "server", "gateway"])
def test_no_container_runs_as_root(used_stack: Stack, role: str) -> None:
    uid = execute(used_stack.container(role), ["id", "-u"]).strip()
    assert uid != "0", f"{role} runs as root"


@pytest.mark.parametrize("role", ["server", "gateway"])
def test_a_container_holds_no_credential_that_is_not_its_own(
    used_stack: Stack, credentials: dict[str, str], role: str
) -> None:
    allowed = {
        "server": {"postgresRuntimePassword", "bucketUserSecret", "kekPassphrase", "webhookKey"},
        "gateway": set[str](),
    }[role]
    files = execute(used_stack.container(role), ["sh", "-c", "cat /run/mlflow-stack/*"])
    held = {key for key, value in credentials.items() if not key.endswith("User") and value in files}
    assert held == allowed, f"{role} holds {sorted(held)}, it needs {sorted(allowed)}"
