"""Signing in with an ID token: whose it is, which role they get, and what is refused, with a provider that is real."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey

from boraflow.api.metastore.v1 import (
    connection_service_pb2,
    pool_service_pb2,
    system_service_pb2,
    token_service_pb2,
)
from boraflow.config import ConfigError
from boraflow.rpc.errors import from_rpc_error
from tests.service.test_metastore_relay import refused
from tests.support.metastore import MetastoreUnderTest
from tests.support.oidc_provider import CLIENT_ID, Provider, provider

SIGN_IN = token_service_pb2.SignInRequest
WHO = token_service_pb2.GetCallerRequest()
PEOPLE: dict[str, dict[str, Any]] = {
    "kim": {"email": "kim@example.com", "email_verified": True, "groups": ["staff", "platform"]},
    "olga": {"email": "olga@example.com", "groups": ["sre"]},
    "vera": {"email": "vera@example.com", "groups": ["staff"]},
    "guest": {"email": "guest@example.com", "groups": []},
    "liar": {"email": "kim@example.com", "email_verified": False, "groups": ["platform"]},
    "nameless": {"groups": ["platform"]},
    "posing": {"email": "scheduler", "groups": ["platform"]},
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with provider(PEOPLE) as made:
        yield made


@pytest_asyncio.fixture
async def served(issuer: Provider, tmp_path: Path) -> AsyncIterator[MetastoreUnderTest]:
    under_test = MetastoreUnderTest(
        tmp_path / "home",
        f"sqlite:///{tmp_path / 'b.db'}",
        {
            "BORAFLOW_OIDC_ISSUER": issuer.issuer,
            "BORAFLOW_OIDC_CLIENT_ID": CLIENT_ID,
            "BORAFLOW_OIDC_ROLES": "admin=platform,operator=data|sre,viewer=staff",
        },
    )
    await under_test.start()
    yield under_test
    await under_test.stop()


async def test_people_get_the_strongest_role_of_their_groups(
    served: MetastoreUnderTest, issuer: Provider
) -> None:
    ui = served.api("ui")
    for name, role in (("kim", "admin"), ("olga", "operator"), ("vera", "viewer")):
        answer = await ui.tokens.SignIn(SIGN_IN(id_token=issuer.id_token(name)))
        caller = await served.api(secret=answer.secret).tokens.GetCaller(WHO)
        assert (caller.name, caller.role) == (f"{name}@example.com", role)
        left = answer.token.expire_time.seconds - time.time()
        assert 11.9 * 3600 < left <= 12 * 3600
    entries = await served.api().system.ListAuditEntries(
        system_service_pb2.ListAuditEntriesRequest(page_size=10)
    )
    assert [(e.actor, e.action, e.detail) for e in entries.entries] == [
        ("vera@example.com", "SignIn", "viewer"),
        ("olga@example.com", "SignIn", "operator"),
        ("kim@example.com", "SignIn", "admin"),
    ]


async def test_the_api_refuses_what_the_role_may_not_do(
    served: MetastoreUnderTest, issuer: Provider
) -> None:
    answer = await served.api("ui").tokens.SignIn(SIGN_IN(id_token=issuer.id_token("vera")))
    vera = served.api(secret=answer.secret)
    await vera.pools.ListPools(pool_service_pb2.ListPoolsRequest())
    error = await refused(
        vera.connections.DeleteConnection(
            connection_service_pb2.DeleteConnectionRequest(conn_id="x")
        )
    )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_person_has_several_sessions_and_ends_one(
    served: MetastoreUnderTest, issuer: Provider
) -> None:
    ui = served.api("ui")
    first = await ui.tokens.SignIn(SIGN_IN(id_token=issuer.id_token("kim")))
    second = await ui.tokens.SignIn(SIGN_IN(id_token=issuer.id_token("kim")))
    assert first.token.name != second.token.name
    await ui.tokens.SignOut(token_service_pb2.SignOutRequest(secret=first.secret))
    error = await refused(served.api(secret=first.secret).tokens.GetCaller(WHO))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert (await served.api(secret=second.secret).tokens.GetCaller(WHO)).role == "admin"
    # A token that an admin made is none that signing out ends.
    admin = served.token("admin")
    await ui.tokens.SignOut(token_service_pb2.SignOutRequest(secret=admin))
    assert (await served.api(secret=admin).tokens.GetCaller(WHO)).name == "admin"
    # Sessions are listed, and an admin ends them like other tokens.
    await served.api().tokens.RevokeToken(
        token_service_pb2.RevokeTokenRequest(name=second.token.name)
    )
    error = await refused(served.api(secret=second.secret).tokens.GetCaller(WHO))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_sessions_survive_a_restart_and_end_by_themselves(
    issuer: Provider, tmp_path: Path
) -> None:
    under_test = MetastoreUnderTest(
        tmp_path / "home",
        f"sqlite:///{tmp_path / 'b.db'}",
        {
            "BORAFLOW_OIDC_ISSUER": issuer.issuer,
            "BORAFLOW_OIDC_CLIENT_ID": CLIENT_ID,
            "BORAFLOW_OIDC_ROLES": "viewer=*",
            "BORAFLOW_OIDC_SESSION_HOURS": str(2.0 / 3600),
        },
    )
    await under_test.start()
    answer = await under_test.api("ui").tokens.SignIn(SIGN_IN(id_token=issuer.id_token("guest")))
    await under_test.restart()
    assert (await under_test.api(secret=answer.secret).tokens.GetCaller(WHO)).role == "viewer"
    await asyncio.sleep(2.1)
    error = await refused(under_test.api(secret=answer.secret).tokens.GetCaller(WHO))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    # The next to sign in has what is over removed.
    await under_test.api("ui").tokens.SignIn(SIGN_IN(id_token=issuer.id_token("vera")))
    listed = await under_test.api().tokens.ListTokens(token_service_pb2.ListTokensRequest())
    assert [t.name.partition("#")[0] for t in listed.tokens if "#" in t.name] == [
        "vera@example.com"
    ]
    await under_test.stop()


def forged(issuer: Provider) -> str:
    """Return a token that another key signed under the right one's name."""
    mine = issuer.key
    issuer.key = RSAKey.generate_key(2048, {"kid": mine.kid})
    try:
        return issuer.id_token("kim")
    finally:
        issuer.key = mine


