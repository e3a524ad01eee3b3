"""Signing in at an OpenID Connect provider: a real one on loopback, a real browser that clicks its way through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import HERE, Stack, Watched, address, chromium, heading, shoot
from tests.support.cluster import Cluster
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, provider


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    people = {
        "olga": {"email": "olga@example.com", "groups": ["data"]},
        "vera": {"email": "vera@example.com", "groups": ["staff"]},
        "guest": {"email": "guest@example.com"},
    }
    with provider(people) as made:
        yield made


@pytest.fixture(scope="module")
def stack(issuer: Provider) -> Iterator[Stack]:
    chromium()
    environ = {
        "BORAFLOW_OIDC_ISSUER": issuer.issuer,
        "BORAFLOW_OIDC_CLIENT_ID": CLIENT_ID,
        "BORAFLOW_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "BORAFLOW_OIDC_ROLES": "operator=data,viewer=staff",
    }
    with Cluster(slots=2, environ=environ) as cluster:
        cluster.write_dag("pipelines.py", (HERE / "dags" / "pipelines.py").read_text())
        made = Stack(cluster)
        made.start_ui()
        cluster.wait_for_dag("orders")
        yield made


def sign_in(watched: Watched, name: str) -> None:
    page = watched.page
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_role("link", name=name, exact=True).click()


def test_through_the_provider_and_back_to_the_page(watched: Watched, stack: Stack) -> None:
    page = watched.page
    page.goto(stack.url("dag", dag_id="orders", tab="code"))
    expect(page.get_by_label("Token")).to_be_visible()
    shoot(page, "sign-in")
    sign_in(watched, "olga")
    expect(heading(page)).to_have_text("orders")
    assert address(page) == "/dag?dag_id=orders&tab=code"
    expect(page.locator(".whoami")).to_have_text("olga@example.com")
    expect(page.get_by_role("button", name="Trigger")).to_be_visible()
    cookies = {c["name"]: c for c in page.context.cookies()}
    assert cookies["bora_token"]["httpOnly"]
    assert cookies["bora_token"]["sameSite"] == "Strict"
    secret = cookies["bora_token"]["value"]
    # Signing out ends the session itself, not just the cookie.
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.context.add_cookies([{"name": "bora_token", "value": secret, "url": stack.base}])
    page.goto(stack.url("dags"))
    expect(page.get_by_label("Token")).to_be_visible()
    watched.foreign.clear()  # the provider's pages


def test_a_viewer_is_offered_no_actions(watched: Watched, stack: Stack) -> None:
    page = watched.page
    page.goto(stack.url("dag", dag_id="orders"))
    sign_in(watched, "vera")
    expect(page.locator(".whoami")).to_have_text("vera@example.com")
    expect(heading(page)).to_have_text("orders")
    expect(page.get_by_role("button", name="Trigger")).to_have_count(0)
    watched.foreign.clear()


def test_who_has_no_role_or_says_no_is_told(watched: Watched, stack: Stack) -> None:
    page = watched.page
    page.goto(stack.url("dags"))
    sign_in(watched, "guest")
    expect(page.get_by_role("alert")).to_contain_text("guest@example.com has no role here")
    shoot(page, "sign-in-refused")
    # From there one may try again, as somebody else.
    sign_in(watched, "nobody")
    expect(page.get_by_role("alert")).to_contain_text("You said no.")
    sign_in(watched, "vera")
    expect(heading(page)).to_have_text("DAGs")
    watched.foreign.clear()
    watched.troubles.clear()  # Chromium says of each refusal that it was one


def test_an_answer_that_nobody_asked_for_is_refused(watched: Watched, stack: Stack) -> None:
    page = watched.page
    page.goto(stack.url("login/callback", code="stolen", state="made-up"))
    expect(page.get_by_role("alert")).to_contain_text("did not work")
    page.goto(stack.url("dags"))
    expect(page.get_by_label("Token")).to_be_visible()
    watched.troubles.clear()


def test_a_provider_that_is_down_leaves_the_token(
    watched: Watched, stack: Stack, issuer: Provider
) -> None:
    page = watched.page
    issuer.down = True
    stack.cluster.stop("ui")
    stack.start_ui()  # it forgets what it knows of the provider
    page.goto(stack.url("dags"))
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    expect(page.get_by_role("alert")).to_contain_text("did not work")
    page.get_by_label("Token").fill(stack.client.tokens.create("tom", "viewer").secret)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator(".whoami")).to_have_text("tom")
    issuer.down = False
    watched.foreign.clear()
    watched.troubles.clear()
