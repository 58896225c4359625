"""What pages of other sites try in a real browser: to call the API, to be the server by another name, to frame it."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest
import requests

from tests.stack.browser import Browser, open_browser
from tests.stack.harness import Stack
from tests.stack.secure import NAME, Secure

#: Names that the browser takes for this machine; the first is the attacker's.
EVIL, REBOUND = "evil.example.net", "rebound.example.net"
RULES = f"MAP {EVIL} 127.0.0.1, MAP {REBOUND} 127.0.0.1, MAP {NAME} 127.0.0.1"

#: Tries one request and shows what came of it.
_PAGE = """<!doctype html><title>a page of another site</title><body><p id="came">...</p><script>
const [url, options] = %s;
fetch(url, options)
  .then(async answer => `${answer.type} ${answer.status} ${await answer.text()}`, error => `refused: ${error}`)
  .then(text => { document.getElementById("came").textContent = text; document.title = "done"; });
</script>"""


@contextmanager
def _site(page: str) -> Generator[int]:
    """A web server with one page; gives its port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser in which a page of another site is open, and which knows a few names."""
    arguments = (f"--host-resolver-rules={RULES}", "--ignore-certificate-errors")
    with open_browser(tmp_path_factory.mktemp("browser"), *arguments) as opened:
        yield opened


def _try(browser: Browser, host: str, url: str, **options: object) -> str:
    """What a page of a host gets to see of a request that it makes."""
    with _site(_PAGE % json.dumps([url, options])) as port:
        browser.open(f"http://{host}:{port}/")
        browser.until(lambda: browser.driver.title == "done", "the request of the page has ended")
        return browser.see("#came").text


def _experiments(stack: Stack) -> set[str]:
    url = f"{stack.tracking_uri}/api/2.0/mlflow/experiments/search"
    found = requests.post(url, json={"max_results": 1000}, timeout=30).json()["experiments"]
    return {experiment["name"] for experiment in found}


@pytest.mark.parametrize("host", [EVIL, "localhost"])
@pytest.mark.parametrize("mode", ["cors", "no-cors"])
@pytest.mark.parametrize("path", ["/api", "/ajax-api"])
def test_a_page_of_another_site_can_not_write(stack: Stack, browser: Browser, host: str, mode: str, path: str) -> None:
    name = f"by {host} {mode} {path}"
    came = _try(
        browser,
        host,
        f"{stack.tracking_uri}{path}/2.0/mlflow/experiments/create",
        method="POST",
        mode=mode,
        credentials="include",
        headers={"Content-Type": "text/plain"},  # what a page may send without asking first
        body=json.dumps({"name": name}),
    )
    assert came.startswith(("refused", "opaque 0")), came
    assert name not in _experiments(stack), "another site's page wrote"


@pytest.mark.parametrize("host", [EVIL, "localhost"])
def test_a_page_of_another_site_can_not_read(stack: Stack, browser: Browser, host: str) -> None:
    came = _try(browser, host, f"{stack.tracking_uri}/ajax-api/2.0/mlflow/experiments/get?experiment_id=0")
    assert came.startswith("refused"), came


def test_a_page_of_another_site_can_not_use_the_login_of_a_user(secure: Secure, browser: Browser) -> None:
    user, password = secure.user("lovelace")
    browser.open(f"https://{user}:{password}@{NAME}:{secure.port}/")
    browser.until(lambda: "MLflow" in browser.driver.title, "the user is logged in")
    created = secure.url("/ajax-api/2.0/mlflow/experiments/create")
    body = json.dumps({"name": "with the login of another"})
    options = {"method": "POST", "credentials": "include", "headers": {"Content-Type": "text/plain"}, "body": body}
    for mode in ("cors", "no-cors"):
        came = _try(browser, EVIL, created, mode=mode, **options)
        assert came.startswith(("refused", "opaque 0")), came
    search = secure.url("/api/2.0/mlflow/experiments/search")
    found = secure.session(secure.admin).post(search, json={"max_results": 1000}, timeout=30).json()
    assert "with the login of another" not in json.dumps(found)


def test_a_name_that_was_bound_to_this_machine_later_is_refused(stack: Stack, browser: Browser) -> None:
    port = stack.settings["mlflowPort"]
    browser.open(f"http://{REBOUND}:{port}/")
    assert "Invalid Host header" in browser.text
    browser.open(f"http://{REBOUND}:{port}/ajax-api/2.0/mlflow/experiments/get?experiment_id=0")
    assert "Invalid Host header" in browser.text


def test_a_page_of_another_site_can_not_frame_the_ui(stack: Stack, browser: Browser) -> None:
    with _site(f'<title>done</title><iframe id="f" src="{stack.tracking_uri}/"></iframe>') as port:
        browser.open(f"http://{EVIL}:{port}/")
        browser.driver.switch_to.frame(browser.see("#f"))
        assert "MLflow" not in browser.driver.title
        assert "Experiments" not in browser.text


def test_the_servers_own_page_may_write(secure: Secure, browser: Browser) -> None:
    user, password = secure.user("noether")
    browser.open(f"https://{user}:{password}@{NAME}:{secure.port}/")
    browser.until(lambda: "MLflow" in browser.driver.title, "the user is logged in")
    browser.open(secure.url("/"))  # the login is remembered; a page whose address has it may not call anything
    browser.until(lambda: "MLflow" in browser.driver.title, "the user is still logged in")
    script = """
        const [name, done] = arguments;
        fetch("/ajax-api/2.0/mlflow/experiments/create", {method: "POST", headers: {"Content-Type": "application/json"},
              body: JSON.stringify({name})}).then(answer => done(answer.status), error => done(String(error)));
    """
    # Chromium gives up what is under way where a network of this machine comes or goes, such as another test's.
    names = (f"by the page itself {number}" for number in count())
    browser.until(lambda: browser.driver.execute_async_script(script, next(names)) == 200, "the page may write")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://evil.example.net"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
    ids=str,
)
def test_what_a_browser_says_of_a_requests_origin_decides(stack: Stack, headers: dict[str, str], status: int) -> None:
    url = f"{stack.tracking_uri}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert requests.get(url, headers=headers, timeout=30).status_code == status


def test_the_servers_own_origin_is_no_other(stack: Stack) -> None:
    url = f"{stack.tracking_uri}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert requests.get(url, headers={"Origin": stack.tracking_uri}, timeout=30).status_code == 200
