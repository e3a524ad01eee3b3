"""People who sign in at an OpenID Connect provider: whether an ID token is theirs, and which role they get.

The metastore checks the token itself (signature, issuer, audience, dates; OpenID Connect Core 1.0, section 3.1.3.7),
so that who forwards it, the dashboard, cannot sign anybody else in.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from grpc import StatusCode

from boraflow.config import ConfigError, MetastoreSettings
from boraflow.rpc import oidc
from boraflow.rpc.auth import Role
from boraflow.rpc.errors import ApiError, precondition, unavailable
from boraflow_metastore.tokens import BUILT_IN

_PEOPLE = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
_FETCH_SECONDS = 5.0
_KEYS_AGE = 3600.0
_FETCH_PAUSE = 10.0
_LEEWAY = 60
_ANSWER_MAX = 1 << 20
#: Asymmetric ones: with the others who knows the client's secret could write tokens.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an ID token names."""

    name: str
    role: Role


def check_settings(settings: MetastoreSettings) -> None:
    """Check what is set for signing in at a provider.

    Raises:
        ConfigError: names the setting that is missing or wrong.
    """
    roles_of(settings.oidc_roles)
    oidc.check(settings.oidc_issuer, settings.oidc_client_id, "joserfc.jwt")
    if settings.oidc_session_hours <= 0:
        raise ConfigError(
            f"BORAFLOW_OIDC_SESSION_HOURS: more than 0 is expected, not {settings.oidc_session_hours:g}"
        )


def roles_of(text: dict[str, str]) -> dict[Role, frozenset[str]]:
    """Return the values that give each role.

    Raises:
        ConfigError: a role is none that people have.
    """
    known = {role.value: role for role in _PEOPLE}
    found = {}
    for name, values in text.items():
        if name not in known:
            raise ConfigError(
                f"BORAFLOW_OIDC_ROLES: {name!r} is none of {', '.join(sorted(known))}, the roles of people"
            )
        found[known[name]] = frozenset(v.strip() for v in values.split("|") if v.strip())
    return found


def claim_of(claims: dict[str, Any], path: str) -> Any:
    """Return a claim: of that very name (some are URLs), else found along the dots."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


class Identities:
    """The people of one provider."""

    def __init__(self, settings: MetastoreSettings) -> None:
        self._issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._role_claim = settings.oidc_role_claim
        self._name_claim = settings.oidc_name_claim
        self._roles = roles_of(settings.oidc_roles)
        self.session_us = int(settings.oidc_session_hours * 3_600_000_000)
        self._keys: Any = None
        self._fetched = float("-inf")
        self._fetching = asyncio.Lock()

    async def of(self, id_token: str) -> Identity:
        """Return who an ID token names.

        Raises:
            ApiError: OIDC_NOT_CONFIGURED, ID_TOKEN_INVALID, IDENTITY_HAS_NO_ROLE, IDENTITY_PROVIDER_DOWN.
        """
        if not self._issuer:
            raise precondition(
                "OIDC_NOT_CONFIGURED",
                "no provider to sign in at is configured: set BORAFLOW_OIDC_ISSUER for the metastore",
            )
        claims = await self._claims(id_token)
        name = claim_of(claims, self._name_claim)
        usable = isinstance(name, str) and 0 < len(name) <= 90 and "#" not in name
        if not usable or name in BUILT_IN:
            raise _invalid(
                f"it has no usable claim {self._name_claim!r} (BORAFLOW_OIDC_NAME_CLAIM)"
            )
        if self._name_claim == "email" and claims.get("email_verified") is False:
            raise _invalid(f"the provider has not verified the address {name}")
        return Identity(name, self._role(name, claims))

    def _role(self, name: str, claims: dict[str, Any]) -> Role:
        value = claim_of(claims, self._role_claim)
        has = {value} if isinstance(value, str) else {v for v in value or () if isinstance(v, str)}
        for role in _PEOPLE:
            wanted = self._roles.get(role, frozenset())
            if "*" in wanted or wanted & has:
                return role
        raise ApiError(
            StatusCode.PERMISSION_DENIED,
            "IDENTITY_HAS_NO_ROLE",
            f"{name} has no role here: none of the values in claim {self._role_claim!r} is named by"
            " BORAFLOW_OIDC_ROLES",
        )

    async def _claims(self, id_token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            token = jwt.decode(id_token, await self._key_set(), algorithms=list(_ALGORITHMS))
        except (JoseError, ValueError):
            # The provider may have new keys.
            keys = await self._key_set(anew=True)
            try:
                token = jwt.decode(id_token, keys, algorithms=list(_ALGORITHMS))
            except (JoseError, ValueError) as error:
                raise _invalid(str(error) or type(error).__name__) from None
        rules = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        claims = token.claims
        try:
            rules.validate(claims)
        except JoseError as error:
            raise _invalid(str(error)) from None
        audience = claims["aud"]
        if (
            isinstance(audience, list)
            and len(audience) > 1
            and claims.get("azp") != self._client_id
        ):
            raise _invalid("it was issued to another client")
        return claims

    async def _key_set(self, *, anew: bool = False) -> Any:
        async with self._fetching:
            age = time.monotonic() - self._fetched
            # Tokens that nobody signed must not have the provider asked each time.
            if self._keys is None or age > _KEYS_AGE or (anew and age > _FETCH_PAUSE):
                self._keys = await asyncio.to_thread(self._fetch)
                self._fetched = time.monotonic()
            return self._keys

    def _fetch(self) -> Any:
        from joserfc.jwk import KeySet

        try:
            found = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise ValueError(
                    f"it calls itself {found.get('issuer')!r}, BORAFLOW_OIDC_ISSUER says {self._issuer!r}"
                )
            keys = _get(found["jwks_uri"])
            usable = [k for k in keys["keys"] if k.get("use", "sig") == "sig" and k["kty"] != "oct"]
            return KeySet.import_key_set({"keys": usable})
        except (URLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unavailable(
                "IDENTITY_PROVIDER_DOWN", f"{self._issuer} cannot be asked for its keys: {error}"
            ) from error


def _get(url: str) -> Any:
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url!r} is no URL of a website")
    request = Request(url, headers={"Accept": "application/json"})
    with urlopen(request, timeout=_FETCH_SECONDS) as answer:
        return json.loads(answer.read(_ANSWER_MAX))


def _invalid(why: str) -> ApiError:
    return ApiError(
        StatusCode.UNAUTHENTICATED, "ID_TOKEN_INVALID", f"the ID token is not accepted: {why}"
    )
