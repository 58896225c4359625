"""What is decided about versions, before anything is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from components.builds import PROJECT_DIR
from components.settings import DEFAULT_MLFLOW_VERSION, Settings
from components.upgrade import minio, names, revisions
from components.upgrade.found import Found, major_in
from components.upgrade.plan import Plan, decide

_OLD = "3.10.1"
_MIB = 1024**2
_IMAGE = "local/mlflow-stack/postgres:18.4-abc"


def _head(version: str) -> str:
    known = revisions.of(version)
    assert known is not None
    return known.head


#: A stack that serves the old version, well.
_SERVES_OLD = Found(
    version=_OLD,
    image=_IMAGE,
    major=18,
    answers=True,
    revision=_head(_OLD),
    databases={"mlflow": 10 * _MIB, "postgres": 7 * _MIB},
    free=lambda: 10 * 1024 * _MIB,
    clusters={18: ""},
)
_SERVES_NEW = replace(_SERVES_OLD, version=DEFAULT_MLFLOW_VERSION, revision=_head(DEFAULT_MLFLOW_VERSION))


class _NoImages:
    """A Docker host without images: the major is that of the tag."""

    class images:  # noqa: N801 - as docker-py calls it
        """Its images."""

        @staticmethod
        def get(reference: str) -> None:
            from docker.errors import ImageNotFound  # noqa: PLC0415 - as late as the code under test

            raise ImageNotFound(reference)


def _decide(found: Found, image: str = _IMAGE, **settings: Any) -> tuple[Plan, list[str]]:
    plan, problems = decide(Settings(**settings), found, image, cast("Any", _NoImages()))
    return plan, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    "path", sorted((PROJECT_DIR / "images/mlflow/locks").glob("*.txt")), ids=lambda path: path.stem
)
def test_every_lock_lists_the_schema_revisions_of_its_version(path: Any) -> None:
    known = revisions.of(path.stem.removeprefix("mlflow-"))
    assert known is not None
    assert known.head in known.known
    assert len(known.known) > 10


def test_a_later_version_knows_the_schema_of_an_earlier_one_and_not_the_other_way_round() -> None:
    old, new = revisions.of(_OLD), revisions.of(DEFAULT_MLFLOW_VERSION)
    assert old is not None
    assert new is not None
    assert old.known < new.known


def test_a_stack_that_is_new_or_as_it_is_wanted_needs_nothing() -> None:
    for found in (Found(), replace(_SERVES_OLD, revision=None), _SERVES_NEW):
        assert _decide(found) == (Plan(), [])


def test_another_schema_is_moved_to_and_told_from_where() -> None:
    plan, problems = _decide(_SERVES_OLD)
    assert problems == []
    assert plan.schema is not None
    assert (plan.schema.before, plan.schema.after) == (_OLD, DEFAULT_MLFLOW_VERSION)
    (line,) = plan.lines
    assert (
        f"{_OLD} -> {DEFAULT_MLFLOW_VERSION}: schema revision {_head(_OLD)} -> {_head(DEFAULT_MLFLOW_VERSION)}" in line
    )
    assert "pauses" in line


def test_another_version_on_the_same_schema_goes_without_a_copy_and_back_again() -> None:
    plan, problems = _decide(replace(_SERVES_NEW, version="3.99.0"))
    assert (plan.schema, problems) == (None, [])
    assert "the schema stays as it is" in plan.lines[0]


def test_a_schema_that_the_version_does_not_know_is_refused_with_the_version_that_does() -> None:
    plan, problems = _decide(_SERVES_NEW, mlflowVersion=_OLD)
    assert plan.schema is None
    assert problems[0].startswith(f"mlflowVersion: {_OLD}: knows schema revisions up to {_head(_OLD)}")
    assert f"mend: pulumi config set mlflowVersion {DEFAULT_MLFLOW_VERSION}" in problems[0]


def test_without_room_for_the_copy_nothing_is_begun() -> None:
    _, problems = _decide(replace(_SERVES_OLD, free=lambda: 100 * _MIB))
    assert "the copy that is the way back takes 148 MiB" in problems[0]
    assert "100 MiB are free" in problems[0]


def test_a_database_that_does_not_answer_is_not_given_to_another_version() -> None:
    _, problems = _decide(replace(_SERVES_OLD, answers=False, revision=None))
    assert "mend: make up" in problems[0]
    assert _decide(replace(_SERVES_NEW, answers=False, revision=None)) == (Plan(), [])


def test_an_upgrade_that_was_cut_off_behind_the_swap_is_ended() -> None:
    databases = {**_SERVES_NEW.databases, names.before("mlflow", _OLD): _MIB}
    plan, problems = _decide(replace(_SERVES_NEW, version=_OLD, databases=databases, paused=True))
    assert (plan.schema, problems) == (None, [])
    assert plan.leftovers


def test_an_upgrade_that_was_cut_off_is_not_taken_for_the_ground_of_another() -> None:
    databases = {**_SERVES_OLD.databases, names.before("mlflow", "2.22.5"): _MIB}
    _, problems = _decide(replace(_SERVES_OLD, databases=databases))
    assert "mend: pulumi config set mlflowVersion 2.22.5 && make up" in problems[0]


def test_another_major_of_postgresql_is_moved_to_and_an_earlier_one_refused() -> None:
    on_16 = replace(_SERVES_NEW, image="local/mlflow-stack/postgres:16.14-abc", major=16)
    plan, problems = _decide(on_16)
    assert problems == []
    assert plan.cluster is not None
    assert (plan.cluster.before, plan.cluster.after) == (16, 18)
    _, problems = _decide(_SERVES_NEW, "postgres:16.1")
    assert problems[0].startswith("postgresImage: postgres:16.1: is PostgreSQL 16, and the data is of PostgreSQL 18")
    assert problems[0].endswith(f"mend: pulumi config set postgresImage {_IMAGE}")


def test_mlflow_and_postgresql_are_not_upgraded_at_once() -> None:
    _, problems = _decide(replace(_SERVES_OLD, image="postgres:16.1", major=16))
    assert "one upgrade at a time" in problems[0]


def test_names_of_databases_are_not_cut_off_and_tell_the_version() -> None:
    long = "d" * 63
    for name in (names.coming(long), names.before(long, "10.100.100"), names.after(long, "10.100.100")):
        assert len(name) <= 63
    assert names.version_before(long, ["postgres", names.before(long, "3.10.1")]) == "3.10.1"
    assert names.version_before("mlflow", ["mlflow", names.coming("mlflow")]) is None


def test_the_major_is_the_one_that_the_image_says() -> None:
    assert major_in(["PATH=/bin", "PG_MAJOR=18"]) == 18
    assert major_in(None) is None


def test_a_release_of_minio_is_found_in_labels_and_in_a_tag() -> None:
    newest, earlier = "RELEASE.2026-02-12T20-18-48Z", "RELEASE.2025-09-07T16-13-09Z"
    assert minio.release({"version": newest}, f"minio/minio:{earlier}") == newest
    assert minio.release({}, f"minio/minio:{earlier}@sha256:abc") == earlier
    assert minio.release({"version": "1"}, "mine/minio:latest") is None
    assert earlier < newest
