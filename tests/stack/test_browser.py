"""What a person sees: MLflow's pages with the client's run, and MinIO's console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.stack.browser import Browser, open_browser
from tests.stack.conftest import SuiteRun
from tests.stack.harness import Stack, wait_until


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A fresh browser."""
    with open_browser(tmp_path) as opened:
        yield opened


def _run_page(stack: Stack, run: SuiteRun, tab: str = "") -> str:
    return f"{stack.tracking_uri}/#/experiments/{run.experiment_id}/runs/{run.run_id}{tab}"


def _close_assistant(browser: Browser) -> None:
    """MLflow opens a chat panel over a third of the page; the pictures show the page."""
    for button in browser.driver.find_elements(By.CSS_SELECTOR, "button[aria-label='Close']"):
        button.click()


def test_mlflow_shows_the_run(stack: Stack, host_run: SuiteRun, browser: Browser, screenshots: Path) -> None:
    browser.open(_run_page(stack, host_run))
    for text in ("everything", "learning_rate", "Grüße ✓", "loss", "child", "Finished"):
        browser.see_text(text)
    _close_assistant(browser)
    browser.screenshot(screenshots / "mlflow-run.png")


def test_mlflow_draws_the_chart_of_the_metric(
    stack: Stack, host_run: SuiteRun, browser: Browser, screenshots: Path
) -> None:
    browser.open(_run_page(stack, host_run, "/model-metrics"))
    browser.see_text("everything (loss)")
    # The charts are drawn one after the other; that of `loss` alone has points.
    browser.until(
        lambda: len(browser.driver.find_elements(By.CSS_SELECTOR, "path.point")) >= 10,
        "the 10 points of `loss` in its chart",
    )
    drawn = browser.see("path.js-line").get_attribute("d") or ""
    assert drawn.count("L") + drawn.count(",") > 1, f"the chart has no line: {drawn!r}"
    _close_assistant(browser)
    browser.see_text("everything (loss)")
    browser.screenshot(screenshots / "mlflow-metrics.png")


def test_mlflow_shows_and_downloads_the_artifact(
    stack: Stack, host_run: SuiteRun, browser: Browser, screenshots: Path
) -> None:
    browser.open(_run_page(stack, host_run, "/artifacts"))
    for name in ("many", "part-0", "file 000.txt"):
        browser.click_text(name)
    browser.see_text("content of file 0")
    _close_assistant(browser)
    browser.screenshot(screenshots / "mlflow-artifact.png")
    # The button has no text; its id comes from MLflow's own component.
    browser.click("button[data-component-id*='artifactview']")
    content = browser.downloaded("file 000.txt")
    assert content == b"content of file 0\n", f"downloaded {content!r}"


def test_the_minio_console_lets_the_console_user_look_at_the_bucket(
    used_stack: Stack, browser: Browser, screenshots: Path
) -> None:
    credentials = used_stack.outputs["credentials"]
    browser.open(str(used_stack.outputs["minioConsoleUrl"]))
    browser.see("#accessKey").send_keys(credentials["consoleUser"])
    browser.see("#secretKey").send_keys(credentials["consoleUserPassword"])
    browser.click("#do-login")
    browser.click("#acknowledge-confirm")  # MinIO's licence, asked of every user once
    bucket = used_stack.settings.get("bucketName", "mlflow")
    browser.click_text(bucket)
    wait_until(lambda: f"/browser/{bucket}" in browser.driver.current_url, "the bucket's page")
    browser.see_text("PRIVATE")
    assert not browser.see("#upload-main").is_enabled(), "the console offers the console user to write"
    browser.screenshot(screenshots / "minio-console.png")
