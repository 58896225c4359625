"""The MinIO plugin made from packages, on a real server of the stack's own kind."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import minio
import pytest
from minio.error import S3Error

from tests.toolchain.plugin_process import Made, Plugin, PluginError, started
from tests.toolchain.servers import Server

ATTACHMENT = "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment"
BUCKET = "minio:index/s3Bucket:S3Bucket"
ILM = "minio:index/ilmPolicy:IlmPolicy"
POLICY = "minio:index/iamPolicy:IamPolicy"
USER = "minio:index/iamUser:IamUser"
VERSIONING = "minio:index/s3BucketVersioning:S3BucketVersioning"


@pytest.fixture(scope="module")
def plugin(minio_server: Server) -> Iterator[Plugin]:
    """The plugin, configured."""
    with started("minio") as running:
        running.configure(
            minioServer=f"{minio_server.host}:{minio_server.port}",
            minioUser=minio_server.user,
            minioPassword=minio_server.password,
            minioSsl="false",
        )
        yield running


@pytest.fixture
def client(minio_server: Server) -> Callable[..., minio.Minio]:
    """Connects as a user, as root without one."""

    def connected(user: str = "", secret: str = "") -> minio.Minio:
        return minio.Minio(
            f"{minio_server.host}:{minio_server.port}",
            access_key=user or minio_server.user,
            secret_key=secret or minio_server.password,
            secure=False,
            region="us-east-1",  # asking for it is a right of its own
        )

    return connected


@pytest.fixture
def name() -> str:
    """A name that nothing else has."""
    return f"plugintest-{secrets.token_hex(4)}"


@contextmanager
def made(plugin: Plugin, token: str, **inputs: Any) -> Generator[Made]:
    """A resource for a block; gone after it."""
    resource = plugin.create(token, inputs)
    try:
        yield resource
    finally:
        plugin.delete(resource)


def _unchanged(plugin: Plugin, resource: Made, inputs: dict[str, Any]) -> None:
    assert plugin.diff(resource, inputs) == {}
    again = plugin.read(resource)
    assert again is not None
    assert again.id == resource.id
    assert plugin.diff(again, inputs) == {}


def _document(bucket: str, *actions: str) -> str:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": resources}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)


def _put(client: minio.Minio, bucket: str, key: str = "key") -> None:
    client.put_object(bucket, key, io.BytesIO(b"data"), 4)


def test_a_bucket_user_sees_its_bucket_and_no_other(
    plugin: Plugin, client: Callable[..., minio.Minio], name: str
) -> None:
    with (
        made(plugin, BUCKET, bucket=name, forceDestroy=True) as bucket,
        made(plugin, BUCKET, bucket=f"{name}-other"),
        made(plugin, USER, name=name, secret="user-secret") as user,
        made(plugin, POLICY, name=name, policy=_document(name, "s3:GetObject", "s3:PutObject")) as policy,
        made(plugin, ATTACHMENT, userName=name, policyName=name) as attachment,
    ):
        mine = client(name, "user-secret")
        _put(mine, name)
        assert mine.get_object(name, "key").read() == b"data"
        with pytest.raises(S3Error, match="Access Denied"):
            _put(mine, f"{name}-other")
        with pytest.raises(S3Error, match="Access Denied"):
            mine.remove_object(name, "key")
        assert (bucket.id, user.id, policy.id) == (name, name, name)
        assert attachment.id.startswith(f"{name}-2")
        assert bucket.outputs["arn"] == f"arn:aws:s3:::{name}"
        assert user.outputs["status"] == "enabled"
        assert user.secrets == {"secret"}
        for each in (bucket, user, policy, attachment):
            _unchanged(plugin, each, each.inputs)


def test_a_bucket_that_exists_is_an_error_and_it_can_be_imported(
    plugin: Plugin, client: Callable[..., minio.Minio], name: str
) -> None:
    client().make_bucket(name)
    with pytest.raises(PluginError, match="bucket already exists!"):
        plugin.create(BUCKET, {"bucket": name})
    found = plugin.find(BUCKET, name)
    assert found is not None
    assert found.inputs["bucket"] == name
    plugin.delete(found)
    assert not client().bucket_exists(name)
    assert plugin.read(found) is None


def test_a_bucket_with_objects_goes_only_by_force_and_then_with_all_versions(
    plugin: Plugin, client: Callable[..., minio.Minio], name: str
) -> None:
    bucket = plugin.create(BUCKET, {"bucket": name})
    with made(plugin, VERSIONING, bucket=name, versioningConfiguration={"status": "Enabled"}):
        for _ in range(3):
            _put(client(), name)
        client().remove_object(name, "key")
        with pytest.raises(PluginError, match="unable to remove bucket"):
            plugin.delete(bucket)
        assert client().bucket_exists(name)
    forced = plugin.update(bucket, {"bucket": name, "forceDestroy": True})
    plugin.delete(forced)
    assert not client().bucket_exists(name)


def test_a_new_secret_counts_and_the_old_one_does_not(
    plugin: Plugin, client: Callable[..., minio.Minio], name: str
) -> None:
    inputs = {"name": name, "secret": "old-secret"}
    with (
        made(plugin, BUCKET, bucket=name, forceDestroy=True),
        made(plugin, USER, **inputs) as user,
        made(plugin, POLICY, name=name, policy=_document(name, "s3:PutObject")),
        made(plugin, ATTACHMENT, userName=name, policyName=name),
    ):
        changed = {**inputs, "secret": "new-secret"}
        assert plugin.diff(user, changed) == {"secret": "UPDATE"}
        updated = plugin.update(user, changed)
        assert plugin.diff(updated, changed) == {}
        _put(client(name, "new-secret"), name)
        with pytest.raises(S3Error):
            _put(client(name, "old-secret"), name)
        disabled = plugin.update(updated, {**changed, "disableUser": True})
        assert disabled.outputs["status"] == "disabled"
        with pytest.raises(S3Error):
            _put(client(name, "new-secret"), name)
        plugin.update(disabled, changed)  # the server does not take a policy from a disabled user


def test_a_user_without_a_secret_gets_one_and_a_forced_one_is_not_deleted_by_an_update(
    plugin: Plugin, name: str
) -> None:
    with made(plugin, USER, name=name) as user:
        assert len(user.outputs["secret"]) > 30
        with pytest.raises(PluginError, match="forceDestroy would delete the user"):
            plugin.update(user, {"name": name, "forceDestroy": True})
        assert plugin.read(user) is not None


def test_a_policy_in_other_words_is_no_change_and_another_one_is(plugin: Plugin, name: str) -> None:
    document = _document(name, "s3:GetObject", "s3:PutObject")
    with made(plugin, POLICY, name=name, policy=document) as policy:
        parsed = json.loads(document)
        parsed["Statement"][0]["Action"].reverse()
        parsed["Statement"][0]["Resource"].reverse()
        assert plugin.diff(policy, {"name": name, "policy": json.dumps(parsed, indent=1)}) == {}
        other = {"name": name, "policy": _document(name, "s3:GetObject")}
        assert plugin.diff(policy, other) == {"policy": "UPDATE"}
        updated = plugin.update(policy, other)
        assert plugin.diff(updated, other) == {}
    _, refused = plugin.checked(POLICY, {"name": name, "policy": "{no json"})
    assert "invalid JSON" in refused[0]


def test_policies_attached_at_once_are_all_there_and_go_one_by_one(
    plugin: Plugin, minio_server: Server, name: str
) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    with made(plugin, USER, name=name):
        policies = [plugin.create(POLICY, {"name": each, "policy": _document(each, "s3:GetObject")}) for each in names]
        with ThreadPoolExecutor(5) as pool:
            attached = list(
                pool.map(lambda each: plugin.create(ATTACHMENT, {"userName": name, "policyName": each}), names)
            )
        plugin.delete(attached[0])
        assert plugin.read(attached[0]) is None
        assert all(plugin.read(each) is not None for each in attached[1:])
        for each in (*attached[1:], *policies):
            plugin.delete(each)
    with pytest.raises(PluginError, match="failed to load user Infos"):
        plugin.create(ATTACHMENT, {"userName": name, "policyName": "readonly"})


def test_versioning_and_lifecycle_set_at_once_are_both_there(
    plugin: Plugin, client: Callable[..., minio.Minio], name: str
) -> None:
    """The server loses one of two concurrent changes of a bucket's configuration."""
    versioning = {"bucket": name, "versioningConfiguration": {"status": "Enabled"}}
    rules = [
        {"id": "short", "expiration": "7d", "filter": "tmp/"},
        {"id": "old", "noncurrentVersionExpirationDays": 3},
        {"id": "marked", "expiration": "DeleteMarker"},
        {"id": "dated", "expiration": "2099-01-01", "tags": {"a": "b"}},
    ]
    lifecycle = {"bucket": name, "rules": rules}
    with made(plugin, BUCKET, bucket=name), ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(plugin.create, VERSIONING, versioning), pool.submit(plugin.create, ILM, lifecycle)]
        one, two = (each.result() for each in futures)
        assert client().get_bucket_versioning(name).status == "Enabled"
        config = client().get_bucket_lifecycle(name)
        assert config is not None
        assert [rule.rule_id for rule in config.rules] == [rule["id"] for rule in rules]
        _unchanged(plugin, one, versioning)
        _unchanged(plugin, two, lifecycle)
        fewer = {"bucket": name, "rules": rules[:1]}
        updated = plugin.update(two, fewer)
        assert plugin.diff(updated, fewer) == {}
        plugin.delete(updated)
        assert plugin.read(updated) is None
        plugin.delete(one)
        assert client().get_bucket_versioning(name).status == "Suspended"