def unsigned(issuer: Provider) -> str:
    _head, body, _ = issuer.id_token("kim").split(".")
    return f"eyJhbGciOiJub25lIn0.{body}."


def by_secret(issuer: Provider) -> str:
    """Return a token signed with what everybody knows: the public key's text as a shared secret."""
    claims = {
        "iss": issuer.issuer, "aud": CLIENT_ID, "sub": "kim", "iat": int(time.time()), "exp": int(time.time()) + 99,
        "email": "kim@example.com", "groups": ["platform"],
    }  # fmt: skip
    head = {"alg": "HS256", "kid": issuer.key.kid}
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in (head, claims)]
    signature = hmac.digest(issuer.key.as_pem(private=False), b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


#: What is wrong, and a token that has it.
REFUSED: dict[str, Callable[[Provider], str]] = {
    "empty": lambda p: "",
    "garbage": lambda p: "no.token.really",
    "signature": lambda p: p.id_token("kim")[:-4] + "AAAA",
    "another key": forged,
    "unsigned": unsigned,
    "symmetric": by_secret,
    "audience": lambda p: p.id_token("kim", aud="another"),
    "authorized party": lambda p: p.id_token("kim", aud=[CLIENT_ID, "other"], azp="other"),
    "issuer": lambda p: p.id_token("kim", iss="http://127.0.0.1:1"),
    "expired": lambda p: p.id_token("kim", exp=int(time.time()) - 120),
    "endless": lambda p: p.id_token("kim", exp=None),
    "unverified address": lambda p: p.id_token("liar"),
    "no name": lambda p: p.id_token("nameless"),
    "a service's name": lambda p: p.id_token("posing"),
}


async def test_what_is_not_accepted(served: MetastoreUnderTest, issuer: Provider) -> None:
    ui = served.api("ui")
    for what, make in REFUSED.items():
        found = from_rpc_error(await refused(ui.tokens.SignIn(SIGN_IN(id_token=make(issuer)))))
        assert (found.code, found.reason) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "ID_TOKEN_INVALID",
        ), what
        assert found.message.startswith("the ID token is not accepted: "), what
    listed = await served.api().tokens.ListTokens(token_service_pb2.ListTokensRequest())
    assert not [t.name for t in listed.tokens if "#" in t.name]


