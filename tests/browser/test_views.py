"""A view is an address: chosen by clicks, copied, and opened cold by somebody else, it is the same view."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from boraflow.client.models import Run
from tests.browser.conftest import Stack, Watched, address, go, heading, until

#: What tells a view from another: words (in order, without what grows by itself) and numbers (where a picture stands).
_VIEW = """() => {
  const words = [], numbers = [];
  const visit = (root) => {
    for (const el of root.querySelectorAll('*')) {
      if (el.shadowRoot) visit(el.shadowRoot);
      if (!el.checkVisibility()) continue;
      const text = el.getAttribute('aria-label') ?? el.textContent.replace(/\\s+/g, ' ').trim();
      if (el.matches('h1, .tabs a.on, .pills a.on, .pills button.on, .pick a.on, .squares a.on, [aria-pressed=true]')) words.push(text);
      else if (el.matches('.filters input, .search input, select')) words.push(`${text}=${el.value}`);
      else if (el.matches('tbody tr')) words.push([...el.querySelectorAll('a')].map((a) => a.getAttribute('href')).join(' '));
      else if (el.matches('.g-label, .df-line, .gt-axis span, .cal-months span, .ch-title, .attempt b, .valuehead code')) words.push(text);
      else if (el.matches('.gr-node')) words.push(`${text} ${el.classList.contains('hit')}`);
      else if (el.matches('.log-scroll')) words.push(`${el.matches('.wrapping')} ${!!el.querySelector('mark')} ${el.querySelectorAll('.l1').length > 0}`);
      else if (el.matches('.gr-svg > g')) numbers.push(...(el.getAttribute('transform') ?? '0').match(/-?[\\d.]+/g).map(Number));
    }
  };
  visit(document);
  return [words, numbers];
}"""


#: Views that one parameter says.
PLAIN = ("code", "Durations", "Details", "run: Graph", "Why", "Attempts")


@dataclass
class View:
    """A view that was chosen, and what was seen of it."""

    name: str
    address: str
    words: list[str]
    numbers: list[float]


def seen(page: Page) -> tuple[list[str], list[float]]:
    words, numbers = page.evaluate(_VIEW)
    return words, numbers


def same(page: Page, view: View) -> bool:
    """Return whether a page shows a view: the same words, pictures within two pixels."""
    words, numbers = seen(page)
    return (
        words == view.words
        and len(numbers) == len(view.numbers)
        and all(abs(a - b) <= 2 for a, b in zip(numbers, view.numbers, strict=True))
    )


def settled(page: Page) -> tuple[list[str], list[float]]:
    """Wait until nothing of the view changes any more, and return it."""
    last: list[Any] = []

    def quiet() -> bool:
        page.wait_for_function(
            "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
        )
        last.append((address(page), seen(page)))
        # A graph without a place is not drawn yet.
        return len(last) > 1 and last[-1] == last[-2] and last[-1][1][1] != [0]

    until(quiet, f"{address(page)} is drawn")
    return last[-1][1]


@dataclass
class History:
    """Runs that the views below show."""

    shapes: list[Run]
    retries: Run
    many: Run


@pytest.fixture(scope="module")
def history(stack: Stack) -> History:
    begun = [stack.trigger(d) for d in ("shapes", "shapes", "retries", "many", "pushes")]
    ended = [stack.client.runs.wait(r.dag_id, r.run_id, timeout=60) for r in begun]
    return History(ended[:2], ended[2], ended[3])


def tab(page: Page, name: str) -> None:
    link = page.locator(".tabs").get_by_role("link", name=re.compile(f"^{name}( [0-9]+)?$"))
    link.click()
    expect(link).to_have_attribute("aria-current", "page")


def pill(page: Page, name: str | re.Pattern[str]) -> None:
    link = page.locator(".pills:visible").get_by_role("link", name=name)
    link.click()
    expect(link).to_have_attribute("aria-current", "true")


def views(page: Page, stack: Stack, history: History) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each view with the clicks that choose it."""
    shapes, retries, many = history.shapes[0].run_id, history.retries.run_id, history.many.run_id

    def dags() -> None:
        go(page, stack, "dags")
        page.locator(".filters").get_by_role("link", name=re.compile("^forms")).click()
        pill(page, re.compile("^Active"))
        page.get_by_label("Find a DAG").fill("with")
        until(lambda: "q=with" in address(page), "the search")

    yield "DAGs: tag, active ones, search", dags

    def grid() -> None:
        go(page, stack, "dag", dag_id="shapes")
        page.get_by_role("button", name="Fold checks").click()
        pill(page, "10 runs")

    yield "grid: a folded group, ten runs", grid

    def graph() -> None:
        tab(page, "Graph")
        page.get_by_label(f"Show {shapes}").click()
        page.get_by_label("Fold checks").click()
        expect(page.locator(".gr-node")).to_have_count(4)
        page.get_by_label("Find a task").fill("numbers")
        for _ in range(2):
            page.get_by_role("button", name="Zoom in").click()
        until(lambda: "at=" in address(page) and "find=numbers" in address(page), "the place")

    yield "graph: a run, a folded group, a task that was found, a place", graph

    def gantt() -> None:
        tab(page, "Gantt")
        page.get_by_label(f"Show {shapes}").click()
        page.get_by_role("button", name="Zoom in").click()
        until(lambda: "zoom=" in address(page), "the stretch")

    yield "Gantt: a run, a stretch of it", gantt

    def runs() -> None:
        tab(page, "Runs")
        pill(page, "Success")
        page.get_by_label(re.compile("^Find a run")).fill(shapes)
        until(lambda: "&q=" in address(page), "the search")

    yield "runs: a state, a search", runs

    def calendar() -> None:
        tab(page, "Calendar")
        page.locator(".pills:visible a").nth(1).click()

    yield "calendar: a year", calendar

    def day() -> None:
        pill(page, "Last 12 months")
        page.locator("a.cal-day").last.click()

    yield "runs: a day", day
    for name in ("Durations", "Details"):
        yield f"DAG: {name}", lambda name=name: tab(page, name)

    def code() -> None:
        tab(page, "Code")

    yield "code", code

    def tasks() -> None:
        go(page, stack, "run", dag_id="many", run_id=many)
        pill(page, re.compile("^Failed"))

    yield "run: a state", tasks

    def instances() -> None:
        page.get_by_role("link", name="one", exact=True).click()
        page.get_by_label(re.compile("^A number or a name")).fill("shop 25")
        until(lambda: "q=shop" in address(page), "the search")

    yield "instances: a state, a name", instances

    def instance() -> None:
        page.locator("tbody tr a").first.click()

    yield "an instance of a mapped task", instance
    for name in ("Graph", "Details"):

        def one(name: str = name) -> None:
            if name == "Graph":
                go(page, stack, "run", dag_id="shapes", run_id=shapes)
            tab(page, name)

        yield f"run: {name}", one

    def log() -> None:
        go(page, stack, "task", dag_id="retries", run_id=retries, task_id="flaky")
        page.get_by_role("link", name="Try 1", exact=True).click()
        expect(page.locator(".log-scroll")).to_contain_text("this is try 1")
        page.get_by_label("Search this log").fill("try")
        page.get_by_role("button", name="Info").click()
        page.get_by_role("button", name="Wrap").click()

    yield "log: a try, a search, a level, wrapped", log

    def beside() -> None:
        pill(page, re.compile("^Beside Try 3"))
        expect(page.locator(".log-scroll")).to_have_count(2)
        page.get_by_label("Search this log").first.fill("3")

    yield "log: another try beside it, with a search of its own", beside
    for name in ("Why", "Attempts"):
        yield f"task: {name}", lambda name=name: tab(page, name)

    def filled(where: str, label: str, text: str) -> Callable[[], None]:
        def choose() -> None:
            go(page, stack, where)
            page.get_by_label(re.compile(f"^{label}")).fill(text)
            until(lambda: f"={text}" in address(page), "the search")

        return choose

    yield "assets: a search", filled("assets", "Find an asset", "sal")
    yield (
        "one asset",
        lambda: page.locator("tbody").get_by_role("link", name="sales", exact=True).click(),
    )
    yield "dependencies: a search", filled("dependencies", "Find a DAG or an asset", "tidy")
    yield "variables: a search", filled("variables", "Find a variable", "reg")
    yield "audit log: a search", filled("audit", "Find an action", "trigger")
    for where, choice in (
        ("questions", "Answered and ended too"),
        ("executors", "Also those that ended"),
        ("metrics", "Newest 50 runs"),
    ):

        def chosen(where: str = where, choice: str = choice) -> None:
            go(page, stack, where)
            pill(page, choice)

        yield f"{where}: {choice}", chosen


