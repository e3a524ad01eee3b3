"""The process: Streamlit's server with our own routes beside it.

``/assets/<digest>/...`` components' scripts and style, cacheable for ever; ``/live`` tells an open tab that what it
shows has changed; ``/log`` sends an attempt's log as it grows; ``/log/text`` is the same as a file; ``/graph`` sends the layout of a DAG version. Sockets take
no message from pages of other sites: a browser says where a page comes from.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import re
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from boraflow import logs
from boraflow.config import ConfigError, UiSettings
from boraflow.rpc.errors import ApiError
from boraflow_ui import (
    asset_data,
    data,
    dependencies,
    layout,
    login,
    messages,
    oidc,
    task_states,
    theme,
)
from boraflow_ui.asset_files import ASSETS, assets_digest

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parent
NARROW_SECONDS = 0.25
"""Shortest time between two refreshes of a tab that shows one DAG or run."""
WIDE_SECONDS = 0.8
"""The same for a tab that shows everything: there changes never stop."""
TAIL_BYTES = 1 << 20
"""How much of a log is sent at first; the rest is asked for by scrolling up."""
PIECE_BYTES = 1 << 20
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


PAGES = (
    "",
    "dags",
    "dag",
    "run",
    "task",
    "assets",
    "questions",
    "dependencies",
    "executors",
    "errors",
    "audit",
    "metrics",
    "variables",
    "connections",
    "pools",
    "tokens",
)
_HEAD = """<script>
(() => {
  // Where the server is: without this a page opened by its link first asks below its own path, in vain.
  const base = location.origin + location.pathname.replace(/[^/]*$/, "");
  window.__streamlit = { BACKEND_BASE_URL: base, MAIN_PAGE_BASE_URL: base };
  // The address says which page is shown; the page never says it back. Streamlit pushes the address of a page when its
  // answer comes, by then the reader may have gone on: that would bend the history.
  const push = history.pushState.bind(history);
  window.boraflow = { push };
  history.pushState = () => {};
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('[data-testid="stTopNavLink"], [data-testid="stTopNavDropdownLink"], [data-testid="stSidebarNavLink"]');
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    // It closes the menu that the link is in, as following it would have.
    link.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    if (link.href !== location.href) push({}, "", link.href);
    window.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  }, true);
})();
</script>
"""
_EVERYWHERE = ("base", "banner", "header", "live", "menu")
"""The scripts that each page needs."""


@cache
def _index() -> str:
    import streamlit

    text = (Path(streamlit.__file__).parent / "static" / "index.html").read_text("utf-8")
    folder = Path(streamlit.__file__).parent / "static" / "static"
    text = text.replace("<title>Streamlit</title>", "<title>Boraflow</title>")
    text = text.replace('href="./favicon.png"', f'href="./assets/{assets_digest()}/icon.svg"')
    ours = f"./assets/{assets_digest()}"
    links = [
        f'<link rel="stylesheet" href="{ours}/page.css">',
        *(f'<link rel="modulepreload" href="{ours}/{name}.js">' for name in _EVERYWHERE),
        *(
            f'<link rel="preload" href="{ours}/{name}.css" as="fetch" crossorigin>'
            for name in ("boraflow", "dags", "admin")
        ),
        # What draws a component is a part of its own, which Streamlit would ask for when the first one has come.
        *(
            f'<link rel="modulepreload" crossorigin href="./static/js/{name}">'
            for name in _parts(folder / "js", "BidiComponent")
            if name not in text
        ),
    ]
    return text.replace("<head>", "\n".join(["<head>" + _HEAD, *links, ""]), 1)


def _parts(folder: Path, name: str) -> list[str]:
    """Return the names of one of Streamlit's scripts and of all that it imports."""
    out: dict[str, None] = {}
    waiting = [p.name for p in folder.glob(f"{name}.*.js")]
    while waiting:
        part = waiting.pop()
        if part not in out and (folder / part).is_file():
            out[part] = None
            waiting += re.findall(
                r'(?:from|import)"\./([^"]+)"', (folder / part).read_text("utf-8")
            )
    return list(out)


async def index(_request: Request) -> Response:
    """Send Streamlit's page, told at once where its server is, and what it will need of ours."""
    return Response(_index(), media_type="text/html", headers={"Cache-Control": "no-cache"})


async def favicon(_request: Request) -> Response:
    """Send our icon under the name that Streamlit gives to its own."""
    return FileResponse(ASSETS / "icon.svg", media_type=_TYPES[".svg"])


async def asset(request: Request) -> Response:
    """Send a script, a style sheet, a picture or the messages of the components."""
    name = request.path_params["name"]
    forever = {"Cache-Control": "public, max-age=31536000, immutable"}
    language, _dot, suffix = name.partition(".")
    if suffix == "json" and language in messages.LANGUAGES:
        return JSONResponse(messages.catalogue(language), headers=forever)
    path = ASSETS / name
    if "/" in name or path.suffix not in _TYPES or not path.is_file():
        return PlainTextResponse("not found", 404)
    return FileResponse(
        path,
        media_type=_TYPES[path.suffix],
        headers=forever,
    )


