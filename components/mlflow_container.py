"""What the containers of the MLflow image have in common: tracking server, migration job, garbage collector."""

from __future__ import annotations

import pulumi

from components.naming import ARTIFACT_STORE_ALIAS, BACKEND_STORE_ALIAS, BUCKET_USER, FILES_PATH
from components.postgres_server import PORT
from components.service import File, memory_folder

MLFLOW_UID = 10002
_SERVICE = "mlflow"

#: The home directory of the image's user: libraries leave small things there.
HOME_IN_MEMORY = {"/home/mlflow": memory_folder(16, uid=MLFLOW_UID, mode="0700")}


def database_environment(user: str, database_name: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """The variables by which libpq finds the backend store; the password is in the file that one of them names."""
    return {**plain_database_environment(user, ""), "PGDATABASE": database_name}


def plain_database_environment(user: str, database_name: str) -> dict[str, str]:
    """The same for a database whose name is known."""
    return {
        "PGHOST": BACKEND_STORE_ALIAS,
        "PGPORT": str(PORT),
        "PGUSER": user,
        "PGDATABASE": database_name,
        "PGSERVICE": _SERVICE,
        "PGSERVICEFILE": f"{FILES_PATH}/pg-service.conf",
    }


def service_file(password: pulumi.Output[str]) -> File:
    """A libpq connection service file with the password of the backend store.

    Not a password file: libpq refuses one that is not its reader's own (PostgreSQL manual, "The Password File"),
    and files are given to a container as root's.
    """
    return File(password.apply(lambda value: f"[{_SERVICE}]\npassword={value}\n"))


def store_environment(bucket_name: pulumi.Input[str], artifact_access: str) -> dict[str, pulumi.Input[str]]:
    """The variables by which the image finds the artifact store; the key is in the file that one of them names."""
    return {
        "AWS_SHARED_CREDENTIALS_FILE": f"{FILES_PATH}/aws-credentials",
        "MLFLOW_S3_ENDPOINT_URL": f"http://{ARTIFACT_STORE_ALIAS}:9000",
        "MLFLOW_STACK_ARTIFACT_ACCESS": artifact_access,
        "MLFLOW_STACK_BUCKET": bucket_name,
    }


def bucket_file(secret: pulumi.Output[str]) -> File:
    """A credentials file of S3 with the key of the bucket user."""
    return File(
        secret.apply(lambda value: f"[default]\naws_access_key_id = {BUCKET_USER}\naws_secret_access_key = {value}\n")
    )
