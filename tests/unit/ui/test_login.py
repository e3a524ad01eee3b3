"""Signing in: who is let in, what is refused, where one is sent. The metastore's word is a fixed book here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from boraflow.config import ConfigError, load_settings
from boraflow_ui import data, login, session
from boraflow_ui.components import readable
from boraflow_ui.session import Person

KNOWN = {
    "v": Person("vera", "viewer"),
    "o": Person("olga", "operator"),
    "x": Person("executor", "executor"),
}


async def _hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("in")


@dataclass
class Answer:
    """What came back."""

    status_code: int
    headers: dict[str, str]
    text: str


@dataclass
class Site:
    """A browser of one site, as far as needed: it keeps cookies and follows nothing."""

    app: Any
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self._ask("GET", path, headers or {}, b"")

    def post(
        self, path: str, form: dict[str, str], headers: dict[str, str] | None = None
    ) -> Answer:
        return self._ask("POST", path, headers or {}, urlencode(form).encode())

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        path, _mark, query = path.partition("?")
        cookies = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "scheme": "http",
            "server": ("testserver", 80),
            "root_path": "",
            "headers": [
                (k.encode(), v.encode())
                for k, v in {"host": "testserver", "cookie": cookies, **headers}.items()
            ],
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        for name, morsel in SimpleCookie(found.get("set-cookie", "")).items():
            self.cookies[name] = morsel.value
        text = b"".join(m.get("body", b"") for m in sent[1:]).decode()
        return Answer(sent[0]["status"], found, text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    settings = load_settings("ui", {"BORAFLOW_HOME": str(tmp_path), "BORAFLOW_UI_LOGIN": "token"})
    source = data.connect(settings)
    monkeypatch.setattr(source.people, "of", KNOWN.get)
    app = Starlette(
        routes=[*login.ROUTES, Route("/dags", _hello), Route("/assets/a", _hello)],
        middleware=[Middleware(login.Guard)],
    )
    yield Site(app)
    source.hub.stop()


def test_a_page_leads_to_the_form_and_back(site: Site) -> None:
    answer = site.get("/dags?q=a%20b", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "login?next=dags%3Fq%3Da%2520b"
    form = site.get("/" + answer.headers["location"])
    assert 'value="dags?q=a%20b"' in form.text
    answer = site.post("/login", form={"token": " v\n", "next": "dags?q=a%20b"})
    assert (answer.status_code, answer.headers["location"]) == (303, "dags?q=a%20b")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert site.get("/dags").text == "in"
    assert site.get("/logout").status_code == 303
    assert site.get("/dags").status_code == 401


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [("wrong", 401, "not known"), ("", 401, "not known"), ("x", 403, "belongs to a service")],
)
def test_who_is_not_let_in(site: Site, token: str, status: int, said: str) -> None:
    answer = site.post("/login", form={"token": token})
    assert answer.status_code == status
    assert said in answer.text
    assert "set-cookie" not in answer.headers
    site.cookies[session.COOKIE] = token or "nobody"
    assert site.get("/dags").status_code == 401
    assert site.get("/assets/a").text == "in"


def test_the_form_speaks_the_readers_language(site: Site) -> None:
    assert "로그인" in site.get("/login", headers={"accept-language": "ko-KR,ko;q=0.9"}).text


def test_a_form_of_another_site_is_refused(site: Site) -> None:
    answer = site.post("/login", form={"token": "v"}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:x"],
)
def test_nobody_is_sent_to_another_site(site: Site, target: str) -> None:
    answer = site.post("/login", form={"token": "v", "next": target})
    assert answer.headers["location"] == "."


def test_what_is_written_into_the_form_stays_text(site: Site) -> None:
    assert "<script>" not in site.get("/login?next=%22%3E%3Cscript%3E").text


@pytest.mark.parametrize(
    ("address", "login_", "required"),
    [
        ("127.0.0.1:7780", "auto", False),
        ("0.0.0.0:7780", "auto", True),
        ("127.0.0.1:7780", "token", True),
        ("0.0.0.0:7780", "none", False),
    ],
)
def test_when_signing_in_is_required(address: str, login_: str, required: bool) -> None:
    settings = load_settings("ui", {}, address=address, login=login_)
    assert login.is_required(settings) is required


def test_a_wrong_setting_is_said() -> None:
    with pytest.raises(ConfigError, match="BORAFLOW_UI_LOGIN"):
        login.is_required(load_settings("ui", {}, login="oauth"))


def test_roles_contain_each_other() -> None:
    assert KNOWN["o"].may("viewer")
    assert not KNOWN["v"].may("operator")
    assert not KNOWN["x"].may("viewer")
    assert not session.NOBODY.may("viewer")


def test_a_reader_is_offered_nothing_that_changes_something() -> None:
    shown = readable(
        {
            "actions": [{"id": "trigger"}, {"id": "favorite"}],
            "columns": [{"id": "go", "type": "actions"}, {"id": "on", "type": "toggle"}],
            "rows": [{"key": "a", "cells": {"go": [{"id": "clear"}], "on": {"id": "pause"}}}],
        }
    )
    assert shown["actions"] == [{"id": "favorite"}]
    assert shown["rows"][0]["cells"] == {"go": None, "on": {"id": "pause", "disabled": True}}
