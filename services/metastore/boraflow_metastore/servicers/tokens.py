"""TokenService."""

from __future__ import annotations

import secrets

from boraflow.api.metastore.v1 import token_service_pb2 as pb
from boraflow.api.metastore.v1 import token_service_pb2_grpc
from boraflow.rpc.auth import Role, current_caller
from boraflow.rpc.errors import exists, invalid, not_found
from boraflow.wire import micros, timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.store import settings, system
from boraflow_metastore.store.settings import StoredToken
from boraflow_metastore.store.writer import Transaction, now_us
from boraflow_metastore.tokens import digest_of, new_secret, owner_of


def _message(t: StoredToken) -> pb.Token:
    return pb.Token(
        name=t.name,
        role=t.role,
        create_time=timestamp(t.created_us),
        expire_time=timestamp(t.expire_us or None),
        revoked=bool(t.revoked),
    )


class TokenServicer(token_service_pb2_grpc.TokenServiceServicer):
    """Tokens."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def CreateToken(
        self, request: pb.CreateTokenRequest, context: Context
    ) -> pb.CreateTokenResponse:
        if not request.name or len(request.name) > 100 or not request.name.isprintable():
            raise invalid(
                "TOKEN_INVALID",
                "a token needs a name of 1 to 100 characters, none of them a control character",
                field="name",
            )
        if "#" in request.name:
            raise invalid("TOKEN_INVALID", "'#' in a name is for people's sessions", field="name")
        if request.role not in [r.value for r in Role]:
            raise invalid(
                "ROLE_INVALID",
                f"role {request.role!r} is none of {', '.join(r.value for r in Role)}",
                field="role",
            )
        expire_us = micros(request.expire_time) if request.HasField("expire_time") else 0
        if expire_us and expire_us <= now_us():
            raise invalid("TOKEN_INVALID", "expire_time is in the past", field="expire_time")
        secret = new_secret()
        token = StoredToken(request.name, request.role, digest_of(secret), now_us(), expire_us, 0)
        actor = current_caller().name

        def apply(transaction: Transaction) -> None:
            if not settings.add_token(transaction, token):
                raise exists("TOKEN_EXISTS", f"there is a token {request.name!r} already")
            system.record(
                transaction, actor, "CreateToken", detail=f"{request.name} {request.role}"
            )

        await self._parts.write(context, apply)
        await self._parts.tokens.load(self._parts.reader)
        return pb.CreateTokenResponse(token=_message(token), secret=secret)

    async def ListTokens(
        self, request: pb.ListTokensRequest, context: Context
    ) -> pb.ListTokensResponse:
        size = page_size(request.page_size)
        key = page_key("tokens", request.page_token, str)
        found = await self._parts.reader.run(
            lambda s: settings.list_tokens(s, key[0] if key else "", size + 1)
        )
        response = pb.ListTokensResponse(tokens=[_message(t) for t in found[:size]])
        if len(found) > size:
            response.next_page_token = page_token("tokens", found[size - 1].name)
        return response

    async def RevokeToken(
        self, request: pb.RevokeTokenRequest, context: Context
    ) -> pb.RevokeTokenResponse:
        actor = current_caller().name

        def apply(transaction: Transaction) -> None:
            if not settings.revoke_token(transaction, request.name):
                raise not_found("TOKEN_NOT_FOUND", f"there is no token {request.name!r}")
            system.record(transaction, actor, "RevokeToken", detail=request.name)

        await self._parts.write(context, apply)
        await self._parts.tokens.load(self._parts.reader)
        return pb.RevokeTokenResponse()

    async def GetCaller(
        self, request: pb.GetCallerRequest, context: Context
    ) -> pb.GetCallerResponse:
        caller = current_caller()
        return pb.GetCallerResponse(name=caller.name, role=caller.role.value if caller.role else "")

    async def SignIn(self, request: pb.SignInRequest, context: Context) -> pb.SignInResponse:
        identity = await self._parts.identities.of(request.id_token)
        secret = new_secret()
        now = now_us()
        token = StoredToken(
            f"{identity.name}#{secrets.token_hex(4)}",
            identity.role.value,
            digest_of(secret),
            now,
            now + self._parts.identities.session_us,
            0,
        )

        def apply(transaction: Transaction) -> None:
            settings.drop_old_sessions(transaction, now)
            settings.add_token(transaction, token)
            system.record(transaction, identity.name, "SignIn", detail=identity.role.value)

        await self._parts.write(context, apply)
        await self._parts.tokens.load(self._parts.reader)
        return pb.SignInResponse(token=_message(token), secret=secret)

    async def SignOut(self, request: pb.SignOutRequest, context: Context) -> pb.SignOutResponse:
        digest = digest_of(request.secret)

        def apply(transaction: Transaction) -> None:
            name = settings.end_session(transaction, digest)
            if name:
                system.record(transaction, owner_of(name), "SignOut")

        await self._parts.write(context, apply)
        await self._parts.tokens.load(self._parts.reader)
        return pb.SignOutResponse()
