"""What a restore decides before it touches anything, and how it tells what went wrong afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from components.settings import DEFAULT_MLFLOW_VERSION, Settings
from components.upgrade import revisions
from toolchain.backup import restoring, verifying
from toolchain.errors import FailedError, RefusedError

_OLD = "3.10.1"


def _set(mlflow: str, schema: dict[str, str]) -> restoring.Set:
    return restoring.Set(cast("Any", None), "s", {"versions": {"mlflow": mlflow, "schema": schema}}, {})


def _schema_of(version: str) -> dict[str, str]:
    known = revisions.of(version)
    assert known is not None
    return {"alembic_version": known.head}


@pytest.mark.parametrize("named", [_OLD, DEFAULT_MLFLOW_VERSION, "99.0.0"])
def test_a_schema_that_the_version_knows_is_taken_in_whatever_version_the_set_names(named: str) -> None:
    restoring.refuse_schema("dev", Settings.model_validate({"mlflowVersion": _OLD}), _set(named, _schema_of(_OLD)))
    restoring.refuse_schema("dev", Settings.model_validate({}), _set(named, _schema_of(_OLD)))
    restoring.refuse_schema("dev", Settings.model_validate({}), _set(named, _schema_of(DEFAULT_MLFLOW_VERSION)))


@pytest.mark.parametrize("named", [_OLD, DEFAULT_MLFLOW_VERSION, "99.0.0"])
def test_a_later_schema_is_refused_whatever_version_the_set_names_and_one_that_knows_it_is_named(named: str) -> None:
    chosen = Settings.model_validate({"mlflowVersion": _OLD})
    with pytest.raises(RefusedError) as refused:
        restoring.refuse_schema("dev", chosen, _set(named, _schema_of(DEFAULT_MLFLOW_VERSION)))
    assert str(refused.value).startswith(f"mlflowVersion: {_OLD}: the set was made by MLflow {named}, whose schema ")
    assert str(refused.value).endswith(f"pulumi config set --stack dev mlflowVersion {DEFAULT_MLFLOW_VERSION}")


def test_without_revisions_to_compare_the_versions_decide() -> None:
    restoring.refuse_schema("dev", Settings.model_validate({}), _set(_OLD, {}))
    with pytest.raises(RefusedError):
        restoring.refuse_schema("dev", Settings.model_validate({}), _set("99.0.0", {}))


def test_a_refusal_after_the_first_change_is_told_as_the_failure_that_it_is() -> None:
    line = "database: gc: is at work on this stack, and only one job may be. mend: wait for it to end"
    with pytest.raises(FailedError) as failed, restoring.told_as_failure():
        raise RefusedError("database", "gc", "is at work on this stack, and only one job may be", "wait for it to end")
    assert str(failed.value) == line


def test_a_set_is_verified_with_the_versions_and_images_of_the_stack_that_asks() -> None:
    images = {"postgresImage": "p:18", "minioImage": "m:1", "gatewayImage": "g:2", "pythonImage": "y:3"}
    wanted = {"mlflowVersion": _OLD, **images}
    config = {key: {"value": value, "secret": False} for key, value in {**wanted, "workers": "3"}.items()}
    session = SimpleNamespace(config=lambda *, secrets: config if not secrets else None)
    taken = verifying._versions(cast("Any", session))  # pyright: ignore[reportPrivateUsage] - needs a stack else
    assert taken == wanted
