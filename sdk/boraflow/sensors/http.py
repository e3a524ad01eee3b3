"""HttpSensor: wait for an HTTP endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from boraflow._call import call_kwargs
from boraflow.exceptions import AirflowException
from boraflow.hooks.http import HttpHook
from boraflow.sensors.base import BaseSensorOperator

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class HttpSensor(BaseSensorOperator):
    """Waits until an endpoint answers, and until ``response_check`` is content with the answer.

    404 means "not yet"; any other error fails the task, or a poke's connection that is refused.

    Args:
        endpoint: what follows the connection's URL.
        http_conn_id: connection to the server.
        method: the HTTP method.
        request_params: the query of GET, the body otherwise.
        request_kwargs: more of ``requests.Request``, such as ``json``.
        headers: headers.
        response_error_codes_allowlist: statuses, as text, that mean "not yet"; ``["404"]`` if not given.
        response_check: called with the response; its answer ends the wait, or not.
        extra_options: ``timeout``, ``verify``, ``check_response`` and the like.
        deferrable: wait in the async lane; not together with ``response_check``, which runs in a worker.
    """

    template_fields: Any = ("endpoint", "request_params", "headers", "http_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "headers": "json",
        "request_params": "json",
    }
    ui_color = "#e6f1f2"

    def __init__(
        self,
        *,
        endpoint: str,
        http_conn_id: str = "http_default",
        method: str = "GET",
        request_params: dict[str, Any] | None = None,
        request_kwargs: dict[str, Any] | None = None,
        headers: dict[str, Any] | None = None,
        response_error_codes_allowlist: list[str] | None = None,
        response_check: Callable[..., Any] | None = None,
        extra_options: dict[str, Any] | None = None,
        tcp_keep_alive: bool = True,
        tcp_keep_alive_idle: int = 120,
        tcp_keep_alive_count: int = 20,
        tcp_keep_alive_interval: int = 30,
        deferrable: bool = False,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.http_conn_id = http_conn_id
        self.method = method
        self.request_params = request_params or {}
        self.request_kwargs = request_kwargs or {}
        self.headers = headers or {}
        allowed = (
            ("404",) if response_error_codes_allowlist is None else response_error_codes_allowlist
        )
        self.response_error_codes_allowlist = tuple(str(c) for c in allowed)
        self.response_check = response_check
        self.extra_options = extra_options or {}
        self.keep_alive = {
            "tcp_keep_alive": tcp_keep_alive,
            "tcp_keep_alive_idle": tcp_keep_alive_idle,
            "tcp_keep_alive_count": tcp_keep_alive_count,
            "tcp_keep_alive_interval": tcp_keep_alive_interval,
        }
        self.deferrable = deferrable

    def poke(self, context: Context) -> Any:
        """Ask."""
        hook = HttpHook(self.method, self.http_conn_id, **self.keep_alive)
        try:
            response = hook.run(
                self.endpoint, self.request_params, self.headers, self.extra_options,
                **self.request_kwargs,
            )  # fmt: skip
        except AirflowException as err:
            allowed = self.response_error_codes_allowlist
            if allowed and str(err).startswith(allowed):
                return False
            raise
        if self.response_check is None:
            return True
        check = self.response_check
        return check(response, **call_kwargs(check, [response], {}, context))

    def execute(self, context: Context) -> Any:
        """Wait, in the async lane if deferrable."""
        if not self.deferrable or self.response_check is not None:
            return super().execute(context)
        if not self.poke(context):
            from boraflow.triggers.http import HttpSensorTrigger

            self.defer(
                timeout=self.remaining_timeout(context),
                trigger=HttpSensorTrigger(
                    endpoint=self.endpoint,
                    http_conn_id=self.http_conn_id,
                    method=self.method,
                    data=self.request_params,
                    headers=self.headers,
                    extra_options=self.extra_options,
                    poke_interval=self.poke_interval,
                    response_error_codes_allowlist=list(self.response_error_codes_allowlist),
                ),
                method_name="execute_complete",
            )
        return None

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Check the event."""
        if event and event.get("status") == "error":
            raise AirflowException(str(event.get("message")))
        self.log.info("%s completed successfully.", self.task_id)
