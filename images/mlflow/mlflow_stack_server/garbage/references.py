"""What in the database refers to objects of something else: it keeps them, whoever was deleted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlflow_stack_server.garbage.locations import ancestors, key_of

if TYPE_CHECKING:
    from collections.abc import Collection

_RUNS_URI = re.compile(r"runs:/+([0-9a-f]{32})(?:/|$)")
_MODELS_URI = re.compile(r"models:/+(m-[0-9a-f]{32})(?:/|$)")

DELETED_STAGE = "Deleted_Internal"
"""What MLflow calls a deleted model version: its row stays, so that no number is given twice, and names nothing."""


@dataclass
class References:
    """Who refers to what.

    Attributes:
        paths: Path in the bucket → who refers to it.
        above: Every path above one of those.
        identities: Id of a run or a model → who refers to it.
    """

    paths: dict[str, str] = field(default_factory=dict[str, str])
    above: dict[str, str] = field(default_factory=dict[str, str])
    identities: dict[str, str] = field(default_factory=dict[str, str])

    def add_path(self, path: str | None, who: str) -> None:
        """Note that something is kept by its path."""
        if path:
            self.paths.setdefault(path, who)
            for parent in ancestors(path)[1:]:
                self.above.setdefault(parent, who)

    def add_home(self, path: str | None, who: str) -> None:
        """Note where an experiment keeps what is in it: that alone keeps nothing that is already there."""
        for parent in ancestors(path) if path else ():
            self.above.setdefault(parent, who)

    def add_uri(self, uri: str | None, bucket: str, who: str) -> None:
        """Note that something is kept by its URI."""
        for form in (_RUNS_URI, _MODELS_URI):
            found = form.match(uri or "")
            if found:
                self.identities.setdefault(found.group(1), who)
        self.add_path(key_of(uri, bucket), who)

    def holder(self, identity: str, path: str | None) -> str | None:
        """Say who refers to a run, a model or a trace, to something in it, or to a folder that it is in."""
        if identity in self.identities:
            return self.identities[identity]
        if path is None:
            return None
        if path in self.above:
            return self.above[path]
        return next((self.paths[parent] for parent in ancestors(path) if parent in self.paths), None)


def load(cursor: Any, bucket: str, dying_runs: Collection[str]) -> References:  # noqa: ANN401 - psycopg2's has no type
    """Collect the references.

    Args:
        cursor: On the database.
        bucket: Of the artifact store.
        dying_runs: Runs that may go: what they alone refer to is not kept for them.
    """
    found = References()
    cursor.execute(
        "SELECT name, version, source, storage_location FROM model_versions WHERE current_stage IS DISTINCT FROM %s",
        (DELETED_STAGE,),
    )
    for name, version, source, storage_location in cursor.fetchall():
        for uri in (source, storage_location):
            found.add_uri(uri, bucket, f"version {version} of the registered model {name}")
    # A dataset may name the artifacts of another run as its source, in whatever form.
    cursor.execute(
        """
        SELECT DISTINCT named[1] FROM datasets AS dataset, regexp_matches(dataset.dataset_source, %s, 'g') AS named
        WHERE EXISTS (
            SELECT 1 FROM inputs WHERE inputs.source_id = dataset.dataset_uuid
            AND inputs.source_type = 'DATASET' AND inputs.destination_type = 'RUN'
            AND inputs.destination_id <> ALL (%s)
            AND inputs.destination_id <> replace(named[1], 'm-', '')
        )
        """,
        (r"(?:m-)?[0-9a-f]{32}", list(dying_runs)),
    )
    for (identity,) in cursor.fetchall():
        found.identities.setdefault(str(identity), "the source of a dataset that another run used")
    return found
