"""What people press does what it says, on the real services."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, expect

from boraflow.model.states import RunType
from tests.browser.conftest import Stack, Watched, address, go, heading, row, shoot, until


def test_pause_and_unpause(page: Page, stack: Stack) -> None:
    page.goto(stack.url("dags", q="retries"))
    switch = row(page, "retries").get_by_role("switch")
    expect(switch).to_have_attribute("aria-checked", "true")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    until(lambda: stack.client.dags.get("retries").paused, "the DAG is paused")
    row(page, "retries").get_by_role("link", name="retries", exact=True).click()
    expect(page.locator(".head .badge", has_text="paused")).to_be_visible()
    page.get_by_role("button", name="Unpause").click()
    until(lambda: not stack.client.dags.get("retries").paused, "the DAG is active again")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()


def test_trigger_with_a_form(page: Page, stack: Stack) -> None:
    page.goto(stack.url("dag", dag_id="with_params"))
    page.get_by_role("button", name="Trigger").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Row limit")).to_have_value("10")
    expect(dialog.get_by_label("target")).to_have_value("warehouse")
    shoot(page, "trigger")
    dialog.get_by_label("target").fill("no")
    dialog.get_by_label("target").press("Tab")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog.get_by_role("alert")).to_contain_text("target")
    dialog.get_by_label("target").fill("lake")
    dialog.get_by_label("Row limit").fill("25")
    dialog.get_by_label("Row limit").press("Tab")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog).to_be_hidden()
    expect(heading(page)).to_contain_text("manual__")
    run_id = heading(page).inner_text()
    run = stack.client.runs.wait("with_params", run_id, timeout=60)
    assert run.state == "success"
    given = stack.cluster.xcom(run, "show")
    assert given == {
        "day": "2026-01-31",
        "limit": 25,
        "mode": "append",
        "dry": False,
        "note": None,
        "target": "lake",
    }
    expect(page.locator(".head .state").first).to_have_text("success")


def test_trigger_with_json(page: Page, stack: Stack) -> None:
    page.goto(stack.url("dags", q="with_params"))
    row(page, "with_params").get_by_role("button", name="Trigger with_params").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("JSON", exact=True).click()
    text = dialog.get_by_label("Configuration (a JSON object)")
    text.fill('{"limit": ')
    text.press("Control+Enter")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Not valid JSON")
    text.fill('{"limit": 7000}')
    text.press("Control+Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("7000")
    text.fill(json.dumps({"limit": 7, "target": "json"}))
    text.press("Control+Enter")
    dialog.get_by_role("button", name="Trigger").click()
    expect(heading(page)).to_contain_text("manual__")
    run = stack.client.runs.wait("with_params", heading(page).inner_text(), timeout=60)
    assert stack.cluster.xcom(run, "show")["limit"] == 7


def test_a_trigger_is_tried_dry(page: Page, stack: Stack) -> None:
    before = len(stack.client.runs.list("with_params").items)
    page.goto(stack.url("dag", dag_id="with_params"))
    page.get_by_role("button", name="Trigger").click()
    dialog = page.get_by_role("dialog")
    # In the order in which they are declared.
    for _ in range(50):
        labels = dialog.locator("[data-testid=stWidgetLabel]").all_inner_texts()
        named = [n for n in labels if n in ("day", "Row limit", "mode", "target")]
        if len(named) == 4:
            break
        page.wait_for_timeout(100)
    assert named == ["day", "Row limit", "mode", "target"]
    dialog.get_by_role("button", name="Dry run").click()
    expect(dialog).to_contain_text("It would be accepted as manual__")
    shoot(page, "trigger-dry")
    assert len(stack.client.runs.list("with_params").items) == before


def test_many_dags_at_once(page: Page, stack: Stack) -> None:
    page.goto(stack.url("dags"))
    for dag_id in ("retries", "shapes"):
        page.get_by_label(f"Select {dag_id}", exact=True).check()
    expect(page.locator(".bulk")).to_contain_text("2 selected")
    shoot(page, "bulk")
    page.locator(".bulk").get_by_role("button", name="Pause", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("retries")
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog).to_be_hidden()
    until(
        lambda: all(stack.client.dags.get(d).paused for d in ("retries", "shapes")),
        "both are paused",
    )
    expect(row(page, "shapes").get_by_role("switch")).to_have_attribute("aria-checked", "false")
    for dag_id in ("retries", "shapes"):
        stack.client.dags.unpause(dag_id)


def test_a_failure_is_dealt_with(page: Page, stack: Stack) -> None:
    run = stack.run("broken_source")
    page.goto(stack.url())
    item = page.locator(".attention li", has_text="broken_source")
    expect(item).to_contain_text("the source source.txt is not there")
    item.get_by_role("button", name="Dealt with").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("the shop was closed")
    dialog.get_by_role("textbox").press("Control+Enter")
    dialog.get_by_role("button", name="Keep the note").click()
    expect(dialog).to_be_hidden()
    expect(item).to_be_hidden()
    assert stack.client.runs.get("broken_source", run.run_id).note == "the shop was closed"


def test_a_backfill_from_its_plan_to_its_end(page: Page, stack: Stack) -> None:
    page.goto(stack.url("dag", dag_id="orders", tab="backfills"))
    expect(page.get_by_text("No backfill")).to_be_visible()
    page.get_by_role("button", name="Backfill").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".date").first).to_be_visible()
    # The last of the seven days has a run already when its own is the newest that is due: before six.
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    scheduled = stack.client.runs.list("orders", run_types=[RunType.SCHEDULED]).items
    taken = sum(
        today - timedelta(days=7) <= run.logical_time < today
        for run in scheduled
        if run.logical_time
    )
    expect(dialog).to_contain_text(f"{7 - taken} runs would be created")
    shoot(page, "backfill")
    dialog.get_by_role("button", name="Create the backfill").click()
    expect(dialog).to_be_hidden()
    line = page.locator("tbody tr").first
    expect(line.locator(".state")).to_have_text("completed", timeout=40_000)
    expect(line).to_contain_text(f"{7 - taken}/{7 - taken}")
    shoot(page, "backfills")
    backfill = stack.client.backfills.list("orders").items[0]
    assert backfill.run_counts == {"success": 7 - taken}


def test_what_the_scheduler_refuses_is_said(page: Page, stack: Stack) -> None:
    run = stack.run("orders")
    page.goto(stack.url("dag", dag_id="orders"))
    page.get_by_role("button", name="Trigger").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("More: run id, date, note").click()
    dialog.get_by_label("Run id").fill(run.run_id)
    dialog.get_by_label("Run id").press("Tab")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog.get_by_role("alert")).to_contain_text(run.run_id)
    dialog.get_by_role("button", name="Close", exact=True).last.click()
    expect(dialog).to_be_hidden()


def test_clear_a_failed_task_after_its_cause_is_gone(
    page: Page, stack: Stack, tmp_path: Path
) -> None:
    flag = tmp_path / "source.txt"
    run = stack.run("broken_source", {"flag": str(flag)})
    assert run.state == "failed"
    flag.write_text("here")
    page.goto(stack.url("task", dag_id="broken_source", run_id=run.run_id, task_id="read"))
    page.get_by_role("button", name="Clear").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 task instances")
    expect(dialog.locator("tbody tr")).to_have_count(2)
    shoot(page, "clear")
    dialog.get_by_role("button", name="Clear 2").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".head .state").first).to_have_text("success")
    assert stack.client.runs.wait("broken_source", run.run_id, timeout=60).state == "success"


def test_clear_only_what_failed_of_a_run(page: Page, stack: Stack, tmp_path: Path) -> None:
    flag = tmp_path / "source.txt"
    run = stack.run("broken_source", {"flag": str(flag)})
    flag.write_text("here")
    page.goto(stack.url("run", dag_id="broken_source", run_id=run.run_id))
    page.get_by_role("button", name="Clear failed").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Clear 2").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".head .state").first).to_have_text("success")


def test_mark_a_task(page: Page, stack: Stack) -> None:
    run = stack.run("broken_source")
    page.goto(stack.url("run", dag_id="broken_source", run_id=run.run_id))
    row(page, "read").get_by_role("button", name="Mark read").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 task instances")
    # What failed because of it gets another chance.
    lines = dialog.locator("tbody tr")
    expect(lines.filter(has_text="read")).to_contain_text("success")
    expect(lines.filter(has_text="after")).to_contain_text("runs again")
    shoot(page, "mark")
    dialog.get_by_role("button", name="Mark success").click()
    expect(dialog).to_be_hidden()
    expect(row(page, "read").locator(".state")).to_have_text("success")
    assert (
        stack.client.tasks.get("broken_source", run.run_id, "read").task_instance.state == "success"
    )


def test_cancel_a_run(page: Page, stack: Stack, tmp_path: Path) -> None:
    run = stack.trigger("talker", {"stop": str(tmp_path / "stop")})
    page.goto(stack.url("run", dag_id="talker", run_id=run.run_id))
    expect(row(page, "talk").locator(".state")).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("task instance")
    dialog.get_by_role("button", name="Cancel the run").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".head .state").first).to_have_text("failed")
    assert stack.client.runs.wait("talker", run.run_id, timeout=60).state == "failed"


def test_a_note_is_kept(page: Page, stack: Stack) -> None:
    run = stack.run("orders")
    page.goto(stack.url("run", dag_id="orders", run_id=run.run_id))
    page.get_by_role("button", name="Note").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("looked at by the on-call <b>engineer</b>")
    dialog.get_by_role("textbox").press("Control+Enter")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".head .lead")).to_have_text("looked at by the on-call <b>engineer</b>")
    # The walk through all pages in Korean, on the same services, takes it for a sentence of ours.
    stack.client.runs.set_note("orders", run.run_id, "")


def test_one_entry_in_the_history_for_each_step(watched: Watched, stack: Stack) -> None:
    page = watched.page
    run = stack.run("orders")
    page.goto(stack.url("dags"))
    row(page, "orders").get_by_role("link", name="orders", exact=True).click()
    expect(heading(page)).to_have_text("orders")
    page.locator(".tabs").get_by_role("link", name="Runs").click()
    row(page, run.run_id).get_by_role("link", name=run.run_id).click()
    expect(heading(page)).to_have_text(run.run_id)
    row(page, "extract").get_by_role("link", name="extract").click()
    expect(heading(page)).to_have_text("extract")
    page.go_back()
    expect(heading(page)).to_have_text(run.run_id)
    page.go_back()
    expect(heading(page)).to_have_text("orders")
    assert "tab=runs" in address(page)
    page.go_back()
    page.go_back()
    expect(heading(page)).to_have_text("DAGs")
    page.go_forward()
    expect(heading(page)).to_have_text("orders")
    # Also when the reader is quicker than the pages.
    page.evaluate("history.go(2)")
    page.go_back()
    page.go_back()
    page.go_forward()
    expect(heading(page)).to_have_text("orders")
    page.get_by_test_id("stTopNavLink").filter(has_text="Home").click()
    expect(heading(page)).to_have_text("Home")
    page.get_by_test_id("stTopNavLink").filter(has_text="DAGs").click()
    expect(heading(page)).to_have_text("DAGs")
    page.go_back()
    expect(heading(page)).to_have_text("Home")
    page.go_back()
    expect(heading(page)).to_have_text("orders")
    # All of it in one session: the page itself was loaded once.
    assert watched.documents == 1


def test_times_are_utc_with_the_readers_own_on_hover(page: Page, stack: Stack) -> None:
    run = stack.run("orders")
    page.goto(stack.url("run", dag_id="orders", run_id=run.run_id))
    started = page.locator(".head time").first
    shown = started.inner_text()
    assert run.start_time is not None
    assert run.start_time.strftime("%H:%M") in shown
    started.hover()
    tip = page.locator(".tip").first
    expect(tip).to_contain_text("UTC")
    expect(tip).to_contain_text("Asia/Seoul")


def test_a_dialog_stays_with_its_page(page: Page, stack: Stack) -> None:
    page.goto(stack.url("variables"))
    expect(heading(page)).to_have_text("Variables")
    go(page, stack, "pools")
    dialog = page.get_by_role("dialog")
    for leave in (lambda: page.go_back(), lambda: go(page, stack, "variables")):
        page.get_by_role("button", name="New pool").click()
        expect(dialog.get_by_label("Name")).to_be_visible()
        # Streamlit tells that a dialog was closed only when it has faded: by then the reader is elsewhere.
        page.keyboard.press("Escape")
        leave()
        expect(page.get_by_role("button", name="New variable")).to_be_visible()
        page.wait_for_timeout(500)
        expect(page.get_by_role("button", name="New variable")).to_be_visible()
        expect(dialog).to_be_hidden()
        go(page, stack, "pools")
    # Left open, it is not there on another page.
    page.get_by_role("button", name="New pool").click()
    expect(dialog.get_by_label("Name")).to_be_visible()
    go(page, stack, "variables")
    expect(page.get_by_role("button", name="New variable")).to_be_visible()
    expect(dialog).to_be_hidden()


def test_a_double_click_does_it_once(page: Page, stack: Stack) -> None:
    failed = stack.run("broken_source")

    def cleared() -> int:
        return stack.client.runs.get("broken_source", failed.run_id).clear_number

    page.goto(stack.url("run", dag_id="broken_source", run_id=failed.run_id))
    page.get_by_role("button", name="Clear failed").dblclick()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=re.compile(r"^Clear \d")).dblclick()
    expect(dialog).to_be_hidden()
    until(cleared, "the clear")
    stack.client.runs.wait("broken_source", failed.run_id, timeout=60)
    assert cleared() == 1
    # Of many, each once; and the button that says the opposite afterwards is not pressed by the second click.
    before = {d: len(stack.client.runs.list(d).items) for d in ("orders", "shapes")}
    go(page, stack, "dags")
    for dag_id in before:
        page.get_by_label(f"Select {dag_id}", exact=True).check()
    page.get_by_role("toolbar").get_by_role("button", name="Trigger").click()
    dialog.get_by_role("button", name="Trigger").dblclick()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("Trigger: 2 of 2 DAGs changed")).to_be_visible()
    assert {d: len(stack.client.runs.list(d).items) - 1 for d in before} == before
    go(page, stack, "dag", dag_id="orders")
    page.get_by_role("button", name="Pause", exact=True).dblclick()
    unpause = page.get_by_role("button", name="Unpause")
    expect(unpause).to_be_visible()
    assert stack.client.dags.get("orders").paused
    unpause.click()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()


def test_without_a_mouse(page: Page, stack: Stack) -> None:
    run = stack.run("shapes")
    page.goto(stack.url("dag", dag_id="shapes", tab="graph", of=run.run_id))
    expect(page.locator(".gr-node")).to_have_count(5)
    # Into the graph, to the right, and open it.
    page.locator(".gr-svg").focus()
    page.keyboard.press("Enter")
    until(lambda: focused(page), "a task is focused")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert focused(page) in ("numbers", "checks.first")
    before = focused(page)
    page.keyboard.press("ArrowRight")
    after = focused(page)
    assert after in ("square", "checks.second") and after != before
    # Every other task is reached from that one: Tab leaves the graph.
    assert page.locator('.gr-node[tabindex="0"]').count() == 1
    page.keyboard.press("Enter")
    expect(heading(page)).to_have_text(after)
    page.go_back()
    expect(page.locator(".gr-node")).to_have_count(5)
    # The grid: the newest run stands at the right.
    go(page, stack, "dag", dag_id="shapes")
    expect(page.locator(".g-row").first).to_be_visible()
    page.keyboard.press("Tab")
    page.get_by_role("grid", name="States of tasks by run").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".g-cells i.focus")).to_have_count(1)
    # What a screen reader says of the place: the task, the run, the state.
    assert announced(page) == ("gridcell", f"numbers, run {run.run_id}, success")
    page.keyboard.press("End")
    page.keyboard.press("Control+End")
    assert announced(page) == ("gridcell", f"end, run {run.run_id}, success")
    page.keyboard.press("Control+Home")
    page.keyboard.press("End")
    assert announced(page)[1].startswith("numbers, ")
    page.keyboard.press("Enter")
    expect(page.locator(".crumbs")).to_contain_text(run.run_id)
    # Keys that hold everywhere are listed, and do what the list says.
    page.keyboard.press("?")
    listed = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(listed).to_contain_text("Search on this page")
    page.keyboard.press("Escape")
    expect(listed).to_be_hidden()
    page.keyboard.type("gd")
    expect(heading(page)).to_have_text("DAGs")
    page.keyboard.type("/gh")
    expect(page.get_by_label("Find a DAG")).to_have_value("gh")
    page.go_back()
    expect(page.locator(".crumbs")).to_contain_text(run.run_id)


def announced(page: Page) -> tuple[str, str]:
    """Return the role and the name of what the browser tells screen readers is active within the focus."""
    told = page.context.new_cdp_session(page)
    nodes = {n["nodeId"]: n for n in told.send("Accessibility.getFullAXTree")["nodes"]}
    related = [
        r["backendDOMNodeId"]
        for n in nodes.values()
        if any(p["name"] == "focused" and p["value"]["value"] for p in n.get("properties", []))
        for p in n["properties"]
        if p["name"] == "activedescendant"
        for r in p["value"]["relatedNodes"]
    ]
    told.detach()
    assert len(related) == 1, related
    node = next(n for n in nodes.values() if n.get("backendDOMNodeId") == related[0])
    return node["role"]["value"], node["name"]["value"]


def focused(page: Page) -> str:
    """Return the task of a graph that has the focus."""
    said = page.evaluate(
        """() => {
            let at = document.activeElement;
            while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
            return at?.matches('.gr-node') ? at.getAttribute('aria-label') : '';
        }"""
    )
    return str(said).partition(":")[0]
