"""One resource of each of the stack's three providers: no stack's `up` can be faster."""

import json
from pathlib import Path

import pulumi
import pulumi_docker as docker
import pulumi_minio as minio
import pulumi_postgresql as postgresql

servers = json.loads(Path("servers.json").read_text(encoding="utf-8"))
policy = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::least"]}],
}
docker.Volume("least")
minio.IamPolicy(
    "least",
    policy=json.dumps(policy),
    opts=pulumi.ResourceOptions(provider=minio.Provider("minio", **servers["minio"])),
)
postgresql.Role(
    "least",
    name="least",
    opts=pulumi.ResourceOptions(provider=postgresql.Provider("postgres", **servers["postgresql"])),
)
