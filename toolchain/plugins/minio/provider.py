"""Settings and resources of the MinIO provider, after the vendor's 0.17.1 (terraform-provider-minio 1.20.1)."""

from __future__ import annotations

from toolchain.plugins.minio.attachment import IamUserPolicyAttachment
from toolchain.plugins.minio.bucket import S3Bucket
from toolchain.plugins.minio.client import Client
from toolchain.plugins.minio.lifecycle import IlmPolicy
from toolchain.plugins.minio.policy import IamPolicy
from toolchain.plugins.minio.user import IamUser
from toolchain.plugins.minio.versioning import S3BucketVersioning
from toolchain.plugins.resource import Provider
from toolchain.plugins.schema import boolean, string


def make() -> Provider:
    """Return the provider."""
    client = Client()
    return Provider(
        name="minio",
        version="0.17.1",
        settings={
            "minioServer": string(required=True),
            "minioRegion": string(),
            "minioUser": string(),
            "minioPassword": string(),
            "minioSessionToken": string(),
            "minioSsl": boolean(),
            "minioInsecure": boolean(),
            "minioCacertFile": string(),
        },
        configure=client.configure,
        resources={
            "minio:index/s3Bucket:S3Bucket": S3Bucket(client),
            "minio:index/iamUser:IamUser": IamUser(client),
            "minio:index/iamPolicy:IamPolicy": IamPolicy(client),
            "minio:index/iamUserPolicyAttachment:IamUserPolicyAttachment": IamUserPolicyAttachment(client),
            "minio:index/s3BucketVersioning:S3BucketVersioning": S3BucketVersioning(client),
            "minio:index/ilmPolicy:IlmPolicy": IlmPolicy(client),
        },
    )
