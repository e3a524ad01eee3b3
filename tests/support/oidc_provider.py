"""An OpenID Connect provider on loopback: discovery, keys, the code flow with PKCE, and people to be."""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID = "boraflow"
CLIENT_SECRET = "the client's secret"


class Provider:
    """The provider: its people are claims by name."""

    def __init__(self, people: dict[str, dict[str, Any]]) -> None:
        self.people = people
        self.issuer = ""
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
        self.asked_for_keys = 0
        self.down = False
        self._codes: dict[str, dict[str, str]] = {}

    def new_key(self) -> None:
        """Sign with another key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    def id_token(self, name: str, nonce: str = "", **changed: Any) -> str:
        """Return an ID token; ``changed`` claims replace the right ones, None removes one."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": name,
            "iat": now,
            "exp": now + 300,
            **({"nonce": nonce} if nonce else {}),
            **self.people.get(name, {}),
            **changed,
        }
        claims = {k: v for k, v in claims.items() if v is not None}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    async def discovery(self, _request: Request) -> Response:
        if self.down:
            return Response("out of order", 503)
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def keys(self, _request: Request) -> Response:
        self.asked_for_keys += 1
        return JSONResponse(KeySet([self.key]).as_dict(private=False))

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        if (
            query.get("client_id") != CLIENT_ID
            or "openid" not in query.get("scope", "")
            or query.get("code_challenge_method") != "S256"
        ):
            return Response("a wrong request", 400)
        if "as" not in query:
            links = "".join(
                f'<p><a href="?{html.escape(urlencode({**query, "as": name}))}">{name}</a></p>'
                for name in [*self.people, "nobody"]
            )
            return HTMLResponse(
                f'<!doctype html><title>Provider</title><link rel="icon" href="data:,"><h1>Who are you?</h1>{links}'
            )
        back: dict[str, str] = {"state": query["state"]}
        if query["as"] == "nobody":
            back |= {"error": "access_denied", "error_description": "You said no."}
        else:
            back["code"] = secrets.token_urlsafe(16)
            self._codes[back["code"]] = query
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(back)}", 302)

    async def token(self, request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        basic = base64.b64encode(
            f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '+').replace(chr(39), '%27')}".encode()
        )
        plain = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode())
        sent = request.headers.get("authorization", "").removeprefix("Basic ").encode()
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(
            hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        ).rstrip(b"=")
        if sent not in (basic, plain):
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or asked["code_challenge"].encode() != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse(
            {
                "access_token": secrets.token_urlsafe(16),
                "token_type": "Bearer",
                "expires_in": 300,
                "id_token": self.id_token(asked["as"], asked.get("nonce", "")),
            }
        )


@contextmanager
def provider(people: dict[str, dict[str, Any]]) -> Iterator[Provider]:
    """Serve a provider on a free port of loopback."""
    made = Provider(people)
    app = Starlette(
        routes=[
            Route("/.well-known/openid-configuration", made.discovery),
            Route("/keys", made.keys),
            Route("/authorize", made.authorize),
            Route("/token", made.token, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the provider did not start"
            assert time.monotonic() < until, "the provider does not start"
            time.sleep(0.01)
        made.issuer = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield made
    finally:
        server.should_exit = True
        thread.join(20)
