"""Rows removed for good, by the methods of MLflow's store that `mlflow gc` calls.

Each is asked again whether it is still deleted, right before: a user may have restored it since the plan was made.
Rows go before objects. What is cut off in between leaves objects of something that is not there, which the next sweep
finds; the other way round, something restored at the wrong moment would have lost its artifacts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlflow_stack_server.database import first_line
from mlflow_stack_server.garbage.plan import DELETED, has_models
from mlflow_stack_server.settings import DATABASE_URI

if TYPE_CHECKING:
    from mlflow_stack_server.garbage.plan import Plan

_TRACES_AT_ONCE: Final = 100


class Removal:
    """Removes what a plan names, and collects what did not work.

    Attributes:
        problems: A line for each thing that could not be removed.
    """

    def __init__(self, cursor: Any, plan: Plan, artifact_root: str) -> None:  # noqa: ANN401 - see `plan`
        """Open MLflow's store.

        Args:
            cursor: On the database.
            plan: What goes.
            artifact_root: That of the server.
        """
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415  (seconds of imports)

        # The methods without a public name are those of `mlflow gc`; a test holds them to what they do.
        self._store: Any = SqlAlchemyStore(DATABASE_URI, artifact_root)
        self._cursor, self._plan = cursor, plan
        self.problems: list[str] = []

    def contents(self) -> None:
        """Remove runs, models, and what is in the experiments; not the experiments, which say where objects are."""
        for run in self._plan.runs:
            if self._is_deleted("runs", "run_uuid", run, "deleted_time"):
                self._try(f"run {run}", self._store._hard_delete_run, run)  # noqa: SLF001
        deleted = [each for each in self._plan.experiments if self._is_deleted_experiment(each)]
        going = set(self._of_experiments("logged_models", "model_id", deleted)) if has_models(self._cursor) else set()
        for model in self._plan.models:
            if model in going or self._is_deleted("logged_models", "model_id", model, "last_updated_timestamp_ms"):
                self._try(f"model {model}", self._store._hard_delete_logged_model, model)  # noqa: SLF001
        for experiment in deleted:
            traces = self._of_experiments("trace_info", "request_id", [experiment])
            for begin in range(0, len(traces), _TRACES_AT_ONCE):
                some = traces[begin : begin + _TRACES_AT_ONCE]
                self._try(
                    f"traces of experiment {experiment}", self._store.delete_traces, str(experiment), None, None, some
                )

    def experiments(self) -> None:
        """Remove the experiments that are empty now."""
        for experiment in self._plan.experiments:
            if not self._is_deleted_experiment(experiment):
                continue
            left = sum(len(self._of_experiments(*table, [experiment])) for table in self._tables())
            if left:
                self.problems.append(f"experiment {experiment}: stays, since {left} runs, models or traces in it stay")
            else:
                self._try(f"experiment {experiment}", self._store._hard_delete_experiment, str(experiment))  # noqa: SLF001

    def left_behind(self, conditions: dict[str, str]) -> None:
        """Remove rows of what is gone that MLflow leaves."""
        for table, condition in conditions.items():
            self._cursor.execute(f"DELETE FROM {table} WHERE {condition}", self._plan.sets)  # noqa: S608 - see `rows`

    def _tables(self) -> list[tuple[str, str]]:
        models = [("logged_models", "model_id")] if has_models(self._cursor) else []
        return [("runs", "run_uuid"), *models, ("trace_info", "request_id")]

    def _is_deleted(self, table: str, key: str, identity: str, since: str) -> bool:
        query = f"SELECT 1 FROM {table} WHERE {key} = %s AND lifecycle_stage = %s AND {since} <= %s"  # noqa: S608
        self._cursor.execute(query, (identity, DELETED, self._plan.cutoff))
        return bool(self._cursor.fetchall())

    def _is_deleted_experiment(self, experiment: int) -> bool:
        query = "SELECT 1 FROM experiments WHERE experiment_id = %s AND lifecycle_stage = %s"
        self._cursor.execute(query, (experiment, DELETED))
        return bool(self._cursor.fetchall())

    def _of_experiments(self, table: str, key: str, experiments: list[int]) -> list[str]:
        self._cursor.execute(f"SELECT {key} FROM {table} WHERE experiment_id = ANY (%s)", (experiments,))  # noqa: S608
        return [str(identity) for (identity,) in self._cursor.fetchall()]

    def _try(self, what: str, remove: Any, *arguments: object) -> None:  # noqa: ANN401 - a method of MLflow's
        try:
            remove(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go all the same
            self.problems.append(f"{what}: could not be removed: {first_line(error)}")
