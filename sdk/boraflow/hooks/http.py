"""Requests to the HTTP server that a connection names: ``HttpHook`` by ``requests``, ``HttpAsyncHook`` by ``aiohttp``."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from boraflow import _extras
from boraflow.exceptions import AirflowException, BoraflowException
from boraflow.hooks.base import BaseHook

if TYPE_CHECKING:
    import aiohttp
    import requests

    from boraflow._connection import Connection

#: Keys of a connection's extra, or of ``extra_options``, that say how to send; all others are headers.
_OPTIONS = (
    "stream", "cert", "proxies", "proxy", "timeout", "verify", "verify_ssl", "allow_redirects",
    "max_redirects", "trust_env", "check_response",
)  # fmt: skip


class HttpHook(BaseHook):
    """An HTTP server.

    The connection's host is the base URL, or the host with the scheme in ``schema``; login and password are
    basic authentication; its extra holds headers, and options: ``timeout``, ``verify``, ``cert``, ``proxies``,
    ``allow_redirects``, ``max_redirects``, ``stream``, ``trust_env``, ``check_response``.

    Args:
        method: the HTTP method.
        http_conn_id: connection to the server.
        auth_type: class, such as ``requests.auth.HTTPDigestAuth``, or function made of login and password.
        tcp_keep_alive: whether idle connections are kept alive.
        tcp_keep_alive_idle: seconds until the first probe.
        tcp_keep_alive_count: probes until the connection counts as lost.
        tcp_keep_alive_interval: seconds between two probes.
        adapter: a ``requests`` adapter for the session.
    """

    conn_name_attr = "http_conn_id"
    default_conn_name = "http_default"
    conn_type = "http"
    hook_name = "HTTP"

    def __init__(
        self,
        method: str = "POST",
        http_conn_id: str = default_conn_name,
        auth_type: Any = None,
        tcp_keep_alive: bool = True,
        tcp_keep_alive_idle: int = 120,
        tcp_keep_alive_count: int = 20,
        tcp_keep_alive_interval: int = 30,
        adapter: Any = None,
        *,
        connection: Connection | None = None,
    ) -> None:
        super().__init__()
        self.http_conn_id = http_conn_id
        self.method = method.upper()
        self.auth_type = auth_type
        self.adapter = adapter
        self.keep_alive = (
            (tcp_keep_alive_idle, tcp_keep_alive_count, tcp_keep_alive_interval)
            if tcp_keep_alive
            else None
        )
        self.base_url = ""
        self._connection = connection

    @property
    def _requests(self) -> Any:
        return _extras.need("requests", "http", f"connection '{self.http_conn_id}'")

    @property
    def connection(self) -> Connection:
        """The connection."""
        if self._connection is None:
            self._connection = self.get_connection(self.http_conn_id)
        return self._connection

    def url_from_endpoint(self, endpoint: str | None) -> str:
        """Return the URL of an endpoint; one that is a URL itself stays as it is."""
        if _is_url(endpoint):
            return str(endpoint)
        self.base_url = _base_url(self.connection)
        return _join(self.base_url, endpoint, self.http_conn_id)

    def get_conn(
        self, headers: dict[str, Any] | None = None, extra_options: dict[str, Any] | None = None
    ) -> requests.Session:
        """Return a session with the connection's headers, authentication and options."""
        connection = self.connection
        options = self._options(extra_options)
        session = self._requests.Session()
        if connection.login or self.auth_type is not None:
            auth = self.auth_type or self._requests.auth.HTTPBasicAuth
            session.auth = (
                auth(connection.login, connection.password) if connection.login else auth()
            )
        session.proxies = options.get("proxies", options.get("proxy")) or {}
        session.stream = bool(options.get("stream", False))
        session.verify = options.get("verify", options.get("verify_ssl", True))
        session.cert = options.get("cert")
        session.max_redirects = options.get("max_redirects", session.max_redirects)
        session.trust_env = options.get("trust_env", True)
        session.headers.update(
            {k: str(v) for k, v in connection.extra_dejson.items() if k not in _OPTIONS}
        )
        session.headers.update(headers or {})
        adapter = self.adapter or (self._keep_alive_adapter() if self.keep_alive else None)
        if adapter is not None:
            for scheme in ("http://", "https://"):
                session.mount(scheme, adapter)
        return session

    def _keep_alive_adapter(self) -> Any:
        import socket

        assert self.keep_alive is not None
        idle, count, interval = self.keep_alive
        options = [
            *_extras.need(
                "urllib3.connection", "http", "HttpHook"
            ).HTTPConnection.default_socket_options,
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval),
        ]

        class KeepAlive(self._requests.adapters.HTTPAdapter):
            def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
                super().init_poolmanager(*args, socket_options=options, **kwargs)

        return KeepAlive()

    def _options(self, extra_options: dict[str, Any] | None) -> dict[str, Any]:
        own = {k: v for k, v in self.connection.extra_dejson.items() if k in _OPTIONS}
        return {**own, **(extra_options or {})}

    def run(
        self,
        endpoint: str | None = None,
        data: dict[str, Any] | str | None = None,
        headers: dict[str, Any] | None = None,
        extra_options: dict[str, Any] | None = None,
        **request_kwargs: Any,
    ) -> requests.Response:
        """Send a request and return its response.

        Args:
            endpoint: what follows the base URL, or a whole URL.
            data: the query of GET, the body otherwise.
            headers: headers.
            extra_options: options of this request, as in the connection's extra.
            **request_kwargs: more of ``requests.Request``, such as ``json``.

        Raises:
            AirflowException: the status is 4xx or 5xx; its text begins with the status.
        """
        requests = self._requests
        options = self._options(extra_options)
        with self.get_conn(None, extra_options) as session:
            body = (
                {"params": data}
                if self.method == "GET"
                else {}
                if self.method == "HEAD"
                else {"data": data}
            )
            request = session.prepare_request(
                requests.Request(
                    self.method, self.url_from_endpoint(endpoint), headers=headers,
                    **{**body, **request_kwargs},
                )
            )  # fmt: skip
            settings = session.merge_environment_settings(
                str(request.url), session.proxies, session.stream, session.verify, session.cert
            )
            self.log.info("%s %s", self.method, _shown(str(request.url)))
            response = session.send(
                request,
                timeout=options.get("timeout", 60.0),
                allow_redirects=options.get("allow_redirects", self.method != "HEAD"),
                **settings,
            )
            if options.get("check_response", True):
                self.check_response(response)
            return response

    def check_response(self, response: requests.Response) -> None:
        """Refuse a response with an error's status.

        Raises:
            AirflowException: it is 4xx or 5xx.
        """
        if response.status_code >= 400:
            self.log.error("HTTP error %s: %s", response.status_code, response.text[:4000])
            raise AirflowException(f"{response.status_code}:{response.reason}")

    def run_with_advanced_retry(
        self, _retry_args: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Send a request, again and again as tenacity's arguments say."""
        tenacity = _extras.need("tenacity", "client", "run_with_advanced_retry")
        return tenacity.Retrying(**_retry_args)(self.run, *args, **kwargs)

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the server answers."""
        try:
            self.run(extra_options={"check_response": False, "timeout": 10})
        except Exception as err:  # noqa: BLE001
            return False, str(err)
        return True, "Connection successfully tested"


def _shown(url: str) -> str:
    """Return a URL without the password and the query, which may hold keys."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_url(endpoint: str | None) -> bool:
    return bool(endpoint) and "://" in str(endpoint).partition("?")[0]


def _base_url(connection: Connection) -> str:
    host = connection.host or ""
    scheme = connection.schema or ("https" if connection.conn_type == "https" else "http")
    url = host if "://" in host else f"{scheme}://{host}"
    if connection.port and urlsplit(url).port is None:
        start, slash, path = url.partition("://")[2].partition("/")
        url = f"{url.partition('://')[0]}://{start}:{connection.port}{slash}{path}"
    return url


def _join(base: str, endpoint: str | None, conn_id: str) -> str:
    if not urlsplit(base).netloc:
        raise BoraflowException(
            f"connection '{conn_id}' has no host, and the endpoint {endpoint!r} is no URL"
        )
    if endpoint and not base.endswith("/") and not endpoint.startswith(("/", "?")):
        return f"{base}/{endpoint}"
    if endpoint and base.endswith("/") and endpoint.startswith("/"):
        return base + endpoint[1:]
    return base + (endpoint or "")


class HttpAsyncHook(BaseHook):
    """An HTTP server, asked without holding the event loop: for triggers and ``async def`` tasks.

    The connection is read as by :class:`HttpHook`; of its options there are ``timeout`` (seconds), ``verify``,
    ``proxy``, ``allow_redirects``, ``max_redirects`` and ``check_response``.

    Args:
        method: the HTTP method.
        http_conn_id: connection to the server; empty when endpoints are whole URLs.
        auth_type: class made of login and password; basic authentication by default.
        retry_limit: how often a request is sent when the server answers with 5xx.
        retry_delay: seconds between two of them.
    """

    conn_name_attr = "http_conn_id"
    default_conn_name = "http_default"
    conn_type = "http"
    hook_name = "HTTP"

    def __init__(
        self,
        method: str = "POST",
        http_conn_id: str = default_conn_name,
        auth_type: Any = None,
        retry_limit: int = 3,
        retry_delay: float = 1.0,
    ) -> None:
        super().__init__()
        self.method = method.upper()
        self.http_conn_id = http_conn_id
        self.auth_type = auth_type
        if retry_limit < 1:
            raise ValueError(f"retry_limit must be at least 1, not {retry_limit}")
        self.retry_limit = retry_limit
        self.retry_delay = retry_delay
        self.base_url = ""

    async def run(
        self,
        session: aiohttp.ClientSession | None = None,
        endpoint: str | None = None,
        data: dict[str, Any] | str | None = None,
        json: Any = None,
        headers: dict[str, Any] | None = None,
        extra_options: dict[str, Any] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its response.

        Args:
            session: an ``aiohttp.ClientSession``. Without one the request has its own, and the body has been
                read when the response is returned.
            endpoint: what follows the base URL, or a whole URL.
            data: the query of GET, the body otherwise.
            json: a body to send as JSON.
            headers: headers.
            extra_options: more arguments of aiohttp's request; they win over the connection's.

        Raises:
            AirflowException: the status is 4xx or, again and again, 5xx; its text begins with the status.
        """
        if session is not None:
            return await self._run(session, endpoint, data, json, headers, extra_options)
        aiohttp = _extras.need("aiohttp", "http", "HttpAsyncHook")
        async with aiohttp.ClientSession() as own:
            response = await self._run(own, endpoint, data, json, headers, extra_options)
            await response.read()
            return response

    async def _run(
        self,
        session: aiohttp.ClientSession,
        endpoint: str | None,
        data: dict[str, Any] | str | None,
        json: Any,
        headers: dict[str, Any] | None,
        extra_options: dict[str, Any] | None,
    ) -> aiohttp.ClientResponse:
        from boraflow._connection import Connection

        sent: dict[str, Any] = {}
        options: dict[str, Any] = {}
        url = str(endpoint)
        if self.http_conn_id:
            connection = await Connection.async_get(self.http_conn_id)
            extra = connection.extra_dejson
            sent = {k: str(v) for k, v in extra.items() if k not in _OPTIONS}
            options = {k: v for k, v in extra.items() if k in _OPTIONS}
            if connection.login and self.auth_type is not None:
                options["auth"] = self.auth_type(connection.login, connection.password or "")
            elif connection.login:
                pair = f"{connection.login}:{connection.password or ''}".encode()
                sent["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
            if not _is_url(endpoint):
                self.base_url = _base_url(connection)
                url = _join(self.base_url, endpoint, self.http_conn_id)
        elif not _is_url(endpoint):
            raise BoraflowException(
                f"HttpAsyncHook has no connection, and the endpoint {endpoint!r} is no URL"
            )
        arguments = _aiohttp_options({**options, **(extra_options or {})})
        check = arguments.pop("check_response", True)
        arguments["params" if self.method == "GET" else "data"] = data
        number = 1
        while True:
            self.log.info("%s %s", self.method, _shown(url))
            response = await session.request(
                self.method, url, json=json, headers={**sent, **(headers or {})}, **arguments
            )
            if response.status < 400 or not check:
                return response
            error = f"{response.status}:{response.reason}"
            self.log.warning("try %d of %d: HTTP error %s", number, self.retry_limit, error)
            response.release()
            if response.status < 500 or number == self.retry_limit:
                raise AirflowException(error)
            number += 1
            await asyncio.sleep(self.retry_delay)


def _aiohttp_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a connection under the names that aiohttp gives them; those it has not are left out."""
    out = dict(options)
    if isinstance(out.get("timeout"), (int, float)):
        aiohttp = _extras.need("aiohttp", "http", "HttpAsyncHook")
        out["timeout"] = aiohttp.ClientTimeout(total=out["timeout"])
    verify = out.pop("verify", out.pop("verify_ssl", True))
    if verify is False:
        out["ssl"] = False
    elif isinstance(verify, str):
        import ssl

        out["ssl"] = ssl.create_default_context(cafile=verify)
    for name in ("stream", "cert", "proxies", "trust_env"):
        out.pop(name, None)
    return out