def _same_origin(tab: WebSocket) -> bool:
    origin = tab.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == tab.headers.get("host")


async def _until_closed(tab: WebSocket, send: Coroutine[Any, Any, None]) -> None:
    """Run ``send`` until it ends or the other side goes away."""

    async def receive() -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await tab.receive_text()

    tasks = [asyncio.create_task(send), asyncio.create_task(receive())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def live(tab: WebSocket) -> None:
    """Tell a tab the newest version of what it shows, now and after changes, with pauses in between."""
    if not _same_origin(tab):
        await tab.close(1008)
        return
    await tab.accept()
    hub = data.source().hub
    dag_id = tab.query_params.get("dag_id", "")
    run_id = tab.query_params.get("run_id", "")
    subscription = hub.subscribe(asyncio.get_running_loop(), dag_id, run_id)
    pause = NARROW_SECONDS if dag_id else WIDE_SECONDS

    async def send() -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await tab.send_text(json.dumps({"version": hub.version}))
            while True:
                await subscription.wake.wait()
                # Changes come in swarms: the first few are one message.
                await asyncio.sleep(0.02)
                subscription.wake.clear()
                # What comes from here on wakes it again, so that no change is left out.
                subscription.pending = False
                await tab.send_text(json.dumps({"version": hub.version}))
                await asyncio.sleep(pause)

    try:
        await _until_closed(tab, send())
    finally:
        hub.unsubscribe(subscription)


async def log(tab: WebSocket) -> None:
    """Send an attempt's log from an offset, as it grows.

    Each piece is a text frame ``{"offset": n, "next": n, "complete": bool}`` and a binary frame with the bytes. A
    negative offset counts from the end. The client goes on from ``next`` after a break.
    """
    if not _same_origin(tab):
        await tab.close(1008)
        return
    attempt_id = tab.query_params.get("attempt_id", "")
    try:
        offset = int(tab.query_params.get("offset", str(-TAIL_BYTES)))
    except ValueError:
        await tab.close(1008)
        return
    await tab.accept()

    async def send() -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            try:
                async for piece in data.source().stream_log(attempt_id, offset, follow=True):
                    head = {
                        "offset": piece.offset,
                        "next": piece.offset + len(piece.data),
                        "complete": piece.complete,
                    }
                    await tab.send_text(json.dumps(head))
                    if piece.data:
                        await tab.send_bytes(piece.data)
                await tab.send_text(json.dumps({"end": True}))
            except ApiError as error:
                await tab.send_text(json.dumps({"error": error.message, "reason": error.reason}))
            await tab.close()

    await _until_closed(tab, send())


async def log_piece(request: Request) -> Response:
    """Send the bytes of a log between two offsets: what is scrolled up to."""
    try:
        start = int(request.query_params.get("from", "0"))
        end = int(request.query_params.get("to", "0"))
        attempt_id = request.query_params["attempt_id"]
    except (ValueError, KeyError):
        return PlainTextResponse("attempt_id, from and to are needed", 400)
    size = max(0, min(end - start, PIECE_BYTES))
    try:
        piece = await data.source().read_log(attempt_id, start, size)
    except ApiError as error:
        return PlainTextResponse(error.message, 502)
    return Response(piece.data[:size], media_type="application/octet-stream")


async def log_text(request: Request) -> Response:
    """Send a whole log as a file."""
    attempt_id = request.query_params.get("attempt_id", "")
    name = request.query_params.get("name", attempt_id) + ".log"
    source = data.source()
    try:
        await source.read_log(attempt_id, 0, 1)
    except ApiError as error:
        return PlainTextResponse(error.message, 502)

    async def body() -> AsyncIterator[bytes]:
        with contextlib.suppress(ApiError):
            async for piece in source.stream_log(attempt_id, 0, follow=False):
                yield piece.data

    return StreamingResponse(
        body(),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"},
    )


async def xcom(request: Request) -> Response:
    """Send the JSON text of one XCom as a file."""
    query = request.query_params
    try:
        task_id, key = query["task_id"], query["key"]
        where = (query["dag_id"], query["run_id"], task_id, int(query.get("map_index", "-1")))
    except (ValueError, KeyError):
        return PlainTextResponse("dag_id, run_id, task_id and key are needed", 400)
    try:
        found = await asyncio.to_thread(data.source().xcom, *where, key)
    except ApiError as error:
        return PlainTextResponse(error.message, 404 if "NOT_FOUND" in error.reason else 502)
    name = quote(f"{task_id}-{key}.json", safe="")
    return Response(
        found.value_json,
        media_type="application/json",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Cache-Control": "no-store",
        },
    )


