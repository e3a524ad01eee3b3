"""HttpHook: requests to the HTTP server that a connection names, through the package ``requests``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from boraflow import _extras
from boraflow.exceptions import AirflowException, BoraflowException
from boraflow.hooks.base import BaseHook

if TYPE_CHECKING:
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

    def _base_url(self) -> str:
        connection = self.connection
        host = connection.host or ""
        scheme = connection.schema or ("https" if connection.conn_type == "https" else "http")
        url = host if "://" in host else f"{scheme}://{host}"
        if connection.port and urlsplit(url).port is None:
            start, slash, path = url.partition("://")[2].partition("/")
            url = f"{url.partition('://')[0]}://{start}:{connection.port}{slash}{path}"
        return url

    def url_from_endpoint(self, endpoint: str | None) -> str:
        """Return the URL of an endpoint; one that is a URL itself stays as it is."""
        if endpoint and "://" in endpoint.partition("?")[0]:
            return endpoint
        base = self.base_url = self._base_url()
        if not urlsplit(base).netloc:
            raise BoraflowException(
                f"connection '{self.http_conn_id}' has no host, and the endpoint {endpoint!r} is no URL"
            )
        if base and endpoint and not base.endswith("/") and not endpoint.startswith(("/", "?")):
            return f"{base}/{endpoint}"
        if endpoint and base.endswith("/") and endpoint.startswith("/"):
            return base + endpoint[1:]
        return base + (endpoint or "")

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
