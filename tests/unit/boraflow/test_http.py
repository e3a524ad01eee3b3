"""HTTP hook, operator, sensor and trigger against a server in this process."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from boraflow import DAG, Connection, task
from boraflow.exceptions import AirflowException, BoraflowException
from boraflow.hooks.http import HttpAsyncHook, HttpHook
from boraflow.operators.http import HttpOperator
from boraflow.sensors.http import HttpSensor
from boraflow.testing import TaskOutcome, run_task
from boraflow.triggers.http import HttpSensorTrigger


class Answers(BaseHTTPRequestHandler):
    waits = 0
    seen: list[dict[str, Any]] = []

    def answer(self) -> None:
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        kind = type(self)
        kind.seen.append(
            {
                "method": self.command,
                "path": url.path,
                "query": query,
                "body": body,
                "headers": dict(self.headers),
            }
        )
        status, out = 200, json.dumps(kind.seen[-1])
        if url.path.endswith("/pages"):
            page = int(query.get("page", 1))
            out = json.dumps({"page": page, "next": page + 1 if page < 3 else None})
        elif url.path.endswith("/soon"):
            kind.waits -= 1
            status = 404 if kind.waits >= 0 else 200
        elif url.path.endswith("/broken"):
            status = 503
        self.send_response(status)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(out.encode())

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture
def api(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> str:
    Answers.seen.clear()
    host, port = server.server_address[:2]
    connection = Connection(
        "api", "http", host=str(host), port=port, login="ann", password="s3cret",
        extra={"X-Team": "data", "timeout": 5},
    )  # fmt: skip
    monkeypatch.setenv("BORAFLOW_CONN_API", connection.as_json())
    return f"http://{host}:{port}"


def run(operator: Any, **kwargs: Any) -> TaskOutcome:
    with DAG("d"):
        task = operator(task_id="call", http_conn_id="api", **kwargs)
    return run_task(task)


def test_hook(api: str) -> None:
    got = HttpHook("GET", "api").run("v1/things", {"a": "1"}, {"X-One": "1"}).json()
    assert (got["method"], got["path"], got["query"]) == ("GET", "/v1/things", {"a": "1"})
    assert got["headers"]["X-Team"] == "data"
    assert got["headers"]["X-One"] == "1"
    assert base64.b64decode(got["headers"]["Authorization"].split()[1]) == b"ann:s3cret"
    assert "timeout" not in got["headers"]
    posted = HttpHook(http_conn_id="api").run("/v1", json={"x": 1}).json()
    assert (posted["method"], posted["body"]) == ("POST", '{"x": 1}')
    assert HttpHook("HEAD", "api").run("x").status_code == 200
    assert HttpHook("GET", "api").run(f"{api}/whole?b=2").json()["query"] == {"b": "2"}
    with pytest.raises(AirflowException, match=r"^503:Service Unavailable"):
        HttpHook("GET", "api").run("broken")
    assert (
        HttpHook("GET", "api").run("broken", extra_options={"check_response": False}).status_code
        == 503
    )
    assert HttpHook("GET", "api").test_connection() == (True, "Connection successfully tested")


def test_async_hook(api: str) -> None:
    import aiohttp

    async def ask() -> dict[str, Any]:
        hook = HttpAsyncHook("GET", "api", retry_delay=0)
        async with aiohttp.ClientSession() as session:
            response = await hook.run(session, "v1/things", {"a": "1"}, headers={"X-One": "1"})
            got = await response.json(content_type=None)
        posted = await HttpAsyncHook(http_conn_id="api").run(endpoint="/v1", json={"x": 1})
        got["posted"] = json.loads(await posted.text())["body"]
        whole = await HttpAsyncHook("GET", "").run(endpoint=f"{api}/whole?b=2")
        got["whole"] = json.loads(await whole.text())["query"]
        before = len(Answers.seen)
        with pytest.raises(AirflowException, match=r"^503:Service Unavailable"):
            await hook.run(endpoint="broken")
        got["tries"] = len(Answers.seen) - before
        unchecked = await hook.run(endpoint="broken", extra_options={"check_response": False})
        got["status"] = unchecked.status
        return got

    with DAG("d"):

        @task
        async def call() -> dict[str, Any]:
            return await ask()

        called = call()
    got = run_task(called).value
    assert (got["method"], got["path"], got["query"]) == ("GET", "/v1/things", {"a": "1"})
    assert (got["headers"]["X-Team"], got["headers"]["X-One"]) == ("data", "1")
    assert base64.b64decode(got["headers"]["Authorization"].split()[1]) == b"ann:s3cret"
    assert (got["posted"], got["whole"]) == ('{"x": 1}', {"b": "2"})
    assert (got["tries"], got["status"]) == (3, 503)
    with pytest.raises(BoraflowException, match="the endpoint 'x' is no URL"):
        asyncio.run(HttpAsyncHook("GET", "").run(endpoint="x"))
    with pytest.raises(ValueError, match="retry_limit must be at least 1, not 0"):
        HttpAsyncHook(retry_limit=0)


@pytest.mark.parametrize(
    ("connection", "endpoint", "url"),
    [
        ({"host": "h", "schema": "https", "port": 8443}, "a", "https://h:8443/a"),
        ({"host": "https://h/base/"}, "/a", "https://h/base/a"),
        ({"host": "https://h/base", "port": 81}, "a?b=1", "https://h:81/base/a?b=1"),
        ({"host": "h"}, None, "http://h"),
        ({"host": "h"}, "?q=1", "http://h?q=1"),
        ({}, "https://elsewhere/x", "https://elsewhere/x"),
    ],
)
def test_urls(connection: dict[str, Any], endpoint: str | None, url: str) -> None:
    hook = HttpHook(connection=Connection("c", "http", **connection))
    assert hook.url_from_endpoint(endpoint) == url


def test_no_host() -> None:
    hook = HttpHook(http_conn_id="c", connection=Connection("c", "http"))
    with pytest.raises(
        BoraflowException, match="connection 'c' has no host, and the endpoint 'a' is no URL"
    ):
        hook.url_from_endpoint("a")


def test_operator(api: str) -> None:
    outcome = run(
        HttpOperator,
        endpoint="v1/{{ run_id }}",
        method="PUT",
        data='{"a": 1}',
        headers={"X-A": "b"},
    )
    got = json.loads(outcome.value)
    assert (got["method"], got["path"], got["body"]) == ("PUT", "/v1/manual__test", '{"a": 1}')
    filtered = run(
        HttpOperator,
        endpoint="x",
        method="GET",
        response_filter=lambda response, run_id: [run_id, response.json()["path"]],
    )
    assert filtered.value == ["manual__test", "/x"]
    assert (
        "Response check returned False"
        in run(HttpOperator, response_check=lambda r: r.json() == {}).error
    )
    assert "503:Service Unavailable" in run(HttpOperator, endpoint="broken").error


def test_pages(api: str) -> None:
    def following(response: Any) -> dict[str, Any] | None:
        page = response.json()["next"]
        return {"data": {"page": page}} if page else None

    outcome = run(
        HttpOperator, endpoint="pages", method="GET", data={"size": "9"}, pagination_function=following,
        response_filter=lambda responses: [r.json()["page"] for r in responses],
    )  # fmt: skip
    assert outcome.value == [1, 2, 3]
    assert [s["query"] for s in Answers.seen] == [
        {"size": "9"}, {"size": "9", "page": "2"}, {"size": "9", "page": "3"},
    ]  # fmt: skip


def test_sensor(api: str) -> None:
    Answers.waits = 2
    assert run(HttpSensor, endpoint="soon", poke_interval=0.01).state == "success"
    assert len(Answers.seen) == 3
    assert "503" in run(HttpSensor, endpoint="broken", poke_interval=0.01).error
    patient = {
        "endpoint": "broken",
        "response_error_codes_allowlist": ["503"],
        "mode": "reschedule",
    }
    assert run(HttpSensor, **patient).state == "rescheduled"
    unready = {
        "endpoint": "x",
        "response_check": lambda r: r.json()["query"] != {},
        "mode": "reschedule",
    }
    assert run(HttpSensor, **unready).state == "rescheduled"
    assert run(HttpSensor, **unready, request_params={"a": 1}).state == "success"


def test_deferred_sensor(api: str) -> None:
    Answers.waits = 1
    outcome = run(HttpSensor, endpoint="soon", deferrable=True, poke_interval=0.01)
    assert outcome.state == "deferred"
    deferral = json.loads(outcome.result.deferral_json)["trigger"]
    assert deferral["classpath"] == "boraflow.triggers.http.HttpSensorTrigger"

    async def fire(**arguments: Any) -> Any:
        async for event in HttpSensorTrigger(**arguments).run():
            return event.payload
        return None

    Answers.waits = 2
    given = {**HttpSensorTrigger("soon", "api", poke_interval=0.01).serialize()[1]}
    assert asyncio.run(fire(**given)) == {"status": "success"}
    assert asyncio.run(fire(**{**given, "endpoint": "broken"}))["status"] == "error"
    with DAG("d"):
        sensor = HttpSensor(task_id="s", endpoint="x")
    with pytest.raises(AirflowException, match="503"):
        sensor.execute_complete({}, {"status": "error", "message": "503:no"})
