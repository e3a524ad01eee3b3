"""Pages follow what happens, logs run, outages are said and pass."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, WebSocket, expect

from tests.browser.conftest import Stack, Watched, heading, row, shoot, until
from tests.support.cluster import eventually


def test_states_arrive_by_themselves(watched: Watched, stack: Stack, tmp_path: Path) -> None:
    page = watched.page
    stop = tmp_path / "stop"
    page.goto(stack.url("dag", dag_id="talker"))
    expect(heading(page)).to_have_text("talker")
    run = stack.trigger("talker", {"stop": str(stop)})
    cell = page.locator(".g-row", has_text="talk").locator(".g-cells i").last
    expect(cell).to_have_attribute("data-s", "running")
    page.goto(stack.url("run", dag_id="talker", run_id=run.run_id))
    expect(row(page, "talk").locator(".state")).to_have_text("running")
    expect(row(page, "last").locator(".state")).to_have_text("no state yet")
    page.evaluate("window.sameDocument = true")
    stop.touch()
    expect(row(page, "last").locator(".state")).to_have_text("success")
    expect(page.locator(".head .state").first).to_have_text("success")
    assert page.evaluate("window.sameDocument") is True


def test_what_was_drawn_is_not_asked_for_again(page: Page, stack: Stack) -> None:
    run = stack.run("shapes")
    asked: list[str] = []
    versions: list[int] = []

    def listen(socket: WebSocket) -> None:
        if urlsplit(socket.url).path.endswith("/live"):
            socket.on("framereceived", lambda text: versions.append(json.loads(text)["version"]))
        else:
            socket.on("framesent", lambda _: asked.append(socket.url))

    drawn = """async () => {
      const base = document.querySelector('link[href$="/base.js"]').href;
      return (await import(base)).panel.version;
    }"""
    page.on("websocket", listen)
    page.clock.install()
    page.goto(stack.url("dag", dag_id="shapes"))
    expect(heading(page)).to_have_text("shapes")
    # What the socket brings is handed over while the page is asked something.
    until(lambda: page.evaluate("1") and versions, "the first version")
    stack.client.runs.set_note("shapes", run.run_id, "seen")
    until(lambda: page.evaluate("1") and len(versions) > 1, "the change")
    for _ in range(5):
        until(lambda: page.evaluate(drawn) >= versions[-1], "what changed is drawn")
        before, known = len(asked), len(versions)
        page.clock.run_for(5000)
        page.evaluate("1")
        if len(versions) == known:
            break
    assert len(asked) == before


def test_a_log_is_followed_while_it_is_written(page: Page, stack: Stack, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    run = stack.trigger("talker", {"stop": str(stop)})
    page.goto(stack.url("task", dag_id="talker", run_id=run.run_id, task_id="talk"))
    lines = page.locator(".log-line")
    expect(lines.filter(has_text=re.compile(r"line \d+")).first).to_be_visible()
    expect(page.locator(".logstatus")).to_have_text("live")

    def newest() -> int:
        found = re.findall(r"line (\d+)", page.locator(".log-scroll").inner_text())
        return max(map(int, found), default=0)

    first = until(newest, "a line")
    until(lambda: newest() > first + 20, "lines that come by themselves")
    shoot(page, "log-live")
    # Read above, and the log stays where it is read.
    page.get_by_role("button", name="Follow").click()
    page.locator(".log-scroll").evaluate("el => el.scrollTop = 0")
    expect(lines.filter(has_text="careful, this is a warning")).to_be_visible()
    page.wait_for_timeout(600)
    expect(lines.filter(has_text="careful, this is a warning")).to_be_visible()
    expect(lines.filter(has_text="green and plain")).to_be_visible()
    stop.touch()
    expect(page.locator(".head .state").first).to_have_text("success")
    expect(page.locator(".logstatus")).to_contain_text("lines")
    page.get_by_role("button", name="Warnings").click()
    expect(lines.filter(has_text=re.compile("this is an error"))).to_be_visible()
    expect(lines.filter(has_text="careful")).to_be_visible()
    expect(lines.filter(has_text=re.compile(r"INFO.*line"))).to_have_count(0)
    page.get_by_role("button", name="All").click()
    page.get_by_label("Search this log").fill("line 7")
    expect(page.locator(".log-line mark").first).to_be_visible()
    expect(page.locator(".log-tools")).to_contain_text(re.compile(r"\d+/\d+"))


def test_a_long_log_opens_at_its_end_and_reads_back(page: Page, stack: Stack) -> None:
    run = stack.run("long_log")
    page.goto(stack.url("task", dag_id="long_log", run_id=run.run_id, task_id="write"))
    expect(page.locator(".log-line").filter(has_text="row 059999").first).to_be_visible()
    # Only what is in sight is in the page.
    assert page.locator(".log-line").count() < 200
    scroll = page.locator(".log-scroll")

    def back() -> bool:
        scroll.evaluate("el => el.scrollTop = 0")
        page.wait_for_timeout(100)
        return page.locator(".log-line").filter(has_text="row 000000").count() > 0

    until(back, "the first line")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    text = Path(download.value.path()).read_text()
    assert sum(line.endswith("with some words in it") for line in text.splitlines()) == 60_000


def test_why_a_task_waits(page: Page, stack: Stack, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    run = stack.trigger("talker", {"stop": str(stop)})
    try:
        page.goto(stack.url("task", dag_id="talker", run_id=run.run_id, task_id="last"))
        expect(page.locator(".conditions .unmet").first).to_contain_text("talk")
        shoot(page, "why")
    finally:
        stop.touch()
    expect(page.locator(".head .state").first).to_have_text("success")


def test_home_counts_what_runs(page: Page, stack: Stack, tmp_path: Path) -> None:
    page.goto(stack.url())
    tile = page.locator("a.tile", has_text="Tasks running").locator(".value")
    expect(tile).to_have_text("0")
    stop = tmp_path / "stop"
    run = stack.trigger("talker", {"stop": str(stop)})
    try:
        expect(tile).to_have_text("1")
        expect(row(page, run.run_id)).to_contain_text("running")
    finally:
        stop.touch()
    expect(tile).to_have_text("0")


def test_without_a_scheduler(watched: Watched, stack: Stack) -> None:
    page = watched.page
    page.goto(stack.url("dag", dag_id="orders"))
    expect(heading(page)).to_have_text("orders")
    stack.cluster.kill("scheduler")
    try:
        expect(page.locator(".banner")).to_contain_text("No scheduler is leading")
        shoot(page, "no-scheduler")
        page.get_by_role("button", name="Trigger").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Trigger").click()
        expect(dialog.get_by_role("alert")).to_contain_text(
            re.compile("scheduler", re.IGNORECASE), timeout=60_000
        )
        page.keyboard.press("Escape")
    finally:
        stack.cluster.start("scheduler")
    expect(page.locator(".banner")).to_be_hidden(timeout=40_000)
    eventually(lambda: stack.client.system.state().has_leader, "a leader", 40)


def test_without_a_metastore(watched: Watched, stack: Stack) -> None:
    page = watched.page
    stack.run("orders")
    page.goto(stack.url("dags"))
    expect(row(page, "orders")).to_be_visible()
    stack.cluster.kill("metastore")
    try:
        expect(page.locator(".banner")).to_contain_text("does not answer")
        expect(row(page, "orders")).to_be_visible()
        shoot(page, "no-metastore")
        # A page that was not seen before says so, and fills itself later.
        page.goto(stack.url("dag", dag_id="long_log", tab="runs", state="queued"))
        expect(page.locator(".banner")).to_contain_text("does not answer")
    finally:
        stack.cluster.start("metastore")
    expect(page.locator(".banner")).to_be_hidden(timeout=40_000)
    expect(heading(page)).to_have_text("long_log")
    stack.cluster.wait_ready()
    # It follows again.
    page.goto(stack.url("dag", dag_id="orders"))
    run = stack.run("orders")
    page.locator(".tabs").get_by_role("link", name="Runs").click()
    expect(row(page, run.run_id)).to_contain_text("success")


def test_the_dashboard_itself_starts_again(watched: Watched, stack: Stack, tmp_path: Path) -> None:
    page = watched.page
    stop = tmp_path / "stop"
    run = stack.trigger("talker", {"stop": str(stop)})
    page.goto(stack.url("run", dag_id="talker", run_id=run.run_id))
    expect(row(page, "talk").locator(".state")).to_have_text("running")
    stack.cluster.kill("ui")
    stop.touch()
    stack.start_ui()
    expect(row(page, "last").locator(".state")).to_have_text("success", timeout=60_000)
    # The browser itself tells of the sockets that broke.
    watched.troubles.clear()


def test_many_tabs_follow(watched: Watched, stack: Stack) -> None:
    page = watched.page
    # More than the six connections that a browser keeps to a server: sockets do not count as such.
    tabs = [page, *(page.context.new_page() for _ in range(6))]
    for tab in tabs:
        tab.goto(stack.url("dag", dag_id="orders"), wait_until="commit")
    for tab in tabs:
        expect(heading(tab)).to_have_text("orders")
    run = stack.run("orders")
    for tab in tabs:
        tab.bring_to_front()
        expect(tab.locator(f'.g-bars a[aria-label^="Run {run.run_id}"]')).to_have_attribute(
            "data-s", "success"
        )
