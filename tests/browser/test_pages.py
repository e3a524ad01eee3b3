"""Each page shows what the services know, opened cold by its link."""

from __future__ import annotations

import base64
import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Stack, address, heading, row, shoot, until


def test_home_says_what_failed_and_what_cannot_be_parsed(page: Page, stack: Stack) -> None:
    failed = stack.run("broken_source")
    assert failed.state == "failed"
    page.goto(stack.url())
    expect(heading(page)).to_have_text("Home")
    expect(page.get_by_text("all services up")).to_be_visible()
    expect(page.get_by_text("cannot_import.py:5")).to_be_visible()
    expect(page.get_by_text("no attribute 'SparkSubmitOperator'").first).to_be_visible()
    item = page.locator(".attention li", has_text="broken_source")
    expect(item).to_contain_text("the source source.txt is not there")
    expect(item).to_contain_text("blocks 1 task")
    expect(item.get_by_role("link", name="Log")).to_be_visible()
    expect(page.locator(".ch-bar i[data-s=failed]").first).to_be_visible()
    tile = page.locator("a.tile", has_text="Failed, last 24 h")
    assert int(tile.locator(".value").inner_text()) >= 1
    expect(page.locator("a.tile", has_text="Worker slots").locator(".value")).to_have_text("0 / 4")
    shoot(page, "home")


def test_dags_can_be_found(page: Page, stack: Stack) -> None:
    page.goto(stack.url("dags"))
    expect(row(page, "orders")).to_be_visible()
    expect(row(page, "wide")).to_be_visible()
    expect(row(page, "orders")).to_contain_text("0 6 * * *")
    shoot(page, "dags")
    page.keyboard.press("/")
    page.keyboard.type("ord")
    expect(row(page, "wide")).to_be_hidden()
    expect(row(page, "orders")).to_be_visible()
    assert "q=ord" in address(page)
    page.get_by_label("Find a DAG").fill("no such thing")
    expect(page.get_by_text("No DAG matches")).to_be_visible()
    page.get_by_role("link", name="All DAGs").click()
    expect(row(page, "wide")).to_be_visible()
    page.locator(".filters").get_by_role("link", name=re.compile("^forms")).click()
    expect(row(page, "with_params")).to_be_visible()
    expect(row(page, "orders")).to_be_hidden()


def test_a_search_can_be_sent_to_a_colleague(page: Page, stack: Stack) -> None:
    page.goto(stack.url("dags", q="tal", tag="live"))
    expect(row(page, "talker")).to_be_visible()
    expect(row(page, "orders")).to_be_hidden()
    expect(page.get_by_label("Find a DAG")).to_have_value("tal")


def test_names_can_be_read_in_a_narrow_window(page: Page, stack: Stack) -> None:
    stack.run("orders")
    page.set_viewport_size({"width": 1024, "height": 768})
    page.goto(stack.url("dags"))
    name = row(page, "broken_source").get_by_role("link", name="broken_source", exact=True)
    box = name.bounding_box()
    assert box is not None
    assert box["height"] < 30, "the name is on one line"
    expect(page.get_by_role("columnheader", name="Owner")).to_be_hidden()
    page.goto(stack.url("dag", dag_id="orders", tab="runs"))
    kind = page.locator("td.t-text", has_text="manual").first.bounding_box()
    assert kind is not None
    assert kind["width"] >= 68


def test_last_runs_stand_in_the_list(page: Page, stack: Stack) -> None:
    run = stack.run("orders")
    page.goto(stack.url("dags"))
    bars = row(page, "orders").locator(".strip a")
    expect(bars.last).to_have_attribute("data-s", "success")
    bars.last.click()
    expect(heading(page)).to_have_text(run.run_id)


def test_grid_leads_to_tasks(page: Page, stack: Stack) -> None:
    run = stack.run("shapes")
    page.goto(stack.url("dag", dag_id="shapes"))
    expect(heading(page)).to_have_text("shapes")
    cells = page.locator(".g-row", has_text="numbers").locator(".g-cells i")
    expect(cells.last).to_have_attribute("data-s", "success")
    expect(page.locator(".g-row", has_text="square").locator(".count")).to_have_text("[3]")
    group = page.locator(".g-row.group", has_text="checks")
    expect(page.locator(".g-row", has_text="second")).to_be_visible()
    group.locator("button").click()
    expect(page.locator(".g-row", has_text="second")).to_be_hidden()
    expect(group.locator(".g-cells i").last).to_have_attribute("data-s", "success")
    shoot(page, "grid")
    cells.last.click()
    expect(heading(page)).to_have_text("numbers")
    assert f"run_id={run.run_id.replace('+', '%2B').replace(':', '%3A')}" in address(page)