def test_an_address_is_the_whole_view(
    watched: Watched, browser: Browser, stack: Stack, history: History
) -> None:
    page = watched.page
    page.goto(stack.url("dags"))
    expect(heading(page)).to_be_visible()
    found: list[View] = []
    for name, choose in views(page, stack, history):
        before = address(page)
        choose()
        until(lambda before=before: address(page) != before, f"{name} has an address of its own")
        words, numbers = settled(page)
        found.append(View(name, address(page), words, numbers))
        if name == "runs: a day":
            back_and_forth(page, found)
    assert len({v.address for v in found}) == len(found)
    other = browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="Asia/Seoul", locale="en-GB"
    )
    # A few at a time: a cold page is mostly waiting. The plain tabs are one parameter: they are gone to in those pages.
    tabs = [other.new_page() for _ in range(5)]
    wrong = []
    cold = [v for v in found if not v.name.endswith(PLAIN)]
    for part in [cold[i : i + len(tabs)] for i in range(0, len(cold), len(tabs))]:
        for one, view in zip(tabs, part, strict=False):
            one.goto(stack.base + view.address, wait_until="commit")
        for one, view in zip(tabs, part, strict=False):
            wrong += differences(one, view)
    for view in found:
        if view.name.endswith(PLAIN):
            go(tabs[0], stack, view.address.lstrip("/"))
            wrong += differences(tabs[0], view)
    other.close()
    assert not wrong, "\n".join(wrong)


def differences(page: Page, view: View) -> list[str]:
    try:
        until(lambda: same(page, view), view.name, 60)
    except AssertionError:
        return [f"{view.name} ({view.address}):\n  {view.words, view.numbers}\n  {seen(page)}"]
    return []


def back_and_forth(page: Page, found: list[View]) -> None:
    """Go back through the tabs of a DAG and their choices, and forward to the newest."""
    at = {v.address: v for v in found}
    passed = set()
    for _ in range(9):
        page.go_back(wait_until="commit")
        if view := at.get(address(page)):
            until(lambda view=view: same(page, view), f"back to {view.name}")
            passed.add(view.name)
    assert len(passed) >= 4, passed
    page.evaluate("history.go(9)")
    until(lambda: same(page, found[-1]), f"forward to {found[-1].name}")
