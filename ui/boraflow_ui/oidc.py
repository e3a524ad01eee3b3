"""Signing in at an OpenID Connect provider: the authorization code flow with PKCE, by Authlib.

``/login/oidc`` sends the reader to the provider, which sends them back to ``/login/callback``. The ID token goes on to
the metastore, which checks it and answers a token of the person's own: from there on all is as with one that was typed
(decision record 18). The dashboard cannot make such tokens itself.
"""

from __future__ import annotations

import asyncio
import html
import logging
import secrets
import time
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from boraflow.config import UiSettings
from boraflow.rpc import oidc
from boraflow.rpc.errors import ApiError
from boraflow_ui import data, login, messages

logger = logging.getLogger(__name__)

_MINUTES = 10
_TIMEOUT = 10.0


def check(settings: UiSettings) -> None:
    """Check what is set.

    Raises:
        ConfigError: names the setting that is missing or wrong.
    """
    oidc.check(
        settings.oidc_issuer,
        settings.oidc_client_id,
        "itsdangerous",
        "authlib.integrations.starlette_client",
    )


def provider(settings: UiSettings) -> str:
    """Return the provider's name as people know it, or nothing."""
    return urlsplit(settings.oidc_issuer).hostname or ""


@cache
def _client(settings: UiSettings) -> Any:
    from authlib.integrations.starlette_client import OAuth

    return OAuth().register(
        "provider",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret or None,
        server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": settings.oidc_scope,
            "code_challenge_method": "S256",
            "timeout": _TIMEOUT,
        },
    )


async def begin(request: Request) -> Response:
    """Send the reader to the provider."""
    settings = data.source().settings
    target = login.page_of(request.query_params.get("next", ""))
    back = settings.oidc_redirect_url or str(
        request.url.replace(path=request.url.path.removesuffix("oidc") + "callback", query="")
    )
    request.session.clear()
    request.session["next"] = target
    try:
        return await _client(settings).authorize_redirect(request, back)
    except Exception as error:  # noqa: BLE001  whatever a provider that is down or misconfigured causes
        return _failed(request, target, error)


async def callback(request: Request) -> Response:
    """Take what the provider says, and let in whom the metastore lets in."""
    target = login.page_of(str(request.session.get("next", "")))
    source = data.source()
    try:
        answer = await _client(source.settings).authorize_access_token(request)
        id_token = answer["id_token"]
    except Exception as error:  # noqa: BLE001
        return _failed(request, target, error)
    finally:
        request.session.clear()
    try:
        signed_in = await asyncio.to_thread(source.people.sign_in, id_token)
    except ApiError as error:
        logger.warning("sign-in refused: %s", error.message)
        return login.page(request, "../" + target, error.message, 403, above="../")
    # A redirect would count as the provider's, and a strict cookie would not be sent along.
    where = html.escape("../" + target)
    page = HTMLResponse(
        f'<!doctype html><meta charset="utf-8"><title>Boraflow</title><meta http-equiv="refresh" content="0;url={where}">',
        headers={"Cache-Control": "no-store"},
    )
    ends = signed_in.token.expire_time.seconds
    login.keep(page, request, signed_in.secret, max(60, int(ends - time.time())))
    return page


def _failed(request: Request, target: str, error: Exception) -> Response:
    logger.warning("the provider cannot be used: %s: %s", type(error).__name__, error)
    text = messages.N_("Signing in at {provider} did not work: {error}")
    say = messages.catalogue(login.language(request)).get
    description = getattr(error, "description", "") or str(error) or type(error).__name__
    problem = say(text, text).format(
        provider=provider(data.source().settings), error=description[:300]
    )
    return login.page(request, "../" + target, problem, 502, above="../")


async def _off(_request: Request) -> Response:
    return RedirectResponse("../login", 303)


def routes(settings: UiSettings) -> list[Route]:
    """Return the routes; without a provider they lead to the form."""
    if not settings.oidc_issuer:
        return [Route("/login/oidc", _off), Route("/login/callback", _off)]
    kept = Middleware(
        SessionMiddleware,
        # What is kept on the way to the provider and back is of no use to another process.
        secret_key=secrets.token_urlsafe(32),
        session_cookie="bora_login",
        max_age=_MINUTES * 60,
        same_site="lax",
        https_only=settings.oidc_redirect_url.startswith("https:"),
    )
    return [
        Route("/login/oidc", begin, middleware=[kept]),
        Route("/login/callback", callback, middleware=[kept]),
    ]
