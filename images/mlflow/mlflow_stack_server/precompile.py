"""Compile to bytecode what a start needs; run twice while the image is built.

The user that serves can not write beside the sources, so what is not compiled here is compiled again at every start.
Compiling everything would make the image a tenth larger for libraries that a tracking server hardly ever loads
(scikit-learn, SciPy, …): they still work, and are compiled when they are loaded. All of MLflow is compiled, and every
folder that a start takes a module from: also those of Python's own library, which the official Python images ship
without bytecode.
"""

from __future__ import annotations

import compileall
import importlib
import os
import sys
import sysconfig
import warnings
from pathlib import Path
from py_compile import PycInvalidationMode

STARTED = (
    "alembic.command",
    "anyio._backends._asyncio",
    "boto3",
    "docker",
    "gunicorn.app.base",
    "gunicorn.arbiter",
    "httptools",
    "huey.bin.huey_consumer",
    "mlflow.cli",
    "mlflow.db",
    "mlflow.server",
    "mlflow.server.fastapi_app",
    "mlflow.server.jobs.utils",
    "mlflow.store.artifact.s3_artifact_repo",
    "mlflow_stack_server.serve",
    "psycopg2.extensions",
    "uvicorn_worker",
    "uvloop",
)
"""What the modes of the launcher and the job runner import, directly or when first asked."""


def main(part: str) -> int:
    """Compile the folders of one part: `libraries` or `python` (its standard library)."""
    warnings.simplefilter("ignore")
    os.environ["_MLFLOW_SERVER_FILE_STORE"] = "postgresql+psycopg2://"
    for name in STARTED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            # Other versions of MLflow lack some of these; the test of the image says whether it works.
            sys.stdout.write(f"precompile: without {name}: {error}\n")
    _load_s3_client()
    libraries = Path(sysconfig.get_paths()["purelib"])
    standard = Path(sysconfig.get_paths()["stdlib"])
    root = libraries if part == "libraries" else standard
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    folders = {Path(file).parent for file in files if file is not None and file.endswith(".py")}
    if part == "libraries":
        mlflow = libraries / "mlflow"
        folders |= {mlflow, *(path for path in mlflow.rglob("*") if path.is_dir() and path.name != "__pycache__")}
        folders.add(libraries / "mlflow_stack_server")
    done = True
    for folder in sorted(folders):
        if folder.is_relative_to(root) and "__pycache__" not in folder.parts:
            done &= compileall.compile_dir(
                folder, maxlevels=0, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
            )
    return 0 if done else 1


def _load_s3_client() -> None:
    import boto3  # noqa: PLC0415

    boto3.client("s3", region_name="us-east-1")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
