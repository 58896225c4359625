"""Which deleted things go, and which stay and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlflow_stack_server.garbage import references
from mlflow_stack_server.garbage.locations import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow_stack_server.garbage.references import References

DELETED = "deleted"
"""MLflow's word for the stage of life of what a user deleted."""


@dataclass
class Plan:
    """What goes.

    Attributes:
        cutoff: Milliseconds since the epoch; what was deleted later stays.
        bucket: Of the artifact store.
        runs: Ids of deleted runs.
        models: Ids of deleted models, and of all models in the experiments below.
        experiments: Ids of deleted experiments in which nothing stays.
        references: What keeps objects.
        kept: A line for each deleted thing, old enough, that stays.
    """

    cutoff: int
    bucket: str
    runs: list[str] = field(default_factory=list[str])
    models: list[str] = field(default_factory=list[str])
    experiments: list[int] = field(default_factory=list[int])
    references: References = field(default_factory=references.References)
    kept: list[str] = field(default_factory=list[str])

    @property
    def sets(self) -> dict[str, Any]:
        """The ids, as parameters of the queries in `rows`."""
        return {"runs": self.runs, "models": self.models, "experiments": self.experiments, "cutoff": self.cutoff}


def make(cursor: Any, bucket: str, cutoff: int) -> Plan:  # noqa: ANN401 - psycopg2's cursors have no static type
    """Look at the database; nothing is changed.

    Args:
        cursor: On the database.
        bucket: Of the artifact store.
        cutoff: Milliseconds since the epoch; what was deleted later stays.
    """
    plan = Plan(cutoff, bucket)
    runs = _rows(
        cursor,
        "SELECT run_uuid, experiment_id, artifact_uri FROM runs WHERE lifecycle_stage = %s AND deleted_time <= %s",
        (DELETED, cutoff),
    )
    experiments = _deleted_experiments(cursor, plan)
    plan.references = references.load(cursor, bucket, [run for run, _, _ in runs])
    for identity, location in _rows(cursor, "SELECT experiment_id, artifact_location FROM experiments"):
        if identity not in experiments:
            plan.references.add_home(key_of(location, bucket), f"the experiment {identity}")
    models = _models(cursor, plan, experiments)
    traces = _traces(cursor, experiments)
    held: set[int] = set()
    for kind, chosen, found in (("run", plan.runs, runs), ("model", plan.models, models), ("trace", [], traces)):
        for identity, experiment, location in found:
            reason = _reason(plan, identity, location)
            if reason is None:
                chosen.append(identity)
            else:
                plan.kept.append(f"{kind} {identity}: {reason}")
                held.add(experiment)
    for experiment, name in sorted(experiments.items()):
        if experiment in held:
            plan.kept.append(f"experiment {experiment} ({name}): something in it stays")
        else:
            plan.experiments.append(experiment)
    # A model that was not deleted itself goes with its experiment only, and stays with it.
    staying = {model for model, experiment, _ in models if experiment in held and experiment in experiments}
    active = {str(row[0]) for row in _rows(cursor, *_active_models(staying))} if staying else set[str]()
    plan.models = [model for model in plan.models if model not in active]
    return plan


def _deleted_experiments(cursor: Any, plan: Plan) -> dict[int, str]:  # noqa: ANN401
    """Experiments that were deleted long enough ago, with nothing in them that lives, or that was deleted later."""
    found: dict[int, str] = {}
    rows = _rows(
        cursor,
        "SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = %s"
        " AND coalesce(last_update_time, creation_time) <= %s",
        (DELETED, plan.cutoff),
    )
    for identity, name in rows:
        [(runs,)] = _rows(
            cursor,
            "SELECT count(*) FROM runs WHERE experiment_id = %s"
            " AND (lifecycle_stage <> %s OR deleted_time IS NULL OR deleted_time > %s)",
            (identity, DELETED, plan.cutoff),
        )
        [(traces,)] = _rows(
            cursor,
            "SELECT count(*) FROM trace_info WHERE experiment_id = %s AND timestamp_ms > %s",
            (identity, plan.cutoff),
        )
        reason = f"{runs} runs in it were restored, or deleted later" if runs else ""
        reason = reason or (f"{traces} traces in it are newer" if traces else "")
        if reason:
            plan.kept.append(f"experiment {identity} ({name}): {reason}")
        else:
            found[identity] = str(name)
    return found


def _models(cursor: Any, plan: Plan, experiments: Iterable[int]) -> list[tuple[str, int, str]]:  # noqa: ANN401
    if not has_models(cursor):
        return []
    return _rows(
        cursor,
        "SELECT model_id, experiment_id, artifact_location FROM logged_models"
        " WHERE experiment_id = ANY (%s) OR (lifecycle_stage = %s AND last_updated_timestamp_ms <= %s)",
        (list(experiments), DELETED, plan.cutoff),
    )


def _active_models(models: Iterable[str]) -> tuple[str, tuple[Any, ...]]:
    query = "SELECT model_id FROM logged_models WHERE model_id = ANY (%s) AND lifecycle_stage IS DISTINCT FROM %s"
    return query, (list(models), DELETED)


def _traces(cursor: Any, experiments: Iterable[int]) -> list[tuple[str, int, str | None]]:  # noqa: ANN401
    return _rows(
        cursor,
        "SELECT trace_info.request_id, experiment_id, value FROM trace_info LEFT JOIN trace_tags"
        " ON trace_tags.request_id = trace_info.request_id AND trace_tags.key = 'mlflow.artifactLocation'"
        " WHERE experiment_id = ANY (%s)",
        (list(experiments),),
    )


def has_models(cursor: Any) -> bool:  # noqa: ANN401
    """Say whether this MLflow knows logged models; those before 3 do not."""
    return _rows(cursor, "SELECT to_regclass('logged_models') IS NOT NULL") == [(True,)]


def _reason(plan: Plan, identity: str, location: str | None) -> str | None:
    """Say why something stays; None where it goes."""
    path = key_of(location, plan.bucket)
    if location and path is None:
        return f"its artifacts are not in this stack, but at {location}"
    holder = plan.references.holder(identity, path)
    return f"{holder} refers to it" if holder else None


def _rows(cursor: Any, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:  # noqa: ANN401
    cursor.execute(query, parameters or None)
    return list(cursor.fetchall())
