"""Objects of runs, models and traces that are not in the database any more.

The bucket is read once, a thousand names at a time, so that memory does not grow with it. Whose an object is, its name
tells; whether that is still there, the database. What is not named in MLflow's way is nobody's to remove: it stays.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mlflow_stack_server.garbage.locations import key_of, owner_of
from mlflow_stack_server.garbage.plan import has_models

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow_stack_server.garbage.locations import Owner
    from mlflow_stack_server.garbage.plan import Plan
    from mlflow_stack_server.garbage.references import References

_PAGE: Final = 1000
"""Names that S3 lists at a time, and objects that it removes at a time."""

_TABLES: Final = {
    "run": ("runs", "run_uuid"),
    "model": ("logged_models", "model_id"),
    "trace": ("trace_info", "request_id"),
}


@dataclass
class Swept:
    """What was found, and what was removed.

    Attributes:
        total_bytes: Size of all objects in the bucket, before.
        objects: Number of objects that go.
        bytes: Their size.
        owners: How many runs, models and traces they belonged to, by kind.
        failed: Names of objects that could not be removed.
    """

    total_bytes: int = 0
    objects: int = 0
    bytes: int = 0
    owners: Counter[str] = field(default_factory=Counter[str])
    failed: list[str] = field(default_factory=list[str])
    _last: str = ""

    def add(self, owner: Owner, size: int) -> None:
        """Count an object; the names of one owner's follow each other."""
        self.objects += 1
        self.bytes += size
        if owner.path != self._last:
            self.owners[owner.kind] += 1
            self._last = owner.path


class Sweep:
    """Goes through the bucket."""

    def __init__(self, s3: Any, cursor: Any, plan: Plan, references: References, *, remove: bool) -> None:  # noqa: ANN401 - neither client has static types
        """Prepare.

        Args:
            s3: Client of the artifact store, with the rights of the bucket user.
            cursor: On the database.
            plan: What goes; with `remove`, its rows are gone by now, but for what stays after all.
            references: What keeps objects, now.
            remove: Remove what is nobody's; else only say what there will be.
        """
        self._s3, self._cursor, self._plan, self._references = s3, cursor, plan, references
        self._remove_them = remove
        self._cutoff = datetime.fromtimestamp(plan.cutoff / 1000, UTC)
        self._homes, self._last_experiment = self._look_up_homes()
        self._verdicts: dict[str, bool] = {}

    def run(self) -> Swept:
        """Go through the bucket once."""
        swept = Swept()
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._plan.bucket, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            listed: list[dict[str, Any]] = page.get("Contents", [])
            owned = [(entry, owner) for entry in listed if (owner := owner_of(entry["Key"])) is not None]
            self._judge([owner for _, owner in owned])
            going = [
                (entry, owner)
                for entry, owner in owned
                if self._verdicts[owner.path] and (self._is_planned(owner) or entry["LastModified"] < self._cutoff)
            ]
            swept.total_bytes += sum(entry["Size"] for entry in listed)
            if going and self._remove_them:
                failed = self._remove(entry["Key"] for entry, _ in going)
                swept.failed += sorted(failed)
                going = [(entry, owner) for entry, owner in going if entry["Key"] not in failed]
            for entry, owner in going:
                swept.add(owner, entry["Size"])
        return swept

    def _judge(self, owners: list[Owner]) -> None:
        """Find out which owners are gone; a page begins with the one that the last page ended with."""
        fresh = {owner.path: owner for owner in owners if owner.path not in self._verdicts}
        self._verdicts = {path: self._verdicts[path] for path in {owner.path for owner in owners} - set(fresh)}
        alive = self._alive(fresh.values())
        for path, owner in fresh.items():
            gone = (
                owner.identity not in alive
                and self._is_experiments(owner.base)
                and self._references.holder(owner.identity, path) is None
            )
            self._verdicts[path] = gone

    def _alive(self, owners: Iterable[Owner]) -> set[str]:
        """Ids that are in the database and do not go.

        Each is looked for in all tables: one run's folder may be called `traces`.
        """
        identities = [owner.identity for owner in owners]
        # What is there after its removal was tried is there, and keeps its objects.
        going = set[str]() if self._remove_them else self._plan_identities
        traces_of = set[int]() if self._remove_them else set(self._plan.experiments)
        found: set[str] = set()
        for table, key in _TABLES.values():
            if table == "logged_models" and not has_models(self._cursor):
                continue
            self._cursor.execute(
                f"SELECT {key}, experiment_id FROM {table} WHERE {key} = ANY (%s)",  # noqa: S608 - names from above
                (identities,),
            )
            found |= {
                str(identity)
                for identity, experiment in self._cursor.fetchall()
                if identity not in going and not (table == "trace_info" and experiment in traces_of)
            }
        return found

    def _is_planned(self, owner: Owner) -> bool:
        """Whether it goes with this very collection, so that its objects do not have to be old."""
        return owner.identity in self._plan_identities or owner.base in self._planned_homes

    def _is_experiments(self, base: str) -> bool:
        """Whether a path is, or was, an experiment's: MLflow's default is its number."""
        return base in self._homes or (base.isdecimal() and int(base) <= self._last_experiment)

    def _look_up_homes(self) -> tuple[set[str], int]:
        self._cursor.execute("SELECT experiment_id, artifact_location FROM experiments")
        rows: list[tuple[int, str | None]] = self._cursor.fetchall()
        bucket = self._plan.bucket
        homes = {path for _, location in rows if (path := key_of(location, bucket))}
        planned = set(self._plan.experiments)
        self._planned_homes = {
            path for number, location in rows if number in planned and (path := key_of(location, bucket))
        }
        self._plan_identities = {*self._plan.runs, *self._plan.models}
        self._cursor.execute("SELECT pg_sequence_last_value('experiments_experiment_id_seq'::regclass)")
        [(last,)] = self._cursor.fetchall()
        return homes, max(int(last or 0), *(number for number, _ in rows), 0)

    def _remove(self, keys: Iterable[str]) -> set[str]:
        answer = self._s3.delete_objects(
            Bucket=self._plan.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
        return {str(error["Key"]) for error in answer.get("Errors", [])}
