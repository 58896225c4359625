"""All that a stack holds, asked of its servers past MLflow: the rows of each table, and the objects of the bucket."""

from __future__ import annotations

from typing import Any

import boto3
import psycopg
from botocore.config import Config
from psycopg.sql import SQL, Identifier

from tests.stack.harness import Stack


def connect(stack: Stack, role: str = "Admin") -> psycopg.Connection[Any]:
    """A connection to the backend store, as the superuser unless said otherwise; each statement is a transaction."""
    credentials: dict[str, str] = stack.look_anew().outputs["credentials"]
    return psycopg.connect(
        host="127.0.0.1",
        port=int(stack.settings["postgresPort"]),
        dbname=stack.settings.get("databaseName", "mlflow"),
        user=credentials[f"postgres{role}User"],
        password=credentials[f"postgres{role}Password"],
        sslmode="disable",
        autocommit=True,
    )


def s3(stack: Stack) -> Any:
    """A client of the artifact store, as root."""
    credentials: dict[str, str] = stack.look_anew().outputs["credentials"]
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.settings['minioApiPort']}",
        aws_access_key_id=credentials["minioRootUser"],
        aws_secret_access_key=credentials["minioRootPassword"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def rows(stack: Stack) -> dict[str, int]:
    """How many rows each table has."""
    with connect(stack) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        counts = [
            connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(name))).fetchone() for (name,) in tables
        ]
    return {str(name): int(count[0]) for (name,), count in zip(tables, counts, strict=True) if count is not None}


def objects(stack: Stack) -> dict[str, int]:
    """Name and size in bytes of each object."""
    pages = s3(stack).get_paginator("list_objects_v2").paginate(Bucket=stack.settings.get("bucketName", "mlflow"))
    return {entry["Key"]: int(entry["Size"]) for page in pages for entry in page.get("Contents", [])}