def test_graph_shows_states_and_opens_tasks(page: Page, stack: Stack) -> None:
    stack.run("shapes")
    page.goto(stack.url("dag", dag_id="shapes", tab="graph"))
    node = page.locator(".gr-node", has_text="numbers")
    expect(node).to_have_attribute("data-s", "success")
    expect(page.locator(".gr-node")).to_have_count(5)
    expect(page.locator(".gr-edgelabel")).to_have_text("three of them")
    expect(page.locator(".gr-node", has_text="square").locator(".sub")).to_contain_text("[3]")
    shoot(page, "graph")
    before = page.locator(".gr-svg > g").get_attribute("transform")
    page.get_by_role("button", name="Zoom in").click()
    until(lambda: page.locator(".gr-svg > g").get_attribute("transform") != before, "it zooms")
    page.locator(".gr-boxlabel", has_text="checks").click()
    expect(page.locator(".gr-node")).to_have_count(4)
    expect(page.locator(".gr-node.closed")).to_contain_text("2 tasks")
    assert "closed=checks" in address(page)
    page.locator(".gr-node", has_text="numbers").click()
    expect(heading(page)).to_have_text("numbers")


def test_graph_of_500_tasks_can_be_read(page: Page, stack: Stack) -> None:
    stack.run("wide")
    page.goto(stack.url("dag", dag_id="wide", tab="graph"))
    expect(page.locator(".gr-node")).to_have_count(502)
    # A thousand lines say nothing: one goes to all pieces, one comes from them.
    expect(page.locator(".gr-edge")).to_have_count(2)
    page.get_by_label("Find a task").fill("piece_250")
    hit = page.locator(".gr-node.hit")
    expect(hit).to_have_count(1)
    box, frame = hit.bounding_box(), page.locator(".gr-svg").bounding_box()
    assert box and frame
    assert frame["x"] < box["x"] < frame["x"] + frame["width"]
    assert frame["y"] < box["y"] < frame["y"] + frame["height"]
    assert box["height"] > 20
    shoot(page, "graph-500")
    # Of the grid's rows only those in sight are in the page; the others come when they are scrolled to.
    page.locator(".tabs").get_by_role("link", name="Grid").click()
    rows = page.locator(".g-row")
    expect(rows.first).to_contain_text("begin")
    expect(rows.first.locator("i").last).to_have_attribute("data-s", "success")
    assert rows.count() < 80
    grid = page.locator(".g-box")
    assert grid.evaluate("e => e.scrollHeight") > 502 * 20
    grid.evaluate("e => e.scrollTo(0, e.scrollHeight)")
    expect(rows.last).to_contain_text("finish")
    expect(rows.last.locator("i").last).to_have_attribute("data-s", "success")
    assert rows.count() < 80
    # The keys reach what is not there yet.
    cells = page.get_by_role("grid")
    cells.focus()
    cells.press("ArrowUp")
    expect(rows.first).to_contain_text("begin")
    for _ in range(9):
        cells.press("PageDown")
    focus = page.locator(".g-cells i.focus")
    expect(focus).to_be_in_viewport()
    cells.press("Enter")
    expect(heading(page)).to_contain_text("piece_")


def test_code_runs_and_details(page: Page, stack: Stack) -> None:
    run = stack.run("orders")
    page.goto(stack.url("dag", dag_id="orders", tab="code"))
    expect(page.get_by_test_id("stCode")).to_contain_text("Orders, each morning")
    expect(page.get_by_text("pipelines.py", exact=True)).to_be_visible()
    page.locator(".tabs").get_by_role("link", name="Runs").click()
    expect(row(page, run.run_id)).to_contain_text("success")
    page.locator(".tabs").get_by_role("link", name="Details").click()
    expect(page.locator(".details")).to_contain_text("0 6 * * *")


