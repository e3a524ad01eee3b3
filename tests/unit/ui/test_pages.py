"""Page logic without a browser: Streamlit's own test runner. Real services are in tests/browser."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from boraflow.config import ConfigError, load_settings
from boraflow_ui import data, server

APP = Path(server.__file__).parent / "app.py"


@pytest.fixture
def unreachable(tmp_path: Path) -> Iterator[data.Source]:
    """A source whose metastore is not there: a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = load_settings(
        "ui", {"BORAFLOW_HOME": str(tmp_path)}, metastore_address=f"127.0.0.1:{port}"
    )
    source = data.connect(settings)
    yield source
    source.hub.stop()


@pytest.mark.parametrize(
    ("page", "params"),
    [
        ("home", {}),
        ("dags", {"q": "x", "show": "paused"}),
        ("dag", {"dag_id": "d", "tab": "graph"}),
        ("run", {"dag_id": "d", "run_id": "r"}),
        ("task", {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": "not a number"}),
    ],
)
def test_every_page_stands_while_nothing_is_known(
    unreachable: data.Source, page: str, params: dict[str, str]
) -> None:
    app = AppTest.from_file(str(APP), default_timeout=30)
    for name, value in params.items():
        app.query_params[name] = value
    app.run()
    if page != "home":
        app.switch_page(f"views/{page}.py")
        for name, value in params.items():
            app.query_params[name] = value
        app.run()
    assert not app.exception
    assert not unreachable.health.up


def _form(fields: str) -> None:
    import json

    import streamlit as st

    from boraflow_ui import params, trigger_dialog

    wrong: list[str] = []
    conf = trigger_dialog.form_values(params.fields(json.loads(fields)), wrong)
    st.session_state["conf"] = conf
    st.session_state["wrong"] = wrong


def _run_form(known: dict[str, Any]) -> AppTest:
    return AppTest.from_function(_form, args=(json.dumps(known),)).run()


def test_a_form_gives_the_defaults() -> None:
    known = {
        "day": {"value": "2026-01-31", "schema": {"type": "string", "format": "date"}},
        "at": {
            "value": "2026-01-31T06:00:00+00:00",
            "schema": {"type": "string", "format": "date-time"},
        },
        "clock": {"value": "06:30:00", "schema": {"type": "string", "format": "time"}},
        "limit": {"value": 10, "schema": {"type": "integer", "minimum": 1}},
        "ratio": {"value": 0.5, "schema": {"type": "number"}},
        "mode": {"value": "b", "schema": {"enum": ["a", "b"]}},
        "dry": {"value": True},
        "names": {"value": ["x"], "schema": {"type": "array", "items": {"type": "string"}}},
        "tree": {"value": {"k": [1]}, "schema": {"type": "object"}},
        "text": {"value": "hi", "schema": {"type": "string", "format": "multiline"}},
        "maybe": {"value": None, "schema": {"type": ["null", "string"]}},
    }
    app = _run_form(known)
    assert not app.exception
    assert app.session_state["wrong"] == []
    assert app.session_state["conf"] == {name: p["value"] for name, p in known.items()}


def test_a_form_gives_what_was_typed() -> None:
    app = _run_form(
        {
            "day": {"value": "2026-01-31", "schema": {"type": "string", "format": "date"}},
            "limit": {"value": 10, "schema": {"type": "integer"}},
            "tree": {"value": {}, "schema": {"type": "object"}},
            "target": {"schema": {"type": "string"}},
        }
    )
    assert app.session_state["wrong"] == ["target: a value is needed"]
    app.date_input("param_day").set_value(dt.date(2026, 2, 1))
    app.number_input("param_limit").set_value(3)
    app.text_area("param_tree").set_value('{"a": ')
    app.text_input("param_target").set_value("lake")
    app.run()
    assert app.session_state["wrong"] == ["tree: not valid JSON, Expecting value"]
    app.text_area("param_tree").set_value('{"a": 1}').run()
    assert app.session_state["wrong"] == []
    assert app.session_state["conf"] == {
        "day": "2026-02-01",
        "limit": 3,
        "tree": {"a": 1},
        "target": "lake",
    }


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:", ":7780", "host:port"])
def test_a_wrong_address_is_said(address: str) -> None:
    settings = load_settings("ui", {}, address=address)
    with pytest.raises(ConfigError, match="BORAFLOW_UI_ADDRESS"):
        server.options(settings)


def test_the_options_are_known_to_streamlit() -> None:
    from streamlit import config

    options = server.options(load_settings("ui", {}))
    assert set(options) <= set(config._config_options_template)
    # Nothing is sent to anybody, and no collection of garbage at each refresh.
    assert options["browser.gatherUsageStats"] is False
    assert options["runner.postScriptGC"] is False


def test_the_first_page_knows_its_server() -> None:
    text = server._index()
    assert "BACKEND_BASE_URL" in text
    assert "<title>Boraflow</title>" in text
    ours = f"./assets/{server.assets_digest()}"
    assert f"{ours}/icon.svg" in text
    for name in (f"{ours}/page.css", f"{ours}/base.js"):
        assert (server.ASSETS / name.rpartition("/")[2]).is_file()
        assert f'href="{name}"' in text


def test_what_draws_components_comes_with_the_first_page() -> None:
    import streamlit

    scripts = Path(streamlit.__file__).parent / "static" / "static" / "js"
    named = re.findall(r'rel="modulepreload"[^>]*href="\./static/js/([^"]+)"', server._index())
    assert len(named) == len(set(named))
    assert [name for name in named if name.startswith("BidiComponent.")]
    assert all((scripts / name).is_file() for name in named)


def test_a_used_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"{address}.*in use"):
            server.claim(address)
