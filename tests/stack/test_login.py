"""With `auth: basic` nobody gets in without a login, and nobody sees or changes what is not theirs."""

from __future__ import annotations

import io
import json
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.stack.conftest import LARGE_MIB
from tests.stack.harness import execute, wait_until
from tests.stack.secure import Secure, json_of
from tests.stack.test_client import steps

ROUTES = Path(__file__).with_name("server_routes.py")
OPEN = {("GET", "/health"), ("HEAD", "/health")}


@pytest.fixture(scope="session")
def routes(secure: Secure) -> list[tuple[str, str]]:
    """Every method and path that the server has, asked of the server."""
    command = ["docker", "exec", "-i", str(secure.stack.container("server").name), "python3.11", "-"]
    done = subprocess.run(command, input=ROUTES.read_text(), check=True, capture_output=True, text=True)
    return [(method, path) for method, path in json.loads(done.stdout)]


def test_the_routes_are_those_of_the_whole_server(routes: list[tuple[str, str]]) -> None:
    assert len(routes) > 1000
    for part in ("/api/2.0/mlflow/runs/create", "/ajax-api/", "/get-artifact", "/gateway/", "/v1/traces", "/graphql"):
        assert any(part in path for _, path in routes), f"{part} is not among them"


def test_without_a_login_every_route_but_health_is_closed(secure: Secure, routes: list[tuple[str, str]]) -> None:
    session = secure.session()
    more = [("GET", path) for path in ("/", "/metrics", "/health/", "/static-files/x", "/favicon.ico", "/nowhere")]
    answers = {
        (method, path): session.request(method, secure.url(path), timeout=30, allow_redirects=False).status_code
        for method, path in [*routes, *more]
    }
    assert {route for route, status in answers.items() if status not in (401, 403)} == OPEN
    assert all(answers[route] == 200 for route in OPEN)


@pytest.mark.parametrize("path", ["/", "/static-files/x", "/api/3.0/mlflow/server-info", "/version", "/v1/traces"])
@pytest.mark.parametrize(
    "header", ["Basic YWRtaW46d3Jvbmc=", "Basic", "Basic =", "Bearer x", ""], ids=lambda header: header or "empty"
)
def test_a_wrong_login_is_none(secure: Secure, path: str, header: str) -> None:
    method = "POST" if path.startswith("/v1") else "GET"
    answer = secure.session().request(method, secure.url(path), headers={"Authorization": header}, timeout=30)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_the_first_user_gets_in_everywhere(secure: Secure) -> None:
    session = secure.session(secure.admin)
    for path in ("/", "/api/3.0/mlflow/server-info", "/version", "/api/2.0/mlflow/experiments/get?experiment_id=0"):
        assert session.get(secure.url(path), timeout=30).status_code == 200, path


@dataclass(frozen=True, slots=True)
class Owned:
    """What somebody made: an experiment with a run, an artifact, a model."""

    experiment: str
    name: str
    run: str
    model: str
    secret: str


@pytest.fixture(scope="session")
def ada(secure: Secure) -> requests.Session:
    """A user who makes things."""
    return secure.session(secure.user("ada"))


@pytest.fixture(scope="session")
def eve(secure: Secure) -> requests.Session:
    """A user whom nobody granted anything."""
    return secure.session(secure.user("eve"))


@pytest.fixture(scope="session")
def owned(secure: Secure, ada: requests.Session) -> Owned:
    """Something of ada's."""

    def post(path: str, **body: Any) -> Any:
        return json_of(ada.post(secure.url(f"/api/2.0/mlflow/{path}"), json=body, timeout=30))

    secret, name = uuid.uuid4().hex, f"adas-{uuid.uuid4().hex}"
    experiment = str(post("experiments/create", name=name)["experiment_id"])
    run = str(post("runs/create", experiment_id=experiment)["run"]["info"]["run_id"])
    post("runs/log-parameter", run_id=run, key="secret", value=secret)
    post("registered-models/create", name=name)
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/secret.txt"
    assert ada.put(secure.url(path), data=secret, timeout=30).status_code == 200
    assert ada.get(secure.url(path), timeout=30).text == secret
    return Owned(experiment, name, run, name, secret)


