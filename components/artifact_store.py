"""The artifact store inside a MinIO server: the bucket, its user, and a user that may look at it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_minio as minio

from components.naming import BUCKET_USER, CONSOLE_USER, MINIO_ROOT


@dataclass(frozen=True, slots=True)
class ArtifactStoreArgs:
    """What the artifact store needs.

    Attributes:
        endpoint: `host:port` at which the provider reaches the server.
        bucket_name: Bucket of the artifacts.
        root_password: Password of the server's root user, for the provider.
        bucket_user_secret: Secret of the user that the tracking server uses.
        console_user_password: Password of the user that looks at the bucket in the console.
        server: The running server.
        data: The volume that everything here lives in: deleted with it, so that a `destroy` needs no server.
        version_days: Days that old versions of objects are kept; None keeps none.
        protect: Refuse to delete what holds data.
    """

    endpoint: str
    bucket_name: str
    root_password: pulumi.Output[str]
    bucket_user_secret: pulumi.Output[str]
    console_user_password: pulumi.Output[str]
    server: pulumi.Resource
    data: pulumi.Resource
    version_days: int | None = None
    protect: bool = False


def policy_document(bucket: str, *, bucket_actions: Sequence[str], object_actions: Sequence[str]) -> str:
    """An S3 policy for one bucket and the objects in it.

    The JSON is sorted, as MinIO hands it back, so that a refresh finds no difference.
    """
    statements = [
        {"Action": sorted(bucket_actions), "Effect": "Allow", "Resource": [f"arn:aws:s3:::{bucket}"]},
        {"Action": sorted(object_actions), "Effect": "Allow", "Resource": [f"arn:aws:s3:::{bucket}/*"]},
    ]
    return json.dumps({"Statement": statements, "Version": "2012-10-17"}, sort_keys=True, separators=(",", ":"))


class ArtifactStore(pulumi.ComponentResource):
    """A bucket, a user that reads and writes in it, and a console user that only looks.

    Never set `force_destroy` on a user (any update would delete it) or use service accounts: the provider wraps
    a release that handles neither well.
    """

    def __init__(self, name: str, args: ArtifactStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:ArtifactStore", name, None, opts)
        self._provider = minio.Provider(
            "minio",
            minio_server=args.endpoint,
            minio_user=MINIO_ROOT,
            minio_password=args.root_password,
            minio_ssl=False,  # the connection stays on the loopback address
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._server, self._data = args.server, args.data
        self._bucket = minio.S3Bucket(
            "bucket", bucket=args.bucket_name, acl="private", opts=self._inside(protect=args.protect)
        )
        self._versioning = [] if args.version_days is None else self._versions(args.version_days)
        self._attachments = [
            self._user(
                "bucket-user",
                BUCKET_USER,
                args.bucket_user_secret,
                policy_document(
                    args.bucket_name,
                    bucket_actions=["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
                    object_actions=[
                        "s3:AbortMultipartUpload",
                        "s3:DeleteObject",
                        "s3:GetObject",
                        "s3:ListMultipartUploadParts",
                        "s3:PutObject",
                    ],
                ),
            ),
            self._user(
                "console-user",
                CONSOLE_USER,
                args.console_user_password,
                policy_document(
                    args.bucket_name,
                    bucket_actions=["s3:GetBucketLocation", "s3:ListBucket"],
                    object_actions=["s3:GetObject"],
                ),
            ),
        ]
        self.register_outputs({"bucketName": self._bucket.bucket})

    def _versions(self, days: int) -> list[pulumi.Resource]:
        """Keep old versions, and let them expire; a marker of a deletion goes when nothing is left behind it.

        Taken away, they suspend the versioning and stop the expiry: nothing is removed by that.
        """
        versioning = minio.S3BucketVersioning(
            "versioning",
            bucket=self._bucket.bucket,
            versioning_configuration=minio.S3BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=self._inside(),
        )
        # A bucket has one set of rules: further ones belong here.
        rules = minio.IlmPolicy(
            "rules",
            bucket=self._bucket.bucket,
            rules=[
                minio.IlmPolicyRuleArgs(
                    id="old-versions", expiration="DeleteMarker", noncurrent_version_expiration_days=days
                )
            ],
            # MinIO reads all settings of a bucket and writes them back: of two at once, one would be lost.
            opts=self._inside(after=[versioning]),
        )
        return [versioning, rules]

    def _user(
        self, name: str, user_name: str, secret: pulumi.Output[str], document: str
    ) -> minio.IamUserPolicyAttachment:
        user = minio.IamUser(name, name=user_name, secret=secret, opts=self._inside())
        policy = minio.IamPolicy(f"{name}-policy", name=user_name, policy=document, opts=self._inside())
        return minio.IamUserPolicyAttachment(
            f"{name}-attachment", user_name=user.name, policy_name=policy.name, opts=self._inside()
        )

    def _inside(self, *, protect: bool | None = None, after: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self,
            provider=self._provider,
            depends_on=[self._server, *after],
            deleted_with=self._data,
            protect=protect,
        )

    @property
    def bucket_name(self) -> pulumi.Output[str]:
        """Name of the bucket."""
        return self._bucket.bucket

    @property
    def ready(self) -> list[pulumi.Resource]:
        """What must be there before artifacts are stored."""
        return [self._bucket, *self._versioning, *self._attachments]
