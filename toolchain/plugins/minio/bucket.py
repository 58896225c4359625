"""Buckets, after terraform-provider-minio's resource_minio_s3_bucket.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.minio.client import code, fatal
from toolchain.plugins.minio.names import unique
from toolchain.plugins.resource import Partial, Resource
from toolchain.plugins.schema import Fields, boolean, integer, output, string
from toolchain.plugins.wire import Properties, Value, known

if TYPE_CHECKING:
    from toolchain.plugins.minio.client import Client


def _acl(value: Value) -> str | None:
    reason = f"the MinIO plugin made from packages has the ACL 'private' only, got {value}"
    return None if value == "private" else reason


def _length(value: Value) -> str | None:
    limit = 63
    return None if len(value) <= limit else f"expected length of bucket to be in the range (0 - {limit}), got {value}"


class S3Bucket(Resource):
    """A bucket."""

    fields: ClassVar[Fields] = {
        "bucket": string(computed=True, force_new=True, conflicts=("bucketPrefix",), check=_length),
        "bucketPrefix": string(force_new=True, conflicts=("bucket",)),
        "forceDestroy": boolean(default=False),
        "acl": string(default="private", check=_acl),
        "quota": integer(),
        "objectLocking": boolean(default=False),
        "arn": output(),
        "bucketDomainName": output(),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Create the bucket; one that exists is an error."""
        prefix = planned["bucketPrefix"]
        bucket: str = known(planned["bucket"]) or (unique(prefix) if prefix else unique())
        s3 = self._client.s3
        try:
            exists = s3.bucket_exists(bucket)
        except Exception as error:
            what = "unable to create bucket" if isinstance(error, ValueError) else "unable to check bucket"
            raise fatal(what, bucket, error) from error
        if exists:
            raise fatal("bucket already exists!", bucket, "<nil>")
        try:
            s3.make_bucket(bucket, location=self._client.region, object_lock=bool(planned["objectLocking"]))
        except Exception as error:
            raise fatal("unable to create bucket", bucket, error) from error
        found = {**self._seen(bucket), "bucket": bucket}
        if planned["quota"]:
            try:
                self._set_quota(bucket, planned["quota"])
            except RuntimeError as error:
                raise Partial(bucket, str(error), {"bucket": bucket}) from error
        return bucket, found

    def _set_quota(self, bucket: str, quota: int) -> None:
        try:
            with self._client.configuring:
                self._client.admin.bucket_quota_set(bucket, quota)
        except Exception as error:
            raise fatal("unable to set bucket quota", bucket, error) from error

    def _seen(self, bucket: str) -> Properties:
        return {"arn": f"arn:aws:s3:::{bucket}", "bucketDomainName": f"{self._client.url}/minio/{bucket}"}

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:
        """See whether the bucket is there.

        As by the vendor's, a server that does not answer is taken for a missing bucket.
        """
        try:
            if not self._client.s3.bucket_exists(resource_id):
                return None
        except Exception:  # noqa: BLE001 (parity, see above)
            return None
        found = self._seen(resource_id)
        return resource_id, found if state.get("bucket") else {**found, "bucket": resource_id}

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Change the quota."""
        if (old.get("quota") or 0) != (planned["quota"] or 0):
            if not planned["quota"]:
                raise fatal("invalid quota", "0", "quota must be larger than 0")
            self._set_quota(resource_id, planned["quota"])
        return resource_id, self._seen(resource_id)

    def delete(self, resource_id: str, state: Properties) -> None:
        """Remove the bucket; objects go only with forceDestroy."""
        s3 = self._client.s3
        try:
            s3.remove_bucket(resource_id)
        except Exception as error:
            if code(error) == "NoSuchBucket":
                return
            if code(error) != "BucketNotEmpty" or not state.get("forceDestroy"):
                raise fatal("unable to remove bucket", resource_id, error) from error
            self._empty(resource_id)
            try:
                s3.remove_bucket(resource_id)
            except Exception as again:
                raise fatal("unable to remove bucket", resource_id, again) from again

    def _empty(self, bucket: str) -> None:
        from minio.deleteobjects import DeleteObject  # noqa: PLC0415

        s3 = self._client.s3
        objects = (
            DeleteObject(str(each.object_name), each.version_id)
            for each in s3.list_objects(bucket, recursive=True, include_version=True)
        )
        failed = list(s3.remove_objects(bucket, objects))
        if failed:
            raise fatal("unable to remove bucket", bucket, "could not delete objects")

    def imported(self, resource_id: str) -> tuple[str, Properties]:
        """Import by name."""
        return resource_id, {"acl": "private", "objectLocking": False}
