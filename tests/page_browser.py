"""A tab of Chromium with a page opened from a file, for the tests of the report's page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync")

PATIENCE = 30
"""Seconds that a busy machine may take for what takes a moment."""


def missing(what: str):
    if os.environ.get("SPECTRA_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{what}, and SPECTRA_REQUIRE_BROWSER=1 says that the page must be tested")
    pytest.skip(f"{what}: the page is not tested in a browser")


@contextmanager
def chromium() -> Iterator:
    """A headless browser; without one the tests are skipped, or fail where the environment asks for one."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        missing("no Chromium is installed (Debian: apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed (pip install playwright)")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found[0], args=list(FLAGS))
        yield running
        running.close()


class Tab:
    """A page that was opened from a file, offline, and everything it did that it must not do."""

    def __init__(self, browser, path: Path, width: int = 1400, height: int = 900):
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="light", offline=True
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.trouble: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.trouble.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: request.url != path.as_uri() and self.trouble.append(request.url))
        self.page.goto(path.as_uri())

    def js(self, code: str, argument=None):
        return self.page.evaluate(code, argument)

    def until(self, condition: str) -> None:
        """Wait for what comes with a delay. Playwright's own waiting needs `eval`, which the page's policy forbids."""
        for _ in range(PATIENCE * 20):
            if self.js(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"after {PATIENCE} s still not: {condition}")

    def show(self, chart: str) -> dict[str, float]:
        """Bring a chart into the window and say where: a page that still moves hides what stands under the pointer."""
        self.page.locator(chart).scroll_into_view_if_needed()
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.page.locator(chart).bounding_box()

    def reload_seconds(self) -> tuple[float, float]:
        """Seconds until the page is loaded anew, and those of the processor that its main thread took for it."""
        session = self.context.new_cdp_session(self.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.page.reload()
        metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        wall = self.js("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
        return wall, metrics["TaskDuration"]

    def rows(self) -> list[str]:
        return self.js("[...document.querySelectorAll('#rows .opener')].map((node) => node.title)")

    def column(self, key: str) -> list[str]:
        at = self.js(
            "(key) => [...document.querySelectorAll('#head th')].findIndex((th) => th.dataset.key === key)", key
        )
        return self.js(
            "(at) => [...document.querySelectorAll('tr.layer')].map((row) => row.children[at].textContent)", at
        )

    def open(self, name: str):
        self.page.locator(f'.opener[title="{name}"]').click()
        return self.page.locator("tr.details .panel").last

    def data(self, chart: str) -> list[list]:
        """What a chart draws, by its selector."""
        return self.js(
            "(chart) => document.querySelector(chart).plot.data.map((v) => Array.from(v, (x) => x ?? null))", chart
        )

    def tip(self) -> str:
        return self.page.locator("#tip").inner_text() if self.page.locator("#tip").is_visible() else ""