def test_what_was_removed_by_hand_is_gone(plugin: Plugin, client: Callable[..., minio.Minio], name: str) -> None:
    bucket = plugin.create(BUCKET, {"bucket": name})
    user = plugin.create(USER, {"name": name, "secret": "user-secret"})
    client().remove_bucket(name)
    plugin.delete(user)
    assert plugin.read(bucket) is None
    assert plugin.read(user) is None
    plugin.delete(bucket)


def test_a_name_that_cannot_be_one_and_an_acl_that_is_not_there_are_refused(plugin: Plugin) -> None:
    _, refused = plugin.checked(USER, {"name": "a b"})
    assert "alphanumeric" in refused[0]
    _, refused = plugin.checked(BUCKET, {"bucket": "x", "acl": "public"})
    assert "'private' only" in refused[0]
    _, refused = plugin.checked(BUCKET, {"bucket": "x", "bucketPrefix": "y"})
    assert "Conflicting" in refused[0]


def test_no_error_has_a_secret_in_it(minio_server: Server, name: str) -> None:
    with started("minio") as plugin:
        plugin.configure(
            minioServer=f"{minio_server.host}:{minio_server.port}",
            minioUser=minio_server.user,
            minioPassword="hunter2-wrong",
        )
        with pytest.raises(PluginError, match=f"error creating user \\({name}\\)") as failed:
            plugin.create(USER, {"name": name, "secret": "user-secret"})
        with pytest.raises(PluginError, match=r"unable to check bucket|unable to create bucket") as other:
            plugin.create(BUCKET, {"bucket": name})
    for text in (failed.value.text, other.value.text):
        assert "hunter2-wrong" not in text
        assert "user-secret" not in text