async def _dependencies(focus: str) -> Response:
    """Send the layout of the graph of DAGs; its address has a digest of the shape."""

    def lay_out() -> bytes:
        found = dependencies.find(asset_data.every_dag(), asset_data.every_asset())
        node = dependencies.DAG + focus
        shown = found.around(node) if focus and node in found.upstream else found
        return json.dumps(layout.lay_out(shown.spec(), None)).encode()

    try:
        body = await asyncio.to_thread(lay_out)
    except ApiError as error:
        return PlainTextResponse(error.message, 502)
    return Response(body, media_type="application/json", headers={"Cache-Control": "private"})


async def graph(request: Request) -> Response:
    """Send the layout of one version of a DAG: the same for ever, so browsers keep it."""
    query = request.query_params
    if "dependencies" in query:
        return await _dependencies(query.get("of", ""))
    closed, source = query.get("closed"), data.source()
    return await _of_version(
        request, lambda dag_id, version: source.layout(dag_id, version, closed)
    )


async def grid(request: Request) -> Response:
    """Send the rows of a DAG version's grid: the same for ever, so browsers keep them."""
    return await _of_version(request, task_states.rows)


async def _of_version(request: Request, read: Callable[[str, int], bytes]) -> Response:
    """Send what a DAG version has; without a version, what the latest has now."""
    query = request.query_params
    try:
        version = int(query.get("version", "0"))
    except ValueError:
        return PlainTextResponse("version is a number", 400)
    try:
        body = await asyncio.to_thread(read, query.get("dag_id", ""), version)
    except ApiError as error:
        return PlainTextResponse(error.message, 404 if "NOT_FOUND" in error.reason else 502)
    return Response(
        body,
        media_type="application/json",
        headers={"Cache-Control": "private, max-age=86400, immutable" if version else "no-store"},
    )


def _script_failed(error: Exception) -> bool:
    """Tell a mistake of ours by a number that stands in the log too, and how to go on."""
    number = uuid.uuid4().hex[:8]
    logger.error("page failed, error %s", number, exc_info=error)
    st.error(
        f"**The dashboard made a mistake** (error {number}; its log says more)."
        " Load the page again; if it comes back, please report it.",
        icon=":material/error:",
    )
    return True


@contextlib.asynccontextmanager
async def _lifespan(_app: st.App) -> AsyncIterator[None]:
    hub = data.source().hub
    hub.start()
    try:
        yield
    finally:
        hub.stop()


def build_app() -> st.App:
    """Return the ASGI application."""
    return st.App(
        ROOT / "app.py",
        lifespan=_lifespan,
        on_script_error=_script_failed,
        middleware=[Middleware(login.Guard)],
        routes=[
            *(Route(f"/{page}", index) for page in PAGES),
            *login.ROUTES,
            *oidc.routes(data.source().settings),
            Route("/favicon.png", favicon),
            Route("/assets/{digest}/{name}", asset),
            WebSocketRoute("/live", live),
            WebSocketRoute("/log", log),
            Route("/graph", graph),
            Route("/xcom", xcom),
            Route("/grid", grid),
            Route("/log/piece", log_piece),
            Route("/log/text", log_text),
        ],
    )


def options(settings: UiSettings) -> dict[str, Any]:
    """Return Streamlit's options.

    Raises:
        ConfigError: the address is not ``host:port``.
    """
    host, _, port = settings.address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"BORAFLOW_UI_ADDRESS: host:port is expected, such as 127.0.0.1:7780, not {settings.address!r}"
        )
    return {
        "server.address": host.strip("[]"),
        "server.port": int(port),
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.showSidebarNavigation": False,
        # A full garbage collection after every fragment run is most of Streamlit's idle cost.
        "runner.postScriptGC": False,
        # Pages write with st: nothing looks for bare expressions in them each time a page is compiled.
        "runner.magicEnabled": False,
        "logger.level": "warning",
        "logger.hideWelcomeMessage": True,
        **theme.options(),
    }


def claim(address: str) -> None:
    """Check that an address can be listened on.

    Raises:
        ConfigError: it cannot; Streamlit itself would only name the port.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise ConfigError(
                f"BORAFLOW_UI_ADDRESS: {address} {reason}; stop what listens there or choose another port"
            ) from None


def run(settings: UiSettings) -> None:
    """Serve until a signal comes.

    Raises:
        ConfigError: the address cannot be used.
    """
    config = options(settings)
    login.is_required(settings)
    oidc.check(settings)
    claim(settings.address)
    try:
        logs.configure("ui", settings.log_level, settings.log_json)
    except ValueError as error:
        raise ConfigError(f"BORAFLOW_LOG_LEVEL: {error}") from None
    data.connect(settings)
    app = build_app()
    # Streamlit puts the folder of what was started in front of sys.path: not that of whoever started us.
    sys.argv = ["-c"]
    logger.info("the dashboard is at http://%s", settings.address)
    app.run(config=config)
