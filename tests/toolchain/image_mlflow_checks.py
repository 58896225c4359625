"""Run inside the MLflow image, by its own Python: what can only be asked there. Prints one JSON object."""

# pyright: reportMissingImports=false
# The launcher is a package of the image, which this runs in.

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.metadata
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def libraries() -> dict[str, Any]:
    """Import every top-level module of every installed distribution."""
    names: set[str] = set()
    for distribution in importlib.metadata.distributions():
        listed = set((distribution.read_text("top_level.txt") or "").split())
        for file in distribution.files or []:
            if len(file.parts) > 1 and file.parts[1] == "__init__.py":
                listed.add(file.parts[0])
            elif len(file.parts) == 1 and file.suffix == ".py":
                listed.add(file.stem)
        names |= listed
    failed: dict[str, str] = {}
    for name in sorted(names):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failed[name] = repr(error)
    return {"imported": len(names) - len(failed), "failed": failed}


def commands() -> dict[str, Any]:
    """Ask every command of `mlflow` and every one below it for its help."""
    import click
    from click.testing import CliRunner
    from mlflow.cli import cli

    failed: dict[str, str] = {}
    asked = 0

    def walk(command: Any, path: list[str]) -> None:
        nonlocal asked
        result = CliRunner().invoke(cli, [*path, "--help"])
        asked += 1
        if result.exit_code != 0:
            failed[" ".join(path)] = result.output[-300:] + repr(result.exception)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                walk(command.get_command(context, name), [*path, name])

    walk(cli, [])
    return {"asked": asked, "failed": failed}


def compiled() -> dict[str, Any]:
    """Name what a start imports and would have to compile."""
    from mlflow_stack_server import precompile

    for name in precompile.STARTED:
        importlib.import_module(name)
    missing = [
        module.__name__
        for module in list(sys.modules.values())
        if (cached := getattr(module, "__cached__", None)) is not None and not Path(cached).exists()
    ]
    return {"missing": missing}


def contract() -> dict[str, Any]:
    """Hold what the launcher repeats of MLflow to MLflow itself."""
    import inspect

    import mlflow.server
    from mlflow.server.security_utils import get_default_allowed_hosts
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
    from mlflow_stack_server import serve, settings
    from mlflow_stack_server.front_door import FrontDoorS3ArtifactRepository, origin_of, request_origin

    ours = serve.mlflow_environment(settings.read({"MLFLOW_STACK_BUCKET": "bucket", "MLFLOW_STACK_JOB_RUNNER": "true"}))
    theirs: dict[str, str] = {}

    # It asks the database whether it has trace rollups: here one that needs no server, ours put in its place below.
    database = "sqlite:////tmp/contract.db"

    class Enough(Exception):  # noqa: N818 - not an error
        pass

    def capture(*_: object, extra_env: dict[str, str], **__: object) -> None:
        theirs.update({name: value.replace(database, settings.DATABASE_URI) for name, value in extra_env.items()})
        raise Enough

    server: Any = mlflow.server
    server._exec_cmd = capture
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "true"
    with contextlib.suppress(Enough):
        server._run_server(
            file_store_path=database,
            registry_store_uri=database,
            default_artifact_root="mlflow-artifacts:/",
            serve_artifacts=True,
            artifacts_only=False,
            artifacts_destination="s3://bucket/",
            host="0.0.0.0",
            port=5000,
        )
    random = {"_MLFLOW_SERVER_BOOT_ID", "_MLFLOW_HUEY_STORAGE_PATH"}
    os.environ.update(
        AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", MLFLOW_S3_ENDPOINT_URL="http://inside:9000", **ours
    )
    repository: Any = get_artifact_repository("s3://bucket/run")
    request_origin.set(origin_of("Front.Example:5001", "https", "http"))
    outside = repository.create_presigned_upload_url("a b#%.txt").presigned_url
    request_origin.set(None)
    inside = repository.create_presigned_upload_url("a b#%.txt").presigned_url
    signing = {"create_multipart_upload", "create_presigned_upload_url", "get_download_presigned_url"}
    sources = Path(mlflow.server.__file__).parent.rglob("*.py")
    fetches = {
        f"{source.stem}.{function.name}"
        for source in sources
        for function in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and "download_artifacts" in ast.unparse(function)
    }
    return {
        "fetches": sorted(fetches),
        "environment": {name: (ours.get(name), value) for name, value in theirs.items() if name not in random},
        "random": sorted(random - set(theirs)),
        "allowed_hosts": [list(serve.DEFAULT_ALLOWED_HOSTS), get_default_allowed_hosts()],
        "class": type(repository) is FrontDoorS3ArtifactRepository,
        "outside": outside,
        "inside": inside,
        "without_our_client": [
            name
            for name in sorted(signing)
            if "self._get_s3_client()" not in inspect.getsource(getattr(S3ArtifactRepository, name))
        ],
        "other_signers": sorted(
            name
            for name, method in vars(S3ArtifactRepository).items()
            if inspect.isfunction(method)
            and "generate_presigned_url" in inspect.getsource(method)
            and name not in signing
        ),
        "hosts": [origin_of(host, "", "http") for host in ("a/b", "a@b", "a b", "", "x:80", "[::1]:5001", "a:b")],
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(
        json.dumps(
            {"libraries": libraries, "commands": commands, "compiled": compiled, "contract": contract}[sys.argv[1]]()
        )
    )
