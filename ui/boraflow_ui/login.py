"""Signing in with a token, and the guard before every page, script and socket.

``/login`` takes a token and keeps it in a cookie that scripts cannot read and other sites cannot send; ``/logout``
forgets it. Where signing in is required, nothing but these two, the assets and the health check answers without it.
"""

from __future__ import annotations

import asyncio
import html
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from boraflow.config import ConfigError, UiSettings
from boraflow.rpc.tls import is_loopback
from boraflow_ui import data, messages, session
from boraflow_ui.asset_files import assets_digest

_OPEN = ("/login", "/logout", "/assets/", "/static/", "/favicon.png", "/_stcore/health")
_WEEK = 7 * 86_400


def is_required(settings: UiSettings) -> bool:
    """Return whether people must sign in.

    Raises:
        ConfigError: the setting is none of its words.
    """
    if settings.login not in ("auto", "none", "token"):
        raise ConfigError(
            f"BORAFLOW_UI_LOGIN: auto, none or token is expected, not {settings.login!r}"
        )
    return settings.login == "token" or (
        settings.login == "auto"
        and (bool(settings.oidc_issuer) or not is_loopback(settings.address))
    )


class Guard:
    """ASGI middleware: lets in who signed in."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not await self._lets_in(scope):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 4401})
                return
            await self._refuse(scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    async def _lets_in(scope: Any) -> bool:
        path = scope["path"][len(scope.get("root_path", "")) :]
        if not is_required(data.source().settings) or path.startswith(_OPEN):
            return True
        secret = _secret(scope)
        if not secret:
            return False
        person = await asyncio.to_thread(data.source().people.of, secret)
        return person is not None and person.may("viewer")

    @staticmethod
    def _refuse(scope: Any) -> Response:
        wants_page = any(k == b"accept" and b"text/html" in v for k, v in scope["headers"])
        if not wants_page:
            return PlainTextResponse("sign in first", 401)
        query = scope["query_string"].decode("latin-1")
        here = scope["path"].rpartition("/")[2] + (f"?{query}" if query else "")
        return RedirectResponse(f"login?next={quote(here, safe='')}", 303)


def _secret(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"cookie":
            jar: SimpleCookie = SimpleCookie()
            jar.load(value.decode("latin-1"))
            if session.COOKIE in jar:
                return jar[session.COOKIE].value
    return ""


def language(request: Request) -> str:
    """Return the language that the reader chose, or that their browser asks for."""
    return messages.language_of(
        request.cookies.get(messages.COOKIE), request.headers.get("accept-language")
    )


def page_of(text: str) -> str:
    """Return where to go after signing in: a page of ours, or home."""
    parts = urlsplit(text)
    own = not parts.scheme and not parts.netloc and not text.startswith(("/", "\\", "//"))
    return text if own and text else "."


async def login(request: Request) -> Response:
    """Show the form, or take it."""
    if request.method == "GET":
        return page(request, page_of(request.query_params.get("next", "")))
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return PlainTextResponse("this form is on another site", 403)
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    secret = "".join(form.get("token", [""])[0].split())
    target = page_of(form.get("next", [""])[0])
    source = data.source()
    person = await asyncio.to_thread(source.people.of, secret) if secret else None
    say = messages.catalogue(language(request)).get
    if person is None:
        text = (
            messages.N_("This token is not known. It may have been revoked, or have expired.")
            if source.health.up
            else messages.N_("The metastore does not answer, so nobody can be let in now.")
        )
        return page(request, target, say(text, text), 401)
    if not person.may("viewer"):
        text = messages.N_(
            "This token belongs to a service. Sign in with one for viewer, operator or admin."
        )
        return page(request, target, say(text, text), 403)
    answer = RedirectResponse(target, 303)
    keep(answer, request, secret, _WEEK)
    return answer


def keep(answer: Response, request: Request, secret: str, seconds: int) -> None:
    """Have the browser keep a token."""
    answer.set_cookie(
        session.COOKIE,
        secret,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


async def logout(request: Request) -> Response:
    """Forget the token; a session that was made by signing in at a provider ends."""
    if secret := request.cookies.get(session.COOKIE):
        await asyncio.to_thread(data.source().people.sign_out, secret)
    answer = RedirectResponse("login", 303)
    answer.delete_cookie(session.COOKIE, httponly=True, samesite="strict")
    return answer


ROUTES = [Route("/login", login, methods=["GET", "POST"]), Route("/logout", logout)]

_TITLE = messages.N_("Sign in")
_TOKEN = messages.N_("Token")
_PROVIDER = messages.N_("Sign in with {provider}")
_OR = messages.N_("or with a token")
_HELP = messages.N_(
    "An admin makes one with `bora tokens create NAME --role viewer`. On a machine of your own it is in the file tokens/admin.token."
)
_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} · Boraflow</title><link rel="icon" href="{above}assets/{digest}/icon.svg">
<style>
:root {{ color-scheme: light dark; --bg: #f5f6f8; --card: #fff; --text: #1c2431; --muted: #596577; --line: #d9dee6; --accent: #5a48cf; --bad: #b3262f; }}
@media (prefers-color-scheme: dark) {{ :root {{ --bg: #13161d; --card: #1b1f29; --text: #e3e7ee; --muted: #a3acbc; --line: #3a4150; --accent: #6c5ae0; --bad: #f58b90; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--bg); color: var(--text); font: 15px/1.5 "Source Sans", system-ui, sans-serif; }}
main {{ width: min(400px, calc(100vw - 32px)); padding: 32px; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }}
img {{ display: block; height: 34px; margin-bottom: 22px; }}
h1 {{ margin: 0 0 16px; font-size: 20px; font-weight: 650; }}
label {{ display: block; font-weight: 550; font-size: 13.5px; margin-bottom: 6px; }}
input {{ width: 100%; height: 40px; padding: 0 12px; border: 1px solid var(--line); border-radius: 7px; background: var(--bg); color: inherit; font: inherit; }}
button, a.button {{ display: block; width: 100%; height: 40px; margin-top: 14px; border: 0; border-radius: 7px; background: var(--accent); color: #fff; font: 600 15px/1 inherit; font-family: inherit; cursor: pointer; }}
a.button {{ margin: 0; line-height: 40px; text-align: center; text-decoration: none; }}
a.button ~ form button {{ background: transparent; color: var(--text); border: 1px solid var(--line); }}
.or {{ margin: 18px 0 12px; color: var(--muted); font-size: 13px; text-align: center; }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
p {{ margin: 16px 0 0; color: var(--muted); font-size: 13px; }}
p.bad {{ margin: 0 0 14px; color: var(--bad); font-size: 14px; }}
</style></head><body><main>
<img src="{above}assets/{digest}/logo.svg" alt="Boraflow">
<h1>{title}</h1>{problem}
{provider}<form method="post" action="{above}login"><input type="hidden" name="next" value="{target}">
<label for="token">{token}</label>
<input id="token" name="token" type="password" autocomplete="current-password" required{focus}>
<button>{title}</button></form><p>{help}</p>
</main></body></html>"""


def page(
    request: Request, target: str, problem: str = "", status: int = 200, above: str = ""
) -> Response:
    """Return the form. ``above`` leads from the address that is shown to the dashboard's own."""
    chosen = language(request)
    say = messages.catalogue(chosen).get
    name = urlsplit(data.source().settings.oidc_issuer).hostname
    provider = ""
    if name:
        link = f"{above}login/oidc?next={quote(target.removeprefix(above), safe='')}"
        text = html.escape(say(_PROVIDER, _PROVIDER).format(provider=name))
        provider = f'<a class="button" href="{html.escape(link)}">{text}</a><div class="or">{html.escape(say(_OR, _OR))}</div>'
    return HTMLResponse(
        _PAGE.format(
            language=chosen,
            digest=assets_digest(),
            title=html.escape(say(_TITLE, _TITLE)),
            token=html.escape(say(_TOKEN, _TOKEN)),
            help=html.escape(say(_HELP, _HELP)),
            target=html.escape(target.removeprefix(above)),
            above=above,
            provider=provider,
            focus="" if name else " autofocus",
            problem=f'<p class="bad" role="alert">{html.escape(problem)}</p>' if problem else "",
        ),
        status,
        {"Cache-Control": "no-store"},
    )