def _reads(of: Owned) -> list[tuple[str, str, Any]]:
    """Every way to something of ada's that the API has, and ways round."""
    file = f"{of.experiment}/{of.run}/artifacts/secret.txt"
    api, artifacts = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
    return [
        ("GET", f"{api}/experiments/get?experiment_id={of.experiment}", None),
        ("GET", f"{api}/experiments/get-by-name?experiment_name={of.name}", None),
        ("POST", f"{api}/experiments/search", {"max_results": 1000}),
        ("GET", f"{api}/runs/get?run_id={of.run}", None),
        ("POST", f"{api}/runs/search", {"experiment_ids": [of.experiment]}),
        ("GET", f"{api}/metrics/get-history?run_id={of.run}&metric_key=x", None),
        ("GET", f"{api}/artifacts/list?run_id={of.run}", None),
        ("GET", f"/get-artifact?run_id={of.run}&path=secret.txt", None),
        ("GET", f"/get-artifact?run_uuid={of.run}&path=secret.txt", None),
        ("GET", f"{api}/registered-models/get?name={of.model}", None),
        ("GET", f"{api}/registered-models/search?max_results=100", None),
        ("GET", f"/ajax-api/3.0/mlflow/traces?experiment_ids={of.experiment}", None),
        ("POST", "/graphql", {"query": f'{{mlflowGetRun(input: {{runId: "{of.run}"}}) {{run {{info {{runId}}}}}}}}'}),
        ("GET", f"{artifacts}?path={of.experiment}/{of.run}/artifacts", None),
        ("GET", f"{artifacts}/{file}", None),
        ("GET", f"/ajax-api/2.0/mlflow-artifacts/artifacts/{file}", None),
        ("GET", f"/api/2.0/mlflow-artifacts/presigned/{file}", None),
        ("POST", f"{api}/artifacts/presigned-download-url", {"run_id": of.run, "path": "secret.txt"}),
        # by another name for the same place
        ("GET", f"{artifacts}/./{file}", None),
        ("GET", f"{artifacts}//{file}", None),
        ("GET", f"{artifacts}/%2e/{file}", None),
        ("GET", f"{artifacts}/0/%2e%2e/{file}", None),
        ("GET", f"{artifacts}/0%2f..%2f{file}", None),
        ("GET", f"{artifacts}/0/%252e%252e/{file}", None),
        ("GET", f"{artifacts}/x/..%2f{file}", None),
        ("GET", f"{artifacts}?path=0/../{of.experiment}/{of.run}/artifacts", None),
        ("GET", f"/api/2.0/mlflow-artifacts/presigned/0/%2e%2e/{file}", None),
        ("GET", f"/api/2.0/mlflow-artifacts/presigned//{file}", None),
        # past MLflow, straight to the store
        ("GET", f"/mlflow/{file}", None),
        ("GET", f"/mlflow/{file}?X-Amz-Signature=x", None),
        ("GET", f"/mlflow/{file}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + "0" * 64, None),
    ]


def test_what_nobody_granted_can_not_be_read_by_any_path(secure: Secure, eve: requests.Session, owned: Owned) -> None:
    for method, path, body in _reads(owned):
        request = requests.Request(method, secure.url("/"), json=body)
        prepared = eve.prepare_request(request)
        prepared.url = secure.url(path)  # as it stands: `requests` would tidy up the path
        answer = eve.send(prepared, timeout=30, allow_redirects=False)
        told = answer.text + json.dumps(dict(answer.headers))
        assert owned.secret not in told, f"{method} {path} showed it: {answer.status_code}"
        assert "X-Amz-Signature=" not in answer.text, f"{method} {path} signed an address: {answer.text}"
        if answer.status_code == 200:  # a search answers, with what is one's own
            assert owned.run not in told, f"{method} {path}: {told}"
            assert owned.name not in told, f"{method} {path}: {told}"


def _writes(of: Owned) -> list[tuple[str, str, Any]]:
    file = f"{of.experiment}/{of.run}/artifacts/secret.txt"
    api, artifacts = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts"
    return [
        ("POST", f"{api}/runs/create", {"experiment_id": of.experiment}),
        ("POST", f"{api}/runs/log-metric", {"run_id": of.run, "key": "x", "value": 1, "timestamp": 1}),
        ("POST", f"{api}/runs/log-parameter", {"run_id": of.run, "key": "y", "value": "1"}),
        ("POST", f"{api}/runs/set-tag", {"run_id": of.run, "key": "x", "value": "1"}),
        ("POST", f"{api}/runs/log-batch", {"run_id": of.run, "params": [{"key": "z", "value": "1"}]}),
        ("POST", f"{api}/runs/update", {"run_id": of.run, "status": "FINISHED"}),
        ("POST", f"{api}/runs/delete", {"run_id": of.run}),
        ("POST", f"{api}/experiments/update", {"experiment_id": of.experiment, "new_name": "eves"}),
        ("POST", f"{api}/experiments/set-experiment-tag", {"experiment_id": of.experiment, "key": "x", "value": "1"}),
        ("POST", f"{api}/experiments/delete", {"experiment_id": of.experiment}),
        ("POST", f"{api}/model-versions/create", {"name": of.model, "source": f"mlflow-artifacts:/{file}"}),
        ("PATCH", f"{api}/registered-models/update", {"name": of.model, "description": "eves"}),
        ("DELETE", f"{api}/registered-models/delete", {"name": of.model}),
        ("PUT", f"{artifacts}/artifacts/{file}", "eves"),
        ("PUT", f"{artifacts}/artifacts/0/%2e%2e/{file}", "eves"),
        ("PUT", f"{artifacts}/artifacts//{file}", "eves"),
        ("DELETE", f"{artifacts}/artifacts/{file}", None),
        ("POST", f"{artifacts}/mpu/create/{file}", {"path": file, "num_parts": 1}),
        ("POST", f"{api}/artifacts/presigned-upload-url", {"run_id": of.run, "path": "secret.txt"}),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={of.run}&path=secret.txt", "eves"),
        ("PATCH", f"{api}/users/update-admin", {"username": "eve", "is_admin": True}),
        ("PATCH", f"{api}/users/update-password", {"username": "ada", "password": "0123456789abcdef"}),
        ("POST", f"{api}/users/create", {"username": "mallory", "password": "0123456789abcdef"}),
    ]


def test_what_nobody_granted_can_not_be_written_by_any_path(
    secure: Secure, ada: requests.Session, eve: requests.Session, owned: Owned
) -> None:
    run = secure.url(f"/api/2.0/mlflow/runs/get?run_id={owned.run}")
    before = json_of(ada.get(run, timeout=30))
    for method, path, body in _writes(owned):
        as_json = {"json": body} if isinstance(body, dict) else {"data": io.BytesIO((body or "").encode())}
        prepared = eve.prepare_request(requests.Request(method, secure.url("/"), **as_json))  # pyright: ignore[reportArgumentType] - one or the other
        prepared.url = secure.url(path)
        answer = eve.send(prepared, timeout=30, allow_redirects=False)
        assert 400 <= answer.status_code < 500, f"{method} {path} answered {answer.status_code}: {answer.text}"
    assert json_of(ada.get(run, timeout=30)) == before, "a run was changed"
    path = f"/api/2.0/mlflow-artifacts/artifacts/{owned.experiment}/{owned.run}/artifacts/secret.txt"
    assert ada.get(secure.url(path), timeout=30).text == owned.secret, "an artifact was changed"


def test_a_grant_opens_what_it_names_and_nothing_else(
    secure: Secure, ada: requests.Session, eve: requests.Session, owned: Owned
) -> None:
    grant = {"username": "eve", "resource_type": "experiment", "resource_id": owned.experiment}
    permissions = secure.url("/api/3.0/mlflow/users/permissions")
    assert ada.post(f"{permissions}/grant", json={**grant, "permission": "READ"}, timeout=30).status_code == 200
    try:
        path = f"/api/2.0/mlflow-artifacts/artifacts/{owned.experiment}/{owned.run}/artifacts/secret.txt"
        assert eve.get(secure.url(path), timeout=30).text == owned.secret
        tag = {"run_id": owned.run, "key": "x", "value": "1"}
        assert eve.post(secure.url("/api/2.0/mlflow/runs/set-tag"), json=tag, timeout=30).status_code == 403
    finally:
        assert ada.post(f"{permissions}/revoke", json=grant, timeout=30).status_code == 200


def test_a_default_client_logs_in_by_the_two_standard_variables(secure: Secure, tmp_path: Path) -> None:
    run = secure.suite(secure.user("grace"), tmp_path / "work", name="secure client", sizes=f"64,{LARGE_MIB}")
    print(run.output)
    assert set(run.result["seconds"]) == steps(LARGE_MIB), "a step of the client suite is missing"


def test_a_user_is_made_once_and_gets_a_new_password_only_when_asked_for(secure: Secure) -> None:
    stack = secure.stack
    _, old = secure.user("linus")
    again = stack.checkout.toolchain("user", "linus", stack=stack.name)
    assert again.code == 2, again.text
    assert "NAME: linus: there is a user of that name. mend: make user NAME=linus RESET=1" in again.stderr
    reset = stack.checkout.toolchain("user", "linus", "--reset", stack=stack.name, record=False).ok()
    new = next(line.partition("PASSWORD=")[2] for line in reset.stdout.splitlines() if "PASSWORD=" in line)
    assert new != old
    path = secure.url("/api/3.0/mlflow/server-info")
    assert secure.session(("linus", new)).get(path, timeout=30).status_code == 200
    assert secure.session(("linus", old)).get(path, timeout=30).status_code == 401


def test_a_name_that_can_be_no_users_is_refused(secure: Secure) -> None:
    for name in ("", "-x", "a b", "admin"):
        made = secure.stack.checkout.toolchain(
            "user", *([name] if name != "-x" else ["--", name]), stack=secure.stack.name
        )
        assert made.code == 2, made.text
        assert made.stderr.strip().splitlines()[-1].startswith("NAME: "), made.text


def test_users_survive_a_new_server(secure: Secure) -> None:
    login = secure.user("hopper")
    secure.stack.container("server").restart()
    path = secure.url("/api/3.0/mlflow/server-info")
    wait_until(lambda: secure.session(login).get(path, timeout=5).status_code == 200, "the server is back")


def test_the_users_are_in_the_backend_store_and_not_in_the_container(secure: Secure) -> None:
    query = "SELECT count(*) FROM users WHERE username = 'admin' AND is_admin"
    postgres = secure.stack.container("postgres")
    answer = execute(postgres, ["psql", "-U", "postgres", "-d", "mlflow", "-tAc", query], user="postgres")
    assert answer.strip() == "1"
