"""Assets, DAGs that depend on each other, and questions to people, on the real services."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Stack, heading, row, shoot, until


def test_an_asset_starts_what_waits_for_it(page: Page, stack: Stack) -> None:
    stack.cluster.wait_for_dag("reporting")
    page.goto(stack.url("assets", q="sal"))
    row(page, "sales").get_by_role("link", name="sales").click()
    expect(heading(page)).to_have_text("sales")
    expect(page.locator("tbody")).to_contain_text([re.compile("ingest.*reporting")])
    page.get_by_role("button", name="Record an event").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Record", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("link", name="reporting").last).to_be_visible()
    page.locator(".tag", has_text="reporting").first.click()
    expect(heading(page)).to_contain_text("asset_triggered__")
    page.locator(".tabs").get_by_role("link", name="Asset events").click()
    expect(row(page, "sales")).to_be_visible()


def test_an_upstream_failure_shows_what_it_holds_up(page: Page, stack: Stack) -> None:
    stack.run("tidy")
    page.goto(stack.url("dependencies"))
    tidy = page.get_by_role("link", name="tidy: failed", exact=True)
    expect(tidy).to_have_attribute("data-s", "failed")
    expect(page.locator(".problems")).to_contain_text("1 DAG depends on it: audit_trail")
    held = page.locator(".gr-node", has_text="audit_trail")
    expect(held).to_contain_text("held up by tidy")
    expect(page.locator(".gr-node.held")).to_have_count(1)
    expect(page.locator(".gr-edge.held")).to_have_count(1)
    expect(page.get_by_label("Find a DAG or an asset")).to_be_visible()
    shoot(page, "dependencies")
    # Who is called at night learns it where the failure stands.
    page.goto(stack.url())
    failed = page.locator(".attention li.failed", has_text="tidy")
    expect(failed).to_contain_text("holds up 1 DAG: audit_trail")
    page.goto(stack.url("dependencies", of="reporting"))
    expect(page.locator(".gr-node")).to_have_count(4)
    page.locator(".gr-node", has_text="ingest").click()
    expect(heading(page)).to_have_text("ingest")


def test_a_question_is_answered(page: Page, stack: Stack) -> None:
    stack.cluster.wait_for_dag("release")
    run = stack.trigger("release")

    def asked(task_id: str) -> bool:
        found = stack.client.tasks.get("release", run.run_id, task_id).task_instance
        return found.state == "awaiting_input"

    until(lambda: asked("approve"), "it asks")
    page.goto(stack.url("questions"))
    page.get_by_role("button", name="Answer approve").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Release version 7?")
    shoot(page, "question")
    dialog.get_by_role("button", name="Approve").click()
    expect(dialog).to_be_hidden()
    until(lambda: asked("where"), "the next one asks")
    page.goto(stack.url("task", dag_id="release", run_id=run.run_id, task_id="where"))
    page.get_by_role("button", name="Answer").click()
    dialog.get_by_role("button", name="staging").click()
    dialog.get_by_role("button", name="Answer").click()
    expect(dialog).to_be_hidden()
    assert stack.client.runs.wait("release", run.run_id, timeout=60).state == "success"


def test_the_readers_own_code_comes_first(page: Page, stack: Stack) -> None:
    run = stack.run("tidy")
    page.goto(stack.url("task", dag_id="tidy", run_id=run.run_id, task_id="remove"))
    expect(page.locator(".frames").first).to_contain_text(
        re.compile(r"connected\.py:\d+ in remove")
    )
    expect(page.locator(".frames").first).to_contain_text("the disk is read-only")


def test_groups_in_a_log_are_folded(page: Page, stack: Stack) -> None:
    run = stack.run("reporting")
    page.goto(stack.url("task", dag_id="reporting", run_id=run.run_id, task_id="write"))
    log = page.locator(".log-scroll")
    expect(log).to_contain_text("written")
    expect(log).not_to_contain_text("row by row")
    page.locator(".log-line .fold", has_text="Rows").click()
    expect(log).to_contain_text("row by row")


def test_siblings_of_a_mapped_task(page: Page, stack: Stack) -> None:
    run = stack.run("shapes")
    page.goto(stack.url("task", dag_id="shapes", run_id=run.run_id, task_id="square", map_index=0))
    expect(page.locator(".squares a")).to_have_count(3)
    page.get_by_label("Instance after").click()
    expect(heading(page)).to_have_text("square[1]")


def test_extra_links_of_operators(page: Page, stack: Stack) -> None:
    run = stack.run("ingest")
    page.goto(stack.url("task", dag_id="ingest", run_id=run.run_id, task_id="clean_up"))
    page.get_by_role("link", name="Triggered DAG").click()
    expect(heading(page)).to_contain_text("operator_triggered__")
    run = stack.run("pushes")
    page.goto(stack.url("task", dag_id="pushes", run_id=run.run_id, task_id="job"))
    link = page.get_by_role("link", name="Job", exact=True)
    expect(link).to_have_attribute("href", f"https://jobs.example/{run.run_id}")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    # What runs a script is no address.
    expect(page.get_by_role("link", name="Script")).to_have_count(0)
    page.locator(".tabs").get_by_role("link", name="XCom").click()
    expect(page.get_by_text("It pushed nothing")).to_be_visible()
