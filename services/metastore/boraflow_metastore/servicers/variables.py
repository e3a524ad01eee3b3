"""VariableService."""

from __future__ import annotations

from boraflow.api.metastore.v1 import variable_service_pb2 as pb
from boraflow.api.metastore.v1 import variable_service_pb2_grpc
from boraflow.model.secret_names import looks_secret
from boraflow.rpc.auth import Role, current_caller
from boraflow.rpc.errors import invalid, not_found
from boraflow_metastore.encryption import MASK, Vault
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.store import settings
from boraflow_metastore.store.settings import StoredVariable
from boraflow_metastore.store.writer import Transaction

_LONGEST_KEY = 250
_LARGEST_VALUE = 1_048_576


def plain_variable(vault: Vault, stored: StoredVariable) -> pb.Variable:
    """Return a stored variable with its value decrypted."""
    return pb.Variable(
        key=stored.key,
        value=vault.decrypt(stored.value, f"variable {stored.key!r}"),
        description=stored.description,
    )


def check_variable(variable: pb.Variable) -> None:
    """Refuse a variable that cannot be stored."""
    if not variable.key or len(variable.key) > _LONGEST_KEY or not variable.key.isprintable():
        raise invalid(
            "VARIABLE_INVALID",
            f"a variable needs a key of 1 to {_LONGEST_KEY} characters, none of them a control character",
            field="variable.key",
        )
    if len(variable.value) > _LARGEST_VALUE:
        raise invalid(
            "VARIABLE_INVALID",
            f"variable {variable.key!r} has {len(variable.value):,} characters;"
            f" at most {_LARGEST_VALUE:,} are kept",
            field="variable.value",
        )


class VariableServicer(variable_service_pb2_grpc.VariableServiceServicer):
    """Variables."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def _shown(self, stored: StoredVariable) -> pb.Variable:
        variable = plain_variable(self._parts.vault, stored)
        viewer = current_caller().role not in {Role.OPERATOR, Role.ADMIN}
        if viewer and variable.value and looks_secret(variable.key):
            variable.value = MASK
        return variable

    async def ListVariables(
        self, request: pb.ListVariablesRequest, context: Context
    ) -> pb.ListVariablesResponse:
        size = page_size(request.page_size)
        key = page_key("variables", request.page_token, str)
        found = await self._parts.reader.run(
            lambda s: settings.list_variables(s, key[0] if key else "", size + 1)
        )
        response = pb.ListVariablesResponse(variables=[self._shown(v) for v in found[:size]])
        if len(found) > size:
            response.next_page_token = page_token("variables", found[size - 1].key)
        return response

    async def GetVariable(
        self, request: pb.GetVariableRequest, context: Context
    ) -> pb.GetVariableResponse:
        found = await self._parts.reader.small(lambda s: settings.find_variable(s, request.key))
        if found is None:
            raise _variable_not_found(request.key)
        return pb.GetVariableResponse(variable=self._shown(found))

    async def SetVariable(
        self, request: pb.SetVariableRequest, context: Context
    ) -> pb.SetVariableResponse:
        check_variable(request.variable)
        variable = request.variable
        sealed = self._parts.vault.encrypt(variable.value)

        def apply(transaction: Transaction) -> pb.SetVariableResponse:
            settings.put_variable(
                transaction, StoredVariable(variable.key, sealed, variable.description)
            )
            # A repeat is answered from what is stored, which must not hold the value in the clear.
            return pb.SetVariableResponse(
                variable=pb.Variable(key=variable.key, description=variable.description)
            )

        response = await self._parts.write_once(
            context, "SetVariable", request, pb.SetVariableResponse, apply, detail=variable.key
        )
        response.variable.value = variable.value
        return response

    async def DeleteVariable(
        self, request: pb.DeleteVariableRequest, context: Context
    ) -> pb.DeleteVariableResponse:
        def apply(transaction: Transaction) -> pb.DeleteVariableResponse:
            if not settings.delete_variable(transaction, request.key):
                raise _variable_not_found(request.key)
            return pb.DeleteVariableResponse()

        return await self._parts.write_once(
            context, "DeleteVariable", request, pb.DeleteVariableResponse, apply, detail=request.key
        )


def _variable_not_found(key: str) -> Exception:
    return not_found("VARIABLE_NOT_FOUND", f"there is no variable {key!r}", key=key)
