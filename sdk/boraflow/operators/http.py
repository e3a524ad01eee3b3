"""HttpOperator: call an HTTP endpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from boraflow._call import call_kwargs
from boraflow._operator import BaseOperator
from boraflow.exceptions import AirflowException
from boraflow.hooks.http import HttpHook

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments


class HttpOperator(BaseOperator):
    """Call an HTTP endpoint; the response's text is the XCom.

    Args:
        endpoint: what follows the connection's URL, or a whole URL.
        method: the HTTP method.
        data: the query of GET, the body otherwise.
        headers: headers.
        pagination_function: called with each response; returns what differs in the next page's request
            (``endpoint``, ``data``, ``headers``, ``extra_options``), or nothing after the last.
        response_check: called with the response, or the list of pages; False fails the task.
        response_filter: makes the XCom of the response, or of the list of pages.
        extra_options: ``timeout``, ``verify``, ``check_response`` and the like.
        request_kwargs: more of ``requests.Request``, such as ``json``.
        http_conn_id: connection to the server.
        log_response: whether to log the response's text.
        auth_type: class, such as ``requests.auth.HTTPDigestAuth``, made of login and password.
        deferrable: accepted for Airflow's sake; a request is not worth an async wait.
        retry_args: tenacity's arguments, to send again within the try.
    """

    template_fields: Any = ("endpoint", "data", "headers", "http_conn_id", "request_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"headers": "json", "data": "json"}
    ui_color = "#f4a460"

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        method: str = "POST",
        data: dict[str, Any] | str | None = None,
        headers: dict[str, str] | None = None,
        pagination_function: Callable[..., Any] | None = None,
        response_check: Callable[..., bool] | None = None,
        response_filter: Callable[..., Any] | None = None,
        extra_options: dict[str, Any] | None = None,
        request_kwargs: dict[str, Any] | None = None,
        http_conn_id: str = "http_default",
        log_response: bool = False,
        auth_type: Any = None,
        tcp_keep_alive: bool = True,
        tcp_keep_alive_idle: int = 120,
        tcp_keep_alive_count: int = 20,
        tcp_keep_alive_interval: int = 30,
        deferrable: bool = False,
        warn_on_non_idempotent: bool = True,
        retry_args: dict[str, Any] | None = None,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.method = method
        self.data = data or {}
        self.headers = headers or {}
        self.pagination_function = pagination_function
        self.response_check = response_check
        self.response_filter = response_filter
        self.extra_options = extra_options or {}
        self.request_kwargs = request_kwargs or {}
        self.http_conn_id = http_conn_id
        self.log_response = log_response
        self.auth_type = auth_type
        self.keep_alive = {
            "tcp_keep_alive": tcp_keep_alive,
            "tcp_keep_alive_idle": tcp_keep_alive_idle,
            "tcp_keep_alive_count": tcp_keep_alive_count,
            "tcp_keep_alive_interval": tcp_keep_alive_interval,
        }
        self.deferrable = deferrable
        self.warn_on_non_idempotent = warn_on_non_idempotent
        self.retry_args = retry_args

    @cached_property
    def hook(self) -> HttpHook:
        """The hook of the task's connection."""
        return HttpHook(self.method, self.http_conn_id, auth_type=self.auth_type, **self.keep_alive)

    def _call(self, **request: Any) -> Any:
        if self.retry_args:
            return self.hook.run_with_advanced_retry(self.retry_args, **request)
        return self.hook.run(**request)

    def execute(self, context: Context) -> Any:
        """Call it."""
        request: dict[str, Any] = {
            "endpoint": self.endpoint,
            "data": self.data,
            "headers": self.headers,
            "extra_options": self.extra_options,
            **self.request_kwargs,
        }
        response: Any = self._call(**request)
        if self.pagination_function is not None:
            response = [response]
            while following := self.pagination_function(response[-1]):
                response.append(self._call(**_next_page(request, following)))
        return self.process_response(context, response)

    def process_response(self, context: Context, response: Any) -> Any:
        """Check the response, or the pages, and return what becomes the XCom."""
        pages = response if isinstance(response, list) else [response]
        if self.log_response:
            for page in pages:
                self.log.info("%s", page.text)
        for function, role in ((self.response_check, "check"), (self.response_filter, "filter")):
            if function is None:
                continue
            answer = function(response, **call_kwargs(function, [response], {}, context))
            if role == "filter":
                return answer
            if not answer:
                raise AirflowException("Response check returned False.")
        return [p.text for p in pages] if isinstance(response, list) else response.text


SimpleHttpOperator = HttpOperator


def _next_page(request: dict[str, Any], following: dict[str, Any]) -> dict[str, Any]:
    """Return a page's request: that of the first, with what differs."""
    out = dict(request)
    for name, value in following.items():
        old = out.get(name)
        out[name] = (
            {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value or old
        )
    return out
