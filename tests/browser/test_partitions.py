"""Partitions, watchers and state stores: what DAGs wait for, who watches, what tasks keep."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Stack, address, go, row, shoot, until


def test_a_run_of_a_partition_is_triggered_and_found(page: Page, stack: Stack) -> None:
    stack.cluster.wait_for_dag("hourly_clicks")
    page.goto(stack.url("dag", dag_id="hourly_clicks"))
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Backfill").click()
    expect(dialog.get_by_text("First partition date (UTC)")).to_be_visible()
    expect(dialog.get_by_text(re.compile(r"Partitions: .+T00:00:00"))).to_be_visible()
    shoot(page, "partition-backfill")
    dialog.get_by_role("button", name="Close", exact=True).last.click()
    page.get_by_role("button", name="Trigger", exact=True).click()
    key = dialog.get_by_role("textbox", name="Partition key")
    expect(key).to_have_attribute("placeholder", "such as 2100-01-01T00:00:00")
    key.fill("today")
    dialog.get_by_role("button", name="Dry run").click()
    expect(dialog.get_by_role("alert")).to_contain_text("does not fit DAG")
    key.fill("2026-01-31T23:00:00")
    # What is drawn anew when it is entered must stand before a button is pressed.
    key.press("Tab")
    expect(dialog.get_by_role("alert")).to_have_count(0)
    shoot(page, "partition-trigger")
    dialog.get_by_role("button", name="Trigger", exact=True).click()
    expect(page.locator(".facts")).to_contain_text("2026-01-31T23:00:00")
    run = stack.client.runs.get("hourly_clicks", partition_of(stack))
    shoot(page, "partition-run")
    stack.client.runs.trigger("hourly_clicks", partition_key="2026-01-31T22:00:00")
    page.locator(".facts").get_by_role("link", name="2026-01-31T23:00:00").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(row(page, run.run_id)).to_be_visible()
    field = page.get_by_label("Partition key")
    expect(field).to_have_value("2026-01-31T23:00:00")
    shoot(page, "partition-runs")
    field.fill("2026-01-31T22:00:00")
    field.press("Enter")
    until(lambda: "22%3A00" in address(page), "the address follows")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("2026-01-31T22:00:00")
    page.go_back()
    expect(field).to_have_value("2026-01-31T23:00:00")
    expect(row(page, run.run_id)).to_be_visible()


def partition_of(stack: Stack) -> str:
    """Return the run of the partition that was triggered first."""
    found = stack.client.runs.list("hourly_clicks", partition_key="2026-01-31T23:00:00")
    return next(iter(found)).run_id


def test_a_partition_that_waits_can_be_discarded(page: Page, stack: Stack) -> None:
    stack.cluster.wait_for_dag("all_regions")
    stack.run("by_region")
    page.goto(stack.url("assets", asset="regions", tab="partitions"))
    waiting = row(page, "all_regions")
    expect(waiting).to_contain_text("regions: 1 of 3")
    expect(waiting).to_contain_text("apac, eu")
    shoot(page, "partitions")
    # It stays on the page what the DAG has, also as more comes.
    stack.client.runs.trigger("by_region", conf={"regions": ["eu"]})
    expect(waiting).to_contain_text("regions: 2 of 3")
    waiting.get_by_role("button", name="Discard partition all").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("all_regions forgets the 2 events")
    shoot(page, "partition-discard")
    dialog.get_by_role("button", name="Discard", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("No partition waits")).to_be_visible()
    assert not stack.client.assets.pending_partitions(dag_id="all_regions").items
    page.goto(stack.url("audit", q="DeleteQueuedAssetEvents"))
    expect(page.locator("tbody tr").first).to_contain_text("partition_key=all")


def test_how_a_watcher_fares(page: Page, stack: Stack) -> None:
    stack.cluster.wait_for_dag("on_message")
    page.goto(stack.url("assets", asset="messages", tab="watchers"))
    watcher = page.locator("tbody tr", has_text="queue")
    expect(watcher).to_contain_text("watches")
    expect(watcher).to_contain_text("queuepartitions.Messages")
    folder = Path(stack.cluster.environ["WATCHED_FOLDER"])
    (folder / "part").write_text("hello")
    (folder / "part").rename(folder / "1.msg")
    until(lambda: stack.client.assets.events("messages").items, "an event")
    expect(watcher.locator("td").nth(5)).not_to_be_empty()
    shoot(page, "watchers")
    (folder / "part").write_text("poison")
    (folder / "part").rename(folder / "2.msg")
    expect(watcher).to_contain_text("a message that cannot be read")
    watcher.get_by_role("link", name="Log").click()
    expect(page.locator(".log-scroll")).to_contain_text("watching for messages")
    shoot(page, "watcher-failed")
    (folder / "2.msg").unlink()


def test_what_tasks_keep(page: Page, stack: Stack) -> None:
    stack.cluster.wait_for_dag("by_region")
    run = stack.run("by_region")
    of_task = {"dag_id": "by_region", "run_id": run.run_id, "task_id": "write_region"}
    page.goto(stack.url("task", **of_task))
    page.locator(".tabs").get_by_role("link", name="State store").click()
    dialog = page.get_by_role("dialog")
    kept = page.locator("tbody tr", has_text="clicks.csv")
    expect(kept.get_by_role("link", name="by_region.write_region")).to_be_visible()
    shoot(page, "state-task")
    page.get_by_role("button", name="Show the value of offset").click()
    expect(dialog).to_contain_text('"line": 4200')
    shoot(page, "state-entry")
    dialog.get_by_role("button", name="Close", exact=True).last.click()
    page.get_by_role("button", name="Delete offset").click()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(kept).to_have_count(0)
    assert [e.key for e in stack.client.state_stores.list(**of_task, map_index=-1)] == ["job"]
    page.get_by_role("button", name="Clear the state").click()
    dialog.get_by_role("button", name="Clear the state").click()
    expect(page.get_by_text("Nothing is kept")).to_be_visible()
    expect(page.get_by_role("button", name="Clear the state")).to_have_count(0)
    page.goto(stack.url("assets", asset="regions", tab="state"))
    expect(page.locator("tbody")).to_contain_text("2026-01-31")
    shoot(page, "state-asset")
    # Who may only look is offered to look.
    page.goto(stack.url("login"))
    secret = stack.client.tokens.create(f"looker-{run.run_key}", "viewer").secret
    page.locator("input[type=password]").fill(secret)
    page.keyboard.press("Enter")
    expect(page.locator(".whoami")).to_contain_text("looker")
    page.emulate_media(color_scheme="dark")
    go(page, stack, "assets", asset="regions", tab="state")
    page.get_by_role("button", name="Show the value of watermark").click()
    expect(dialog).to_contain_text("2026-01-31")
    shoot(page, "state-viewer-dark")
    expect(page.get_by_role("button", name="Delete watermark")).to_have_count(0)
    expect(page.get_by_role("button", name="Clear the state")).to_have_count(0)