async def test_who_has_no_role_is_told_so(served: MetastoreUnderTest, issuer: Provider) -> None:
    error = await refused(
        served.api("ui").tokens.SignIn(SIGN_IN(id_token=issuer.id_token("guest")))
    )
    found = from_rpc_error(error)
    assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "IDENTITY_HAS_NO_ROLE")
    assert "guest@example.com" in found.message


async def test_new_keys_are_fetched_but_not_for_each_bad_token(
    served: MetastoreUnderTest, issuer: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boraflow_metastore import identities

    ui = served.api("ui")
    await ui.tokens.SignIn(SIGN_IN(id_token=issuer.id_token("kim")))
    before = issuer.asked_for_keys
    for _ in range(5):
        await refused(ui.tokens.SignIn(SIGN_IN(id_token=forged(issuer))))
    assert issuer.asked_for_keys == before
    issuer.new_key()
    monkeypatch.setattr(identities, "_FETCH_PAUSE", 0.0)
    await ui.tokens.SignIn(SIGN_IN(id_token=issuer.id_token("kim")))
    assert issuer.asked_for_keys == before + 1


async def test_a_provider_that_is_down_is_named(tmp_path: Path) -> None:
    with provider(PEOPLE) as down:
        under_test = MetastoreUnderTest(
            tmp_path / "home",
            f"sqlite:///{tmp_path / 'b.db'}",
            {
                "BORAFLOW_OIDC_ISSUER": down.issuer,
                "BORAFLOW_OIDC_CLIENT_ID": CLIENT_ID,
                "BORAFLOW_OIDC_ROLES": "viewer=*",
            },
        )
        await under_test.start()
        down.down = True
        call = under_test.api("ui").tokens.SignIn(SIGN_IN(id_token=down.id_token("kim")))
        found = from_rpc_error(await refused(call))
        assert (found.code, found.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "IDENTITY_PROVIDER_DOWN",
        )
        assert down.issuer in found.message
        down.down = False
        await under_test.api("ui").tokens.SignIn(SIGN_IN(id_token=down.id_token("kim")))
        await under_test.stop()


async def test_without_a_provider(tmp_path: Path) -> None:
    under_test = MetastoreUnderTest(tmp_path / "home", f"sqlite:///{tmp_path / 'b.db'}")
    await under_test.start()
    error = await refused(under_test.api("ui").tokens.SignIn(SIGN_IN(id_token="x")))
    assert from_rpc_error(error).reason == "OIDC_NOT_CONFIGURED"
    await under_test.stop()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BORAFLOW_OIDC_ISSUER": "login.example.com"}, "BORAFLOW_OIDC_ISSUER: a URL is expected"),
        (
            {"BORAFLOW_OIDC_ISSUER": "http://login.example.com", "BORAFLOW_OIDC_CLIENT_ID": "x"},
            "https is expected",
        ),
        ({"BORAFLOW_OIDC_ISSUER": "https://login.example.com"}, "BORAFLOW_OIDC_CLIENT_ID is not"),
        ({"BORAFLOW_OIDC_CLIENT_ID": "x"}, "BORAFLOW_OIDC_ISSUER is not"),
        ({"BORAFLOW_OIDC_ROLES": "king=staff"}, "BORAFLOW_OIDC_ROLES: 'king' is none of"),
    ],
)
async def test_wrong_settings_are_named_at_the_start(
    environ: dict[str, str], message: str, tmp_path: Path
) -> None:
    under_test = MetastoreUnderTest(tmp_path / "home", f"sqlite:///{tmp_path / 'b.db'}", environ)
    with pytest.raises(ConfigError, match=message):
        await under_test.start()
