"""Bucket versioning, after terraform-provider-minio's resource_minio_s3_bucket_versioning.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from toolchain.plugins.minio.client import code, fatal
from toolchain.plugins.resource import Resource
from toolchain.plugins.schema import Fields, boolean, objects, string, strings

if TYPE_CHECKING:
    from toolchain.plugins.minio.client import Client
    from toolchain.plugins.wire import Properties, Value


def _status(value: Value) -> str | None:
    return (
        None
        if value in ("Enabled", "Suspended")
        else f'expected versioning_configuration.0.status to be one of ["Enabled" "Suspended"], got {value}'
    )


class S3BucketVersioning(Resource):
    """A bucket's versioning."""

    fields: ClassVar[Fields] = {
        "bucket": string(required=True, force_new=True),
        "versioningConfiguration": objects(
            {
                "status": string(required=True, check=_status),
                "excludedPrefixes": strings("list"),
                "excludeFolders": boolean(),
            },
            "list",
            max_one=True,
            required=True,
        ),
    }

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, planned: Properties) -> tuple[str, Properties]:
        """Set the versioning."""
        s3 = self._client.s3  # imports the package, by one thread at a time
        from minio.versioningconfig import VersioningConfig  # noqa: PLC0415

        bucket: str = planned["bucket"]
        wanted = planned["versioningConfiguration"]
        try:
            config = VersioningConfig(
                wanted["status"],
                excluded_prefixes=wanted.get("excludedPrefixes") or None,
                exclude_folders=bool(wanted.get("excludeFolders")),
            )
            with self._client.configuring:
                s3.set_bucket_versioning(bucket, config)
        except Exception as error:
            raise fatal("error putting bucket versioning configuration: %v", bucket, error) from error
        return bucket, {}

    def read(self, resource_id: str, state: Properties) -> tuple[str, Properties] | None:  # noqa: ARG002
        """Read the versioning."""
        try:
            found = self._client.s3.get_bucket_versioning(resource_id)
        except Exception as error:
            raise fatal("failed to load bucket versioning", resource_id, error) from error
        return resource_id, {
            "bucket": resource_id,
            "versioningConfiguration": {
                "status": found.status,
                "excludedPrefixes": found.excluded_prefixes or [],
                "excludeFolders": found.exclude_folders,
            },
        }

    def update(self, resource_id: str, old: Properties, planned: Properties) -> tuple[str, Properties]:
        """Set the versioning again."""
        del resource_id, old
        return self.create(planned)

    def delete(self, resource_id: str, state: Properties) -> None:
        """Suspend the versioning: it cannot be taken away."""
        s3 = self._client.s3
        from minio.versioningconfig import SUSPENDED, VersioningConfig  # noqa: PLC0415

        if (state.get("versioningConfiguration") or {}).get("status") == SUSPENDED:
            return
        try:
            with self._client.configuring:
                s3.set_bucket_versioning(state["bucket"], VersioningConfig(SUSPENDED))
        except Exception as error:
            if code(error) == "NoSuchBucket":
                return
            raise fatal("error suspending bucket versioning: %s", resource_id, error) from error
