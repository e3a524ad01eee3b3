"""A trigger that waits for an HTTP endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from boraflow._connection import Connection
from boraflow.exceptions import AirflowException
from boraflow.hooks.http import HttpHook
from boraflow.triggers.base import BaseTrigger, TriggerEvent


class HttpSensorTrigger(BaseTrigger):
    """Fires when an endpoint answers without an error.

    Its event is ``{"status": "success"}`` or, for an error that is not worth waiting for, ``"error"`` with a message.

    Args:
        endpoint: what follows the connection's URL.
        http_conn_id: connection to the server.
        method: the HTTP method.
        data: the query of GET, the body otherwise.
        headers: headers.
        extra_options: ``timeout``, ``verify`` and the like.
        poke_interval: seconds between two requests.
        response_error_codes_allowlist: statuses that mean "not yet".
    """

    def __init__(
        self,
        endpoint: str | None = None,
        http_conn_id: str = "http_default",
        method: str = "GET",
        data: dict[str, Any] | str | None = None,
        headers: dict[str, str] | None = None,
        extra_options: dict[str, Any] | None = None,
        poke_interval: float = 5.0,
        response_error_codes_allowlist: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.arguments = {
            "endpoint": endpoint,
            "http_conn_id": http_conn_id,
            "method": method,
            "data": data,
            "headers": headers,
            "extra_options": extra_options,
            "poke_interval": poke_interval,
            "response_error_codes_allowlist": list(
                ("404",)
                if response_error_codes_allowlist is None
                else response_error_codes_allowlist
            ),
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return ("boraflow.triggers.http.HttpSensorTrigger", dict(self.arguments))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask again and again, each time in a thread."""
        given = self.arguments
        connection = await Connection.async_get(given["http_conn_id"])
        hook = HttpHook(given["method"], given["http_conn_id"], connection=connection)
        while True:
            try:
                await asyncio.to_thread(
                    hook.run,
                    given["endpoint"],
                    given["data"],
                    given["headers"],
                    given["extra_options"],
                )
            except AirflowException as err:
                if not str(err).startswith(tuple(given["response_error_codes_allowlist"])):
                    yield TriggerEvent({"status": "error", "message": str(err)})
                    return
            else:
                yield TriggerEvent({"status": "success"})
                return
            await asyncio.sleep(given["poke_interval"])
