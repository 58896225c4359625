"""A state that is changed between two deployments: what goes, what stays, and that nothing refers to what went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolchain import events, inside
from toolchain.deployment import Deployment

_URN = "urn:pulumi:s::mlflow-stack::"


def _entry(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"urn": f"{_URN}{kind}::{name}", "type": kind, "id": name, "custom": True, **more}


ROLE = _entry(inside.ROLE, "mlflowuser", outputs={"name": "mlflowuser", "password": "x"}, inputs={"password": "x"})
GRANT = _entry("postgresql:index/grant:Grant", "grant", dependencies=[ROLE["urn"]])
NEXT = _entry(
    "postgresql:index/database:Database",
    "mlflow",
    dependencies=[ROLE["urn"], GRANT["urn"]],
    propertyDependencies={"owner": [ROLE["urn"]], "after": [GRANT["urn"]], "name": None},
    deletedWith=GRANT["urn"],
)
USER = _entry("minio:index/iamUser:IamUser", "mlflow-bucket", outputs={"name": "mlflow-bucket"})
BUCKET = _entry(inside.BUCKET, "mlflow")
STATE = Deployment({"manifest": {}, "resources": [ROLE, GRANT, NEXT, USER, BUCKET]})


def _names(state: Deployment) -> list[str]:
    return [found.id for found in state.resources]


def test_nothing_refers_to_what_was_taken_out() -> None:
    state = STATE.without([found for found in STATE.resources if found.id == "grant"])
    assert _names(state) == ["mlflowuser", "mlflow", "mlflow-bucket", "mlflow"]
    assert GRANT["urn"] not in json.dumps(state.raw)
    assert ROLE["urn"] in state.resources[1].depends_on, "the rest stays"


def test_one_of_two_of_the_same_name_goes_alone() -> None:
    both = Deployment({"resources": [{**GRANT, "id": "old", "delete": True}, GRANT, NEXT]})
    state = both.without([found for found in both.resources if found.id == "old"])
    assert _names(state) == ["grant", "mlflow"]
    assert GRANT["urn"] in state.resources[1].depends_on


def test_what_may_be_made_twice_is_set_again_and_what_holds_data_stays() -> None:
    assert _names(inside.to_be_set_again(STATE)) == ["mlflowuser", "mlflow", "mlflow"]
    assert _names(inside.to_be_set_again(STATE, {"minio"})) == ["mlflowuser", "grant", "mlflow", "mlflow"]


def test_the_password_of_a_role_is_forgotten_with_the_rights_of_its_store_alone() -> None:
    assert "password" not in json.dumps(inside.to_be_set_again(STATE, {"postgres"}).raw)
    assert "password" in json.dumps(inside.to_be_set_again(STATE, {"minio"}).raw)


def test_what_could_not_be_created_is_taken_over_from_the_event_log(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    new = {"type": inside.BUCKET, "urn": BUCKET["urn"], "inputs": {"bucket": "mlflow"}, "parent": "p", "protect": True}
    metadata = {"op": "create", "urn": BUCKET["urn"], "type": inside.BUCKET, "new": new, "provider": "q"}
    log.write_text(json.dumps({"resOpFailedEvent": {"metadata": metadata}}), encoding="utf-8")
    (entry,) = events.read(log).not_created
    state = inside.adopted(Deployment({"resources": [USER]}), [entry])
    (_, taken) = state.resources
    assert (taken.id, taken.type, taken.protected) == ("mlflow", inside.BUCKET, True)
    assert state.raw["resources"][1]["provider"] == "q"
    assert inside.adopted(state, [entry]).raw == state.raw, "once only"


def test_a_secret_output_is_hidden_wherever_it_stands() -> None:
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:a:b"}
    outputs = {"all": secret, "some": {"id": "mlflow", "keys": [secret, 1]}, "none": True}
    state = Deployment({"resources": [_entry("pulumi:pulumi:Stack", "mlflow-stack-dev", outputs=outputs)]})
    assert state.outputs == {"all": "[secret]", "some": {"id": "mlflow", "keys": ["[secret]", 1]}, "none": True}
    assert Deployment({}).outputs == {}