def test_dags_by_owner_state_and_star(page: Page, stack: Stack) -> None:
    stack.run("broken_source")
    page.goto(stack.url("dags"))
    filters = page.locator(".filters")
    filters.get_by_role("link", name=re.compile("^Failed")).click()
    expect(row(page, "broken_source")).to_be_visible()
    expect(row(page, "orders")).to_be_hidden()
    assert "state=failed" in address(page)
    page.goto(stack.url("dags", owner="retail"))
    expect(row(page, "orders")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="orders: make it a favorite").click()
    expect(page.get_by_role("button", name="orders: no favorite any more")).to_be_visible()
    # It is kept by the metastore, not by the tab.
    page.goto(stack.url("dags", mine="1"))
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(row(page, "orders")).to_be_visible()
    page.get_by_role("button", name="orders: no favorite any more").click()
    expect(page.get_by_text("No favorite here")).to_be_visible()


def test_a_missed_deadline_stands_on_home_until_somebody_deals_with_it(
    page: Page, stack: Stack
) -> None:
    run = stack.run("closing")
    page.goto(stack.url())
    item = page.locator(".attention li", has_text="closing")
    expect(item).to_contain_text("deadline missed")
    expect(item).to_contain_text("its run ended too late: success")
    expect(page.locator(".tile", has_text="Late")).to_contain_text("1 missed a deadline")
    item.get_by_role("link", name="books closed").click()
    expect(heading(page)).to_have_text(run.run_id)
    expect(page.locator(".notice.warning")).to_contain_text("Deadline missed: books closed")
    page.locator(".tabs").get_by_role("link", name="Details").click()
    listed = page.locator("table", has_text="Run ended").locator("tbody tr")
    expect(listed).to_contain_text(["met", "missed"])
    expect(listed).to_contain_text(["deadline 2", "books closed"])
    page.goto(stack.url("dag", dag_id="closing", tab="details"))
    expect(page.get_by_text("1 h 00 min after the run was queued")).to_be_visible()
    expect(row(page, run.run_id).filter(has_text="books closed")).to_contain_text("missed")
    page.goto(stack.url())
    item.get_by_role("button", name="Dealt with").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("the bank was closed")
    page.get_by_role("dialog").get_by_role("button").last.click()
    expect(item).to_have_count(0)


def test_a_dag_over_time(page: Page, stack: Stack) -> None:
    run = stack.run("retries")
    stack.run("orders")
    page.goto(stack.url("dag", dag_id="retries", tab="gantt"))
    line = page.locator(".gt-row", has_text="flaky")
    # Each try is told apart, with its phases.
    expect(line.locator(".gt-try")).to_have_count(3)
    expect(line.locator(".gt-try[data-s=failed]")).to_have_count(2)
    line.locator(".gt-try[data-s=success] .run").hover()
    tip = page.locator(".tip")
    expect(tip).to_contain_text("try 3")
    expect(tip).to_contain_text("ran")
    shoot(page, "dag-gantt")
    # Drawing over the last try shows that stretch alone, in the address too; a key or a button shows the whole again.
    bar = line.locator(".gt-try[data-s=success] .run")
    before, row_box = bar.bounding_box(), line.locator(".gt-line").bounding_box()
    assert before and row_box
    page.mouse.move(before["x"] - 40, row_box["y"] + 2)
    page.mouse.down()
    page.mouse.move(before["x"] + before["width"] + 10, row_box["y"] + 2, steps=4)
    page.mouse.up()
    until(lambda: (bar.bounding_box() or before)["width"] > 4 * before["width"], "zoomed in")
    assert re.search(r"zoom=\d+-\d+", address(page))
    expect(line.locator(".gt-try[data-s=failed] .run").first).to_be_hidden()
    page.reload()
    expect(page.get_by_role("button", name="Whole run")).to_be_visible()
    page.get_by_role("button", name="Whole run").click()
    until(lambda: (bar.bounding_box() or row_box)["width"] <= before["width"] + 1, "the whole run")
    assert "zoom" not in address(page)
    page.locator(".gantt").focus()
    page.keyboard.press("+")
    until(lambda: "zoom=" in address(page), "zoomed by a key")
    page.keyboard.press("0")
    axis = page.locator(".gt-axis")
    axis.hover()
    page.mouse.wheel(0, -600)
    until(lambda: "zoom=" in address(page), "zoomed by the wheel")
    axis.dblclick(position={"x": 300, "y": 10})
    until(lambda: "zoom" not in address(page), "the whole run again")
    page.locator(".tabs").get_by_role("link", name="Calendar").click()
    expect(page.locator(".cal-sum")).to_contain_text("success")
    shoot(page, "calendar")
    page.locator("a.cal-day").last.click()
    expect(row(page, run.run_id)).to_be_visible()
    assert "day=20" in address(page)
    page.locator(".tabs").get_by_role("link", name="Durations").click()
    expect(page.locator(".ch-bar").first).to_be_visible()
    expect(page.locator("tbody tr", has_text="flaky").locator(".strip a").first).to_be_visible()
    shoot(page, "durations")
    page.locator(".ch-bar").first.click()
    expect(heading(page)).to_contain_text("manual__")
    page.goto(stack.url("dag", dag_id="orders", tab="audit"))
    expect(page.locator("tbody tr", has_text="TriggerRun").first).to_contain_text("manual__")


