"""A client of whatever version of MLflow is installed: `write` logs of everything a little, `read` tells all there is.

    MLFLOW_TRACKING_URI=http://… python old_client.py write NAME
    MLFLOW_TRACKING_URI=http://… python old_client.py read

`read` prints a JSON object on its last line. It says the same of the same data from MLflow 2.0 to 3.17: what later
versions add to what is there is left out.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import pyfunc
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.tracking import MlflowClient

_PAGE = 500
_MAJOR = int(mlflow.__version__.partition(".")[0])


class Adder(pyfunc.PythonModel):  # pyright: ignore[reportPrivateImportUsage] - the name that its docs give
    """A model that can be asked."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Add one."""
        del context, params
        return [value + 1 for value in model_input]


def write(name: str) -> None:
    """Log runs with everything in them, one that is deleted, and a registered model."""
    client = MlflowClient()
    experiment = mlflow.set_experiment(name).experiment_id
    client.set_experiment_tag(experiment, "kind", "made by an old client")
    model: Any = None
    with mlflow.start_run(run_name="parent") as parent:
        mlflow.log_params({"rate": 0.1, "text": "ä 'quoted' \"text\""})
        mlflow.set_tag("note", "line one\nline two")
        for step in range(20):
            mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
        mlflow.log_text("some text", "folder/text.txt")
        mlflow.log_dict({"key": [1, 2]}, "dict.json")
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_metric("accuracy", 0.5)
        where: dict[str, Any] = {"name": "model"} if _MAJOR >= 3 else {"artifact_path": "model"}
        # Given, so that the client does not spend its time on inferring them.
        model = pyfunc.log_model(python_model=Adder(), pip_requirements=["mlflow"], **where)
    for number in range(30):
        run = client.create_run(experiment, tags={"number": str(number)})
        metrics = [Metric("m", float(step), 1700000000000 + step, step) for step in range(10)]
        client.log_batch(run.info.run_id, metrics, [Param("p", str(number))], [RunTag("t", "v")])
        client.set_terminated(run.info.run_id)
    gone = client.create_run(experiment)
    client.delete_run(gone.info.run_id)
    client.create_registered_model(name, tags={"team": "old"}, description="a model")
    client.create_model_version(name, model.model_uri, parent.info.run_id, tags={"v": "1"})
    if hasattr(client, "set_registered_model_alias"):  # from 2.3 on
        client.set_registered_model_alias(name, "best", "1")


def read() -> dict[str, Any]:
    """Everything that the server has."""
    client = MlflowClient()
    experiments = client.search_experiments(view_type=ViewType.ALL, max_results=_PAGE)
    return {
        "experiments": {
            each.experiment_id: [each.name, each.lifecycle_stage, each.artifact_location, each.tags]
            for each in experiments
        },
        "runs": {
            run.info.run_id: _run(client, run)
            for run in client.search_runs(
                [each.experiment_id for each in experiments], run_view_type=ViewType.ALL, max_results=_PAGE
            )
        },
        "models": {model.name: _model(client, model) for model in client.search_registered_models()},
    }


def _run(client: MlflowClient, run: Any) -> dict[str, Any]:
    info, data = run.info, run.data
    history = {
        key: sorted((m.step, m.timestamp, m.value) for m in client.get_metric_history(info.run_id, key))
        for key in data.metrics
    }
    artifacts = _artifacts(client, info.run_id) if info.lifecycle_stage == "active" else {}
    return {
        "info": [info.experiment_id, info.status, info.lifecycle_stage, info.start_time, info.end_time],
        "params": data.params,
        "metrics": history,
        "tags": {key: value for key, value in data.tags.items() if key != "mlflow.log-model.history"},
        "artifacts": artifacts,
    }


def _artifacts(client: MlflowClient, run: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        if not client.list_artifacts(run):
            return {}
        root = Path(client.download_artifacts(run, "", folder))
        files = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _model(client: MlflowClient, model: Any) -> dict[str, Any]:
    version = client.get_model_version(model.name, "1")
    loaded = pyfunc.load_model(f"models:/{model.name}/1")
    return {
        "tags": model.tags,
        "description": model.description,
        "version": [str(version.version), version.run_id, version.tags],
        "aliases": getattr(model, "aliases", {}),
        "predicts": [int(value) for value in loaded.predict([1, 2])],
    }


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        print("\n" + json.dumps(read(), sort_keys=True))
