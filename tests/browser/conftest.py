"""Real services, the real dashboard, a real Chromium. One cluster serves all browser tests.

The browser is kept for a file, not the session: while playwright runs, its event loop runs in this thread and
no asyncio test could.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Locator, Page, Playwright, expect, sync_playwright

from boraflow.client.models import Run
from tests.conftest import missing
from tests.support.cluster import Cluster, eventually

HERE = Path(__file__).parent
SHOTS = HERE / "screenshots"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=20_000)


def chromium() -> str:
    """Return where Chromium is; without one, skip or (on CI) fail."""
    named = os.environ.get("BORAFLOW_TEST_CHROMIUM")
    for name in [named] if named else ["chromium", "chromium-browser", "google-chrome"]:
        if found := shutil.which(name):
            return found
    missing("Chromium (apt install chromium)")
    raise AssertionError


class Stack:
    """The services with the dashboard, and what tests do to them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client = cluster.client

    @property
    def base(self) -> str:
        """Address of the dashboard."""
        return f"http://{self.cluster.addresses['ui']}"

    def url(self, page: str = "", **params: Any) -> str:
        """Return the address of a page."""
        return f"{self.base}/{page}" + (f"?{urlencode(params)}" if params else "")

    def start_ui(self) -> None:
        """Start the dashboard and wait until it answers."""
        self.cluster.start("ui")

        def healthy() -> bool:
            with contextlib.suppress(OSError):
                return (
                    urllib.request.urlopen(f"{self.base}/_stcore/health", timeout=2).status == 200
                )
            return False

        eventually(healthy, "the dashboard answers", 60)

    def run(self, dag_id: str, conf: dict[str, Any] | None = None) -> Run:
        """Trigger a run and wait for its end."""
        return self.cluster.run(dag_id, conf)

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> Run:
        """Trigger a run."""
        return self.client.runs.trigger(dag_id, conf=conf).run


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    made = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
    yield made
    made.close()


@contextlib.contextmanager
def served() -> Iterator[Stack]:
    """Serve the DAGs of ``dags/`` with a dashboard."""
    chromium()
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(slots=4, environ={"WATCHED_FOLDER": folder}) as cluster,
    ):
        for source in (HERE / "dags").glob("*.py"):
            cluster.write_dag(source.name, source.read_text())
        made = Stack(cluster)
        pictures = cluster.home / "pictures"
        pictures.mkdir()
        cluster.environ["BORAFLOW_UI_PICTURES_FOLDER"] = str(pictures)
        made.start_ui()
        for dag_id in ("orders", "wide", "retries"):
            cluster.wait_for_dag(dag_id)
        yield made


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with served() as made:
        yield made


class Watched:
    """A page, with what went wrong in it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        self.foreign: list[str] = []
        self.documents = 0
        page.on("console", self._console)
        page.on(
            "pageerror", lambda error: self.troubles.append(f"page error: {error.stack or error}")
        )
        page.on("request", self._request)
        self._base = base

    def _console(self, message: Any) -> None:
        # The browser says so of every socket that a page leaves while it is still being opened.
        left = "WebSocket is closed before the connection is established" in message.text
        if message.type in ("error", "warning") and not left:
            self.troubles.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if request.resource_type == "document":
            self.documents += 1
        if not request.url.startswith((self._base, "data:", "blob:")):
            self.foreign.append(request.url)


@pytest.fixture
def watched(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A fresh browser tab; the test fails when the console or the network shows something wrong.

    ``@pytest.mark.parametrize("watched", ["dark"], indirect=True)`` makes a dark one.
    """
    scheme: Literal["light", "dark"] = getattr(request, "param", "light")
    context = browser.new_context(
        viewport={"width": 1440, "height": 900},
        color_scheme=scheme,
        timezone_id="Asia/Seoul",
        locale="en-GB",
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    made = Watched(page, stack.base)
    yield made
    failed = getattr(request.node, "failed", False)
    if failed:
        SHOTS.mkdir(exist_ok=True)
        print(stack.cluster.log_tail("ui"))
        with contextlib.suppress(Exception):
            page.screenshot(path=SHOTS / f"failed-{request.node.name}.png")
    context.close()
    if not failed:
        assert made.foreign == []
        assert made.troubles == []


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]


def shoot(page: Page, name: str) -> None:
    """Keep a picture of a page, for people to look at."""
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def heading(page: Page) -> Locator:
    """Return the head of a page."""
    return page.locator(".head h1").first


def row(page: Page, text: str) -> Locator:
    """Return the table row that has a link with exactly this text."""
    return page.locator("tbody tr").filter(has=page.get_by_role("link", name=text, exact=True))


def go(page: Page, stack: Stack, where: str = "", **params: Any) -> None:
    """Go to a page as a click on a link to it does: in the same session."""
    page.evaluate(
        """(to) => {
            window.boraflow.push({}, "", to);
            window.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
        }""",
        stack.url(where, **params),
    )


def address(page: Page) -> str:
    """Return where the page is now (playwright does not notice moves within it)."""
    return str(page.evaluate("location.pathname + location.search"))


def until(question: Any, what: str, timeout: float = 20.0) -> Any:
    """Ask until the answer is true."""
    deadline = time.monotonic() + timeout
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)
    return answer