def test_two_versions_are_compared(page: Page, stack: Stack) -> None:
    text = (
        "from boraflow import DAG\nfrom boraflow.operators.empty import EmptyOperator\n\n"
        "with DAG('changing', schedule=None, doc_md='# Read me\\n\\nIt *changes*.'):\n"
        "    a = EmptyOperator(task_id='a')\n"
    )
    stack.cluster.write_dag("changing.py", text)
    stack.cluster.wait_for_dag("changing")
    stack.cluster.write_dag("changing.py", text + "    a >> EmptyOperator(task_id='b')\n")
    until(lambda: stack.client.dags.get("changing").version == 2, "the second version")
    page.goto(stack.url("dag", dag_id="changing", tab="code"))
    page.get_by_label("Compare with").select_option("Changes since v1")
    expect(page.locator(".df-line.came")).to_contain_text("a >> EmptyOperator(task_id='b')")
    expect(page.locator(".df-chip.came")).to_have_text("task b")
    assert "against=1" in address(page)
    shoot(page, "diff")
    page.locator(".tabs").get_by_role("link", name="Docs").click()
    expect(page.get_by_role("heading", name="Read me")).to_be_visible()


def test_run_page_and_its_views(page: Page, stack: Stack) -> None:
    run = stack.run("shapes")
    page.goto(stack.url("run", dag_id="shapes", run_id=run.run_id))
    expect(row(page, "numbers")).to_contain_text("success")
    row(page, "square").get_by_role("link", name="square").click()
    expect(row(page, "square[2]")).to_contain_text("success")
    page.locator(".tabs").get_by_role("link", name="Gantt").click()
    numbers = page.locator(".gt-row", has_text="numbers")
    expect(numbers.locator(".gt-try")).to_have_count(1)
    expect(numbers.locator(".run")).to_be_visible()
    shoot(page, "gantt")
    page.locator(".tabs").get_by_role("link", name="Graph").click()
    expect(page.locator(".gr-node", has_text="end")).to_have_attribute("data-s", "success")
    page.locator(".tabs").get_by_role("link", name="Details").click()
    expect(page.locator(".details")).to_contain_text(run.run_id)
    expect(page.locator(".values")).to_contain_text("Configuration")


def test_a_failed_task_says_why(page: Page, stack: Stack) -> None:
    run = stack.run("broken_source")
    page.goto(stack.url("run", dag_id="broken_source", run_id=run.run_id))
    expect(row(page, "after").locator(".state")).to_have_text("upstream failed")
    row(page, "read").get_by_role("link", name="read").click()
    expect(page.locator(".notice")).to_contain_text("the source source.txt is not there")
    expect(page.locator(".log-line").filter(has_text="FileNotFoundError").first).to_be_visible()
    shoot(page, "failed-task")
    page.locator(".tabs").get_by_role("link", name="Attempts").click()
    expect(page.locator(".attempt .phases")).to_contain_text("ran")


def test_tries_stand_side_by_side(page: Page, stack: Stack) -> None:
    run = stack.run("retries")
    page.goto(stack.url("task", dag_id="retries", run_id=run.run_id, task_id="flaky"))
    expect(page.locator(".log-scroll")).to_contain_text("this is try 3")
    page.get_by_role("link", name="Try 1", exact=True).click()
    expect(page.locator(".log-scroll")).to_contain_text("this is try 1")
    expect(page.locator(".log-scroll")).not_to_contain_text("this is try 3")
    page.locator(".tabs").get_by_role("link", name="Attempts").click()
    expect(page.locator(".attempt")).to_have_count(3)
    expect(page.locator(".attempt").first).to_contain_text("Try 3")
    expect(page.locator(".attempt").last).to_contain_text("not yet, try 1")
    shoot(page, "attempts")


