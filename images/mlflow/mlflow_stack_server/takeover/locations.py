"""Where everything was, and where it will be: below the number of its experiment, as MLflow puts it in a new stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import sqlalchemy

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_LARGEST: Final = 1_000_000
"""Numbers of experiments beyond this one are given anew: runs in files have some of eighteen digits, which no column of
PostgreSQL's holds."""

_ARTIFACTS: Final = "mlflow.artifactLocation"
_ARCHIVE: Final = "mlflow.trace.archiveLocation"


def normal(uri: str) -> str:
    """Give a URI in one form: a path without a scheme for a local one, no slash at the end."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return unquote(parts.path).rstrip("/")
    return uri.rstrip("/")


@dataclass(frozen=True)
class Thing:
    """Something with artifacts: a run, a model or a trace.

    Attributes:
        old: Where they are, in the normal form.
        key: Where they will be, in the bucket.
        home: Where those of its experiment are, in the normal form; empty where it is unknown.
        experiment: Number of the experiment, as it was.
    """

    old: str
    key: str
    home: str
    experiment: int


@dataclass
class Locations:
    """What goes where.

    Attributes:
        root: URI of the root of the bucket, without the last slash.
        experiments: Number of an experiment as it was → as it will be.
        things: Everything with artifacts.
        elsewhere: How often something named a place that nothing was found at.
        homes: Where experiments kept what is in them, in the normal form.
        keys: Where something was, in the normal form → its path in the bucket.
    """

    root: str
    experiments: dict[int, int] = field(default_factory=dict[int, int])
    things: list[Thing] = field(default_factory=list[Thing])
    elsewhere: int = 0
    homes: dict[int, str] = field(default_factory=dict[int, str])
    keys: dict[str, str] = field(default_factory=dict[str, str])

    def uri(self, key: str) -> str:
        """Give the URI of a path in the bucket."""
        return f"{self.root}/{key}"

    def moved(self, uri: str | None) -> str | None:
        """Give the URI in the stack of something that the source says where it is.

        What names a run or a model by its id says the same here.
        """
        if not uri or uri.startswith(("models:/", "runs:/")):
            return uri
        path, rest = normal(uri), ""
        while path:
            if path in self.keys:
                return self.uri(self.keys[path] + rest)
            path, separator, last = path.rpartition("/")
            if not separator:
                break
            rest = f"/{last}{rest}"
        self.elsewhere += 1
        return uri

    def home(self, experiment: int) -> str:
        """Give the URI below which an experiment will keep what is in it."""
        return self.uri(str(self.experiments[experiment]))

    def add(self, experiment: int, uri: str | None, otherwise: str) -> None:
        """Note where something is.

        Args:
            experiment: Its experiment, as it was numbered.
            uri: Where its artifacts are; nothing is there without one.
            otherwise: Where they will be below the experiment, if they are not below it now.
        """
        if not uri:
            return
        old, home = normal(uri), self.homes.get(experiment, "")
        below = old[len(home) :] if home and old.startswith(f"{home}/") else f"/{otherwise}"
        key = f"{self.experiments[experiment]}{below}"
        self.keys[old] = key
        self.things.append(Thing(old, key, home, experiment))


def load(connection: Connection, root: str) -> Locations:
    """Read where everything is.

    Args:
        connection: To the source, at this MLflow's revision.
        root: URI of the root of the bucket.
    """

    def rows(query: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute(sqlalchemy.text(query))]

    found = Locations(root.rstrip("/"))
    experiments = [(int(str(number)), str(uri or "")) for number, uri in rows(_EXPERIMENTS)]
    found.experiments = _numbers([number for number, _ in experiments])
    for number, uri in experiments:
        home = normal(uri)
        found.homes[number] = home
        if home:
            found.keys.setdefault(home, str(found.experiments[number]))
    for query, otherwise in (
        (_RUNS, "{}/artifacts"),
        (_MODELS, "models/{}/artifacts"),
        (_TRACES.format(_ARTIFACTS), "traces/{}/artifacts"),
        (_TRACES.format(_ARCHIVE), "traces/{}/archive"),
    ):
        for number, identity, uri in rows(query):
            found.add(int(str(number)), str(uri or "") or None, otherwise.format(identity))
    return found


_EXPERIMENTS: Final = "SELECT experiment_id, artifact_location FROM experiments"
_RUNS: Final = "SELECT experiment_id, run_uuid, artifact_uri FROM runs"
_MODELS: Final = "SELECT experiment_id, model_id, artifact_location FROM logged_models"
_TRACES: Final = (
    "SELECT trace_info.experiment_id, trace_info.request_id, trace_tags.value FROM trace_info"
    " JOIN trace_tags ON trace_tags.request_id = trace_info.request_id AND trace_tags.key = '{}'"
)


def _numbers(old: list[int]) -> dict[int, int]:
    fits = {number for number in old if number <= _LARGEST}
    following = max(fits, default=0)
    numbers = {number: number for number in fits}
    for number in sorted(set(old) - fits):
        following += 1
        numbers[number] = following
    return numbers
