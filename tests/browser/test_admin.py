"""The pages of administration, and who may do what there, on the real services."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Stack, Watched, address, heading, row, shoot, until


def line(page: Page, text: str):
    """Return the table row that has this text in a cell."""
    return page.locator("tbody tr").filter(has=page.get_by_text(text, exact=True)).first


def sign_in(page: Page, stack: Stack, secret: str, where: str = "") -> None:
    page.goto(stack.url("login", **({"next": where} if where else {})))
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    expect(heading(page)).to_be_visible()


def test_pools(page: Page, stack: Stack) -> None:
    page.goto(stack.url("pools"))
    page.get_by_role("button", name="New pool").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("reports")
    dialog.get_by_label("Name").press("Tab")
    dialog.get_by_label("Description").fill("heavy queries")
    dialog.get_by_label("Description").press("Tab")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(line(page, "reports")).to_contain_text("0/16")
    assert stack.client.pools.get("reports").description == "heavy queries"
    page.get_by_role("button", name="Delete reports").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(line(page, "reports")).to_be_hidden()
    # The default pool cannot be deleted: that is not offered.
    expect(page.get_by_role("button", name="Delete default_pool")).to_have_count(0)


def test_a_connection_is_tried(page: Page, stack: Stack, tmp_path: Path) -> None:
    stack.client.connections.set("lite", conn_type="sqlite", host=str(tmp_path / "a.db"))
    page.goto(stack.url("connections"))
    page.get_by_role("button", name="Test lite").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It works: ")
    stack.client.connections.set("lite", conn_type="sqlite", host="/nowhere/at/all.db")
    dialog.get_by_role("button", name="Test again").click()
    expect(dialog).to_contain_text("It does not work: ")
    shoot(page, "connection-test")
    dialog.get_by_role("button", name="Close").last.click()
    expect(dialog).to_be_hidden()
    stack.client.connections.delete("lite")


def test_a_secret_variable_is_never_shown(page: Page, stack: Stack) -> None:
    stack.client.variables.set("region", "kr", description="where")
    stack.client.variables.set("api_token", "s3cr3t")
    page.goto(stack.url("variables"))
    expect(line(page, "region")).to_contain_text("kr")
    expect(line(page, "api_token")).to_contain_text("••••")
    page.get_by_role("button", name="Edit api_token").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Value").last).to_have_value("")
    dialog.get_by_label("Description").fill("of the partner")
    dialog.get_by_label("Description").press("Tab")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(line(page, "api_token")).to_contain_text("of the partner")
    assert stack.client.variables.get("api_token").value == "s3cr3t"
    assert "s3cr3t" not in page.content()
    shoot(page, "variables")


def test_import_connections_after_a_preview(page: Page, stack: Stack) -> None:
    stack.client.connections.set("old", conn_type="http", host="before", password="kept")
    page.goto(stack.url("connections"))
    page.get_by_role("button", name="Import").click()
    dialog = page.get_by_role("dialog")
    text = dialog.get_by_label("Or its text")
    text.fill('{"db": {"hots": "h"}}')
    text.press("Control+Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("there is no field hots")
    text.fill(json.dumps({"db": "postgres://me:pw@h:5432/base", "old": {"host": "after"}}))
    text.press("Control+Enter")
    expect(dialog.locator("tbody tr").filter(has_text="db")).to_contain_text("is new")
    expect(dialog.locator("tbody tr").filter(has_text="old")).to_contain_text("is replaced")
    shoot(page, "import-connections")
    dialog.get_by_role("button", name="Import 2").click()
    expect(dialog).to_be_hidden()
    expect(line(page, "db")).to_contain_text("h:5432")
    assert stack.client.connections.get("old").host == "after"
    assert stack.client.connections.get("old").password == "***"
    page.get_by_label("Find a connection").press_sequentially("db")
    expect(line(page, "old")).to_be_hidden()
    assert "q=db" in address(page)


def test_executors_can_be_drained(page: Page, stack: Stack) -> None:
    page.goto(stack.url("executors"))
    name = stack.client.system.executors().items[0].name
    page.get_by_role("button", name=f"Drain {name}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("takes no more")
    dialog.get_by_role("button", name="Drain").click()
    expect(page.locator("tbody .state").first).to_have_text("draining")
    shoot(page, "executors")
    page.get_by_role("button", name=f"Let {name} go on").click()
    dialog.get_by_role("button", name="Go on").click()
    expect(page.locator("tbody .state").first).to_have_text("online")


def test_import_errors_audit_and_metrics(page: Page, stack: Stack) -> None:
    run = stack.run("orders")
    page.goto(stack.url())
    page.get_by_text("Browse").click()
    page.get_by_role("menuitem", name="Import errors").click()
    expect(heading(page)).to_have_text("Import errors")
    assert address(page) == "/errors"
    expect(page.get_by_role("menuitem")).to_have_count(0)
    expect(page.locator(".problems")).to_contain_text("cannot_import.py:5")
    page.goto(stack.url("audit", of="orders"))
    expect(page.locator("tbody tr").first).to_contain_text("orders")
    page.get_by_label("Find an action").press_sequentially("trigger")
    until(lambda: "q=trigger" in address(page), "the search is in the address")
    expect(page.locator("tbody tr").first).to_contain_text("TriggerRun")
    page.get_by_role("link", name=run.run_id).first.click()
    expect(heading(page)).to_have_text(run.run_id)
    page.goto(stack.url("metrics"))
    expect(page.locator(".ph-row.run .num").first).to_contain_text("ms")
    shoot(page, "metrics")


def test_who_signs_in_acts_in_their_own_name(watched: Watched, stack: Stack) -> None:
    page = watched.page
    viewer = stack.client.tokens.create("vera", "viewer").secret
    admin = stack.client.tokens.create("ada", "admin").secret
    page.goto(stack.url("login"))
    page.get_by_label("Token").fill("wrong")
    with page.expect_response(lambda r: r.url.endswith("/login") and r.status == 401):
        page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    watched.troubles.clear()  # Chromium says of each 401 that it was one
    sign_in(page, stack, viewer, "dag?dag_id=orders")
    expect(heading(page)).to_have_text("orders")
    expect(page.locator(".whoami")).to_have_text("vera")
    # What a viewer may not do is not offered.
    expect(page.get_by_role("button", name="Trigger")).to_have_count(0)
    page.goto(stack.url("tokens"))
    expect(page.locator(".notice")).to_contain_text("Only an admin sees tokens")
    page.get_by_role("link", name="Sign out").click()
    sign_in(page, stack, admin, "tokens")
    expect(line(page, "vera")).to_contain_text("viewer")
    page.get_by_role("button", name="New token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill("robot")
    dialog.get_by_role("textbox", name="Name").press("Tab")
    dialog.get_by_role("button", name="Make").click()
    expect(dialog.get_by_test_id("stCode")).to_contain_text("bora_")
    dialog.get_by_role("button", name="Close").last.click()
    page.get_by_role("button", name="Revoke robot").click()
    dialog.get_by_role("button", name="Revoke").click()
    expect(line(page, "robot")).to_contain_text("revoked")
    actors = [(e.actor, e.action) for e in stack.client.system.audit(search="robot").items]
    assert actors == [("ada", "RevokeToken"), ("ada", "CreateToken")]
    shoot(page, "tokens")


def test_a_token_that_is_revoked_while_the_page_is_open(watched: Watched, stack: Stack) -> None:
    page = watched.page
    secret = stack.client.tokens.create("leaver", "operator").secret
    page.context.add_cookies([{"name": "bora_token", "value": secret, "url": stack.base}])
    page.goto(stack.url("dags", q="orders"))
    expect(row(page, "orders")).to_be_visible()
    stack.client.tokens.revoke("leaver")
    row(page, "orders").locator(".star").click()
    expect(page.locator(".notice")).to_contain_text("You are signed out")
    # It says nothing of the others: the metastore is well.
    expect(page.locator(".banner")).to_have_count(0)
    page.get_by_role("link", name="Sign in").click()
    page.locator("input[type=password]").fill(
        stack.client.tokens.create("comer", "operator").secret
    )
    page.keyboard.press("Enter")
    expect(row(page, "orders")).to_be_visible()
    assert address(page) == "/dags?q=orders"
    expect(page.locator(".whoami")).to_have_text("comer")


def test_korean_and_the_readers_zone(page: Page, stack: Stack) -> None:
    page.goto(stack.url("pools"))
    expect(heading(page)).to_have_text("Pools")
    page.get_by_label("Language").select_option("ko")
    expect(heading(page)).to_have_text("풀")
    expect(page.get_by_role("button", name="새 풀")).to_be_visible()
    page.goto(stack.url("audit"))
    moment = page.locator("time.moment").first
    utc = moment.inner_text()[:8]
    page.get_by_role("button", name="UTC 표시 중").click()
    expect(page.get_by_role("button", name="현지 시간 표시 중")).to_be_visible()
    # The tab is in Seoul: nine hours on, the minutes stay.
    hour = f"{(int(utc[:2]) + 9) % 24:02}"
    expect(moment).to_have_text(re.compile(rf"{hour}{utc[2:5]}"))