def test_xcom_is_shown_as_what_it_is(page: Page, stack: Stack) -> None:
    run = stack.run("orders")
    page.goto(stack.url("task", dag_id="orders", run_id=run.run_id, task_id="load", tab="xcom"))
    table = page.locator(".records")
    expect(table.get_by_role("cell", name="Busan")).to_be_visible()
    page.goto(stack.url("task", dag_id="orders", run_id=run.run_id, task_id="extract", tab="xcom"))
    expect(page.locator(".values pre")).to_contain_text('"rows": 3')


def test_pictures_and_long_xcoms(page: Page, stack: Stack) -> None:
    run = stack.run("pushes")
    chart = stack.client.tasks.xcom("pushes", run.run_id, "push", key="chart")
    (stack.cluster.home / "pictures" / "chart.png").write_bytes(
        base64.b64decode(json.loads(chart.value_json)["__data"])
    )
    page.goto(stack.url("task", dag_id="pushes", run_id=run.run_id, task_id="push", tab="xcom"))
    for key in ("chart", "drawn"):
        picture = page.get_by_role("img", name=key, exact=True)
        expect(picture).to_be_visible()
        assert picture.evaluate("i => i.complete && i.naturalWidth") == 1
    expect(page.locator(".values section", has_text="return_value")).to_contain_text("2026-01-01")
    # What is long comes when it is asked for, and then its beginning.
    long = page.locator(".values section", has_text="long")
    expect(long.locator(".records")).to_have_count(0)
    long.get_by_role("link", name="Show 2").click()
    expect(long.locator("tbody tr")).to_have_count(500)
    expect(long).to_contain_text("the first 500 of 2,000 rows")
    assert "show=long" in address(page)
    shoot(page, "xcoms")
    with page.expect_download() as download:
        long.get_by_role("link", name="Download long as JSON").click()
    assert len(json.loads(download.value.path().read_text())) == 2000


def test_many_instances_of_a_mapped_task(page: Page, stack: Stack) -> None:
    run = stack.run("many")
    assert run.state == "failed"
    page.goto(stack.url("run", dag_id="many", run_id=run.run_id))
    expect(page.locator(".notice.error")).to_contain_text("one: 2 of 260 instances failed")
    page.get_by_role("link", name="Failed ones of one").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("shop 255 is closed")
    page.get_by_role("link", name="All 260").click()
    expect(rows).to_have_count(100)
    page.get_by_role("link", name="Next page").click()
    expect(rows.first).to_contain_text("one[shop 100]")
    search = page.get_by_label("A number or a name (press /)")
    search.fill("250")
    expect(rows).to_have_count(10)
    search.fill("SHOP 12")
    expect(rows).to_have_count(11)
    rows.last.get_by_role("link").click()
    # Those around it stand beside it, however many there are.
    expect(heading(page)).to_have_text("one[shop 129]")
    expect(page.locator(".squares a")).to_have_count(120)
    expect(page.locator(".squares a.on")).to_have_attribute("aria-label", "one[shop 129]: success")
    page.get_by_label("Instance after").click()
    expect(heading(page)).to_have_text("one[shop 130]")
    page.get_by_role("link", name="All 260").click()
    expect(rows).to_have_count(100)


def test_rendered_templates(page: Page, stack: Stack) -> None:
    run = stack.run("shapes")
    page.goto(
        stack.url(
            "task", dag_id="shapes", run_id=run.run_id, task_id="checks.second", tab="rendered"
        )
    )
    expect(page.locator(".values")).to_contain_text(f"echo checked {run.run_id}")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (("dag", {"dag_id": "nothing"}), "nothing"),
        (("run", {"dag_id": "orders", "run_id": "never"}), "never"),
        (("task", {"dag_id": "orders", "run_id": "latest", "task_id": "none_such"}), "none_such"),
    ],
)
def test_what_is_not_there_is_said(
    page: Page, stack: Stack, where: tuple[str, dict[str, str]], what: str
) -> None:
    stack.run("orders")
    page.goto(stack.url(where[0], **where[1]))
    expect(page.locator(".notice")).to_contain_text("There is no such thing here")
    expect(page.locator(".notice")).to_contain_text(what)
