"""Debian's Chromium, headless, as the tests drive it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

#: Seconds a page may take on a busy machine.
PATIENCE = 60

#: What a page that is still drawing itself answers with.
_PASSING = [StaleElementReferenceException, ElementClickInterceptedException]

_T = TypeVar("_T")


class Browser:
    """A window and what a person does in it; every wait is for something to be seen."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads
        self._wait = WebDriverWait(driver, PATIENCE, ignored_exceptions=_PASSING)
        self._said: list[str] = []

    def open(self, url: str) -> None:
        """Go to a page; again where Chromium gave up, since a network of this machine came or went meanwhile.

        Those of other tests do, and no switch has it look away.
        """

        def opened(driver: webdriver.Chrome) -> bool:
            driver.get(url)
            return "ERR_NETWORK_CHANGED" not in self.text

        self._wait.until(opened)

    def see(self, selector: str) -> WebElement:
        """Wait until an element can be seen.

        Args:
            selector: A CSS selector, or an XPath that begins with `//`.
        """

        def visible(driver: webdriver.Chrome) -> WebElement | None:
            found = driver.find_elements(By.XPATH if selector.startswith("//") else By.CSS_SELECTOR, selector)
            shown = next((element for element in found if element.is_displayed()), None)
            if shown is None and self._lost_a_part():
                driver.refresh()
            return shown

        element = self._await(visible, f"{selector} is not to be seen")
        assert element is not None
        return element

    def _await(self, condition: Callable[[webdriver.Chrome], _T], what: str) -> _T:
        try:
            return self._wait.until(condition)
        except TimeoutException:
            said = [*self._said, *self._console()]
            raise AssertionError(
                f"{what} at {self.driver.current_url}; the page says:\n{self.text}\nand its console:\n{said}"
            ) from None

    def _console(self) -> list[str]:
        """What the browser has complained about since it was asked last."""
        # The stub leaves the method's type open.
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # pyright: ignore[reportUnknownMemberType]
        return [str(entry["message"]) for entry in entries]

    def _lost_a_part(self) -> bool:
        """Whether a part of the page did not come, for the reason that `open` names; told once."""
        said = self._console()
        self._said += said
        return any("ERR_NETWORK_CHANGED" in line for line in said)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        self._await(lambda _: condition(), f"not so: {what}")

    def see_text(self, text: str) -> WebElement:
        """Wait until an element shows exactly this text."""
        return self.see(f'//*[normalize-space(text())="{text}"]')

    def click(self, selector: str) -> None:
        """Click on what can be seen; again where the page redrew it under the pointer."""

        def clicked(_: webdriver.Chrome) -> bool:
            self.see(selector).click()
            return True

        self._wait.until(clicked)

    def click_text(self, text: str) -> None:
        """Click on an element that shows this text."""
        self.click(f'//*[normalize-space(text())="{text}"]')

    @property
    def text(self) -> str:
        """What the page says."""
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def downloaded(self, name: str) -> bytes:
        """Wait until a download is complete, and give its content."""
        file = self.downloads / name
        self._wait.until(lambda _: file.is_file(), f"{name} was not downloaded")
        return file.read_bytes()

    def screenshot(self, file: Path) -> None:
        """Keep what can be seen."""
        assert self.driver.save_screenshot(str(file)), f"no screenshot could be written to {file}"


def _installed(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    assert found is not None, f"{names[0]} is not installed. mend: make test, which installs it"
    return found


@contextmanager
def open_browser(folder: Path, *more: str) -> Generator[Browser]:
    """A fresh browser with a profile and a download folder of its own; `more` are arguments for it."""
    downloads = folder / "downloads"
    downloads.mkdir()
    options = Options()
    options.binary_location = _installed("chromium", "google-chrome")
    for argument in ("--headless=new", "--window-size=1440,1000", "--disable-dev-shm-usage", "--disable-gpu", *more):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox refuses to run as root
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options=options, service=Service(_installed("chromedriver")))
    try:
        yield Browser(driver, downloads)
    finally:
        driver.quit()
