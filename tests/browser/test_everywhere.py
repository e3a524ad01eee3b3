"""Every page, every tab of it and every dialog, walked once: in Korean, in light and in dark, past axe-core.

The walk stays in one session: it goes from page to page as a click on a link does. Each test below asks it for one thing.
"""

from __future__ import annotations

import ast
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from boraflow_ui import messages
from tests.browser.conftest import HERE, Stack, go, heading, served, shoot, until

AXE = (Path(__import__("axe_playwright_python").__file__).parent / "axe.min.js").read_text("utf-8")
KO = messages.catalogue("ko")
RUN = {"run_id": "latest"}
READ = {"dag_id": "broken_source", **RUN, "task_id": "read"}
DAG = {"dag_id": "orders"}
KEPT = {"dag_id": "by_region", **RUN, "task_id": "write_region", "tab": "state"}

#: Each view: its page, its parameters, what is there when it is drawn, and the dialogs that open from it.
VIEWS: list[tuple[str, dict[str, str], str, list[str]]] = [
    ("", {}, ".attention li", ["Dealt with"]),
    ("dags", {}, "tbody tr", []),
    ("dags", {"q": "no such thing"}, ".emptyline b", []),
    ("dag", DAG, ".g-row", ["Trigger"]),
    ("dag", {"dag_id": "with_params"}, ".notice, .g-row", ["Trigger"]),
    ("dag", {"dag_id": "hourly_clicks"}, ".notice, .g-row", ["Backfill"]),
    ("dag", {"dag_id": "shapes", "tab": "graph"}, ".gr-node", []),
    ("dag", {"dag_id": "retries", "tab": "gantt"}, ".gt-row", []),
    ("dag", {**DAG, "tab": "runs"}, "tbody tr", []),
    ("dag", {**DAG, "tab": "calendar"}, ".cal-day", []),
    ("dag", {**DAG, "tab": "durations"}, ".ch-bar", []),
    ("dag", {**DAG, "tab": "backfills"}, "tbody tr, .emptyline b", []),
    ("dag", {**DAG, "tab": "code"}, "[data-testid=stCode]", []),
    ("dag", {**DAG, "tab": "audit"}, "tbody tr", []),
    ("dag", {**DAG, "tab": "details"}, ".details", []),
    ("dag", {"dag_id": "nothing"}, ".notice", []),
    ("run", {"dag_id": "broken_source", **RUN}, "tbody tr", ["Note", "Clear", "Mark"]),
    ("run", {"dag_id": "release", **RUN}, "tbody tr", ["Cancel"]),
    ("run", {"dag_id": "shapes", **RUN, "task_id": "square"}, "tbody tr", []),
    ("run", {"dag_id": "shapes", **RUN, "tab": "graph"}, ".gr-node", []),
    ("run", {"dag_id": "shapes", **RUN, "tab": "gantt"}, ".gt-row", []),
    ("run", {"dag_id": "reporting", **RUN, "tab": "events"}, "tbody tr", []),
    ("run", {"dag_id": "shapes", **RUN, "tab": "details"}, ".details", []),
    ("task", READ, ".log-line", ["Clear", "Mark"]),
    ("task", {**READ, "tab": "why"}, ".explain", []),
    ("task", {**READ, "tab": "attempts"}, ".attempt", []),
    ("task", {**READ, "tab": "xcom"}, ".notice", []),
    ("task", {**READ, "tab": "rendered"}, ".notice", []),
    ("task", KEPT, "tbody tr", ["Clear the state"]),
    ("task", {**READ, "tab": "details"}, ".details", []),
    ("task", {"dag_id": "release", **RUN, "task_id": "approve"}, ".explain", ["Answer"]),
    ("task", {"dag_id": "release", **RUN, "task_id": "where"}, ".explain", []),
    ("assets", {}, "tbody tr", []),
    ("assets", {"asset": "sales"}, "tbody tr", ["Record an event", "Materialize"]),
    ("assets", {"asset": "regions", "tab": "partitions"}, "tbody tr", ["Discard partition {name}"]),
    ("assets", {"asset": "messages", "tab": "watchers"}, "tbody tr", []),
    ("assets", {"asset": "regions", "tab": "state"}, "tbody tr", ["Show the value of {name}"]),
    ("questions", {}, "tbody tr", []),
    ("dependencies", {}, ".gr-node", []),
    ("executors", {}, "tbody tr", ["Drain {name}"]),
    ("errors", {}, ".problems section", []),
    ("metrics", {}, ".ph-row.run", []),
    ("audit", {}, "tbody tr", []),
    ("variables", {}, "tbody tr", ["New variable", "Delete {name}", "Import", "Export"]),
    ("connections", {}, "tbody tr", ["New connection", "Delete {name}", "Import", "Export"]),
    ("pools", {}, "tbody tr", ["New pool"]),
    ("tokens", {}, "tbody tr", ["New token"]),
]

#: Words that are the same in Korean: names, units, formats, and what code and the command line call things.
NAMES = {
    "DAG",
    "DAGs",
    "XCom",
    "UTC",
    "SQLite",
    "PostgreSQL",
    "JSON",
    "URI",
    "URL",
    "ID",
    "CPU",
    "RAM",
    "Boraflow",
    "Python",
    "Enter",
    "Ctrl",
    "Esc",
    "English",
    "API",
    "MB",
    "MiB",
    "GiB",
    "KB",
    "GB",
    "ms",
    "min",
    "SHA",
    "pid",
    "cron",
    "viewer",
    "operator",
    "admin",
    "executor",
    "scheduler",
    "timetable",
    "local",
    "celery",
    "default",
    "asset",
    "assets",
    "partitioned",
    "password",
    "token",
    "key",
    "Approve",
    "Reject",
}
#: What is nobody's language: code, paths, ids, commands, names of classes and of settings, and the text of a user's error.
_ID = re.compile(
    r"`[^`]*`|[\w./-]+\.(py|token|md|txt|log|json|csv)\b(:\d+)?|\w+://\S*|\b(manual|scheduled|backfill|asset_triggered|operator_triggered)__\S+"
    r"|\b(\w+(Error|Exception)\b.*)|@\w+|\b[0-9a-f]{8,}\b|\b\d\w+|\bv\d+\b|\b[A-Z][a-z]+[A-Z]\w*|\b\w+_\w+"
    r"|\b[A-Z]\w+(Operator|Sensor)\b|\bbora( [a-z-]+)+|--[a-z-]+|[\w.]+=\S*|[A-Za-z]+/[A-Za-z_]+",
    re.DOTALL,
)

_TEXTS = """() => {
  const out = [];
  const add = (text, where) => text && /[A-Za-z]{2}/.test(text) && out.push([text.trim(), where]);
  const own = 'script, style, pre, code, .mono, .log-line, [translate=no], [data-testid=stCode], .stMarkdown code';
  const visit = (node, where) => {
    if (node.nodeType === Node.TEXT_NODE) return add(node.data, where);
    if (node.nodeType !== Node.ELEMENT_NODE && node.nodeType !== Node.DOCUMENT_FRAGMENT_NODE) return;
    if (node.nodeType === Node.ELEMENT_NODE) {
      // A box that is none itself (display: contents) may hold some.
      if (node.tagName !== 'OPTION' && !node.checkVisibility() && getComputedStyle(node).display !== 'contents') return;
      const name = `${where} ${node.tagName.toLowerCase()}${node.classList.length ? '.' + node.classList[0] : ''}`.split(' ').slice(-4).join(' ');
      for (const a of ['aria-label', 'title', 'placeholder', 'alt', 'data-tip', 'data-label']) {
        // Names of columns stand in their cells too, for narrow screens.
        if (node.hasAttribute(a)) add(node.getAttribute(a), `${name}[${a}]`);
      }
      if (node._tip) for (const line of [node._tip()].flat(2)) add(typeof line === 'string' ? line : line.textContent, `${name} tip`);
      if (node.matches(own)) return;
      where = name;
      if (node.shadowRoot) visit(node.shadowRoot, where);
    }
    node.childNodes.forEach((kid) => visit(kid, where));
  };
  visit(document.body, '');
  return out;
}"""

_CLIPPED = """() => {
  const out = [];
  const visit = (root) => {
    for (const el of root.querySelectorAll('*')) {
      if (el.shadowRoot) visit(el.shadowRoot);
      if (!el.matches('button, a.button, .state, .badge, .tag, dt, th, .tabs a, .pills a, h1, .label')) continue;
      if (!el.checkVisibility()) continue;
      const style = getComputedStyle(el);
      if (el.scrollWidth > el.clientWidth + 2 && style.overflowX !== 'visible' && style.textOverflow !== 'ellipsis') out.push(`${el.className || el.tagName}: ${el.textContent} is cut`);
      const lines = el.getClientRects().length > 1 || el.clientHeight > 2.2 * parseFloat(style.fontSize) * 1.6;
      if (lines && el.matches('button.button, a.button, .state, .badge, .tabs a, .pills a') && el.textContent.length < 30) out.push(`${el.className || el.tagName}: ${el.textContent} takes two lines`);
    }
  };
  visit(document);
  return out;
}"""


@dataclass
class Walk:
    """What a walk through everything found."""

    serious: list[str] = field(default_factory=list)
    english: dict[str, str] = field(default_factory=dict)
    clipped: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def seed(stack: Stack) -> set[str]:
    """Make that every page has something to show; return the names that were given to things."""
    client = stack.client
    client.variables.set("region", "kr", description="where")
    client.connections.set("db", conn_type="postgres", host="h", password="pw")
    started = [
        stack.trigger(d)
        for d in (
            "broken_source",
            "shapes",
            "retries",
            "orders",
            "ingest",
            "by_region",
            "release",
        )
    ]
    for run in started[:-1]:
        client.runs.wait(run.dag_id, run.run_id, timeout=60)
    until(lambda: client.runs.list("reporting").items, "the asset starts its DAG")
    until(
        lambda: (
            client.tasks.get("release", started[-1].run_id, "approve").task_instance.state
            == "awaiting_input"
        ),
        "a question",
    )
    names = {"offset", "watermark", "queue", "partitions", "apac", "eu"}
    names |= {"region", "where", "kr", "db", "postgres", "h", "changes", "nothing", "walker"}
    for dag in client.dags.iter():
        names |= {dag.dag_id, *dag.tags, *dag.owners}
    names |= {p.name for p in client.pools.list().items}
    names |= {t.name for t in client.tokens.list().items}
    for executor in client.system.executors().items:
        names |= {executor.name, executor.host, *executor.queues}
    return names


class Foreign:
    """Tells what is said in English from what is a name."""

    def __init__(self, names: set[str]) -> None:
        known = {w for n in names for w in re.split(r"[\W_]+", n)} | names | NAMES
        code = "\n".join(p.read_text() for p in sorted((HERE / "dags").glob("*.py")))
        known |= set(re.findall(r"(?:def |task_id=\"|dag_id=\"|DAG\(\"|Asset\(\")(\w+)", code))
        known |= set(re.findall(r"\"(\w+)\": Param", code))
        self._known = {w.lower() for w in known}
        # What DAG files say, longest first: it may stand within a sentence of ours, or be cut by Markdown.
        said = {
            piece.strip()
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            for piece in (node.value, *node.value.split("*"))
        }
        self._said = sorted((t for t in said if " " in t), key=len, reverse=True)

    def words(self, text: str) -> list[str]:
        """Return the words of a text that are neither Korean nor names."""
        text = " ".join(text.split())
        if re.fullmatch(r"\{.*\}", text):
            return []
        for one in self._said:
            text = text.replace(one, " ")
        rest = _ID.sub(" ", text)
        return [w for w in re.findall(r"[A-Za-z][A-Za-z_]+", rest) if w.lower() not in self._known]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Services of its own: what people write in other tests is no sentence of ours."""
    with served() as made:
        yield made


@pytest.fixture(scope="module")
def walk(browser: Browser, stack: Stack) -> Iterator[Walk]:
    foreign = Foreign(seed(stack))
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="Asia/Seoul", locale="ko-KR"
    )
    page = context.new_page()
    page.add_init_script(AXE)
    found = Walk()
    page.on("pageerror", lambda error: found.troubles.append(str(error)))
    page.goto(stack.url("login"))
    look(page, found, foreign, "login", "light")
    page.emulate_media(color_scheme="dark")
    look(page, found, foreign, "login", "dark", colours=True)
    page.locator("input[type=password]").fill(
        stack.client.tokens.create(f"walker-{time.time_ns()}", "admin").secret
    )
    page.keyboard.press("Enter")
    expect(heading(page)).to_be_visible()
    scheme = "dark"
    for where, params, marker, dialogs in VIEWS:
        name = f"{where or 'home'}{'?' if params else ''}{urlencode(params)}"
        go(page, stack, where, **params)
        expect(page.locator(f":is({marker}):visible").first, name).to_be_visible()
        settle(page)
        # The whole of axe-core once, colours in both schemes. The next page begins in the scheme that this one ended in.
        look(page, found, foreign, name, scheme)
        scheme = "light" if scheme == "dark" else "dark"
        page.emulate_media(color_scheme=scheme)
        look(page, found, foreign, name, scheme, colours=True)
        if not where:
            page.keyboard.press("?")
            look(page, found, foreign, "keyboard shortcuts", scheme)
            page.keyboard.press("Escape")
        for label in dialogs:
            word = re.escape(KO[label]).replace(r"\{name\}", ".+")
            page.get_by_role("button", name=re.compile(f"^{word}$")).first.click()
            dialog = page.get_by_role("dialog")
            expect(dialog.get_by_role("button").last, f"{name}: {label}").to_be_visible()
            settle(page)
            look(page, found, foreign, f"{name}: {label}", scheme)
            page.keyboard.press("Escape")
            expect(dialog).to_be_hidden()
    yield found
    context.close()


def settle(page: Page) -> None:
    """Wait until Streamlit has drawn what it was asked for."""
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
    )
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))")


def look(
    page: Page, found: Walk, foreign: Foreign, name: str, scheme: str, *, colours: bool = False
) -> None:
    """Note what is wrong with what is on screen."""
    dark = "dark" if scheme == "dark" else "light"
    page.wait_for_function(
        """(dark) => {
            const rgb = getComputedStyle(document.querySelector('.stApp') ?? document.body).backgroundColor;
            return (Number(/\\d+/.exec(rgb)[0]) < 60) === dark;
        }""",
        arg=dark == "dark",
    )
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    if colours:
        options["runOnly"] = ["color-contrast", "link-in-text-block"]
    result = page.evaluate("(options) => axe.run(document, options)", options)
    found.serious += [
        f"{name} ({scheme}): {v['id']}: {n['target']} {n['failureSummary']}"
        for v in result["violations"]
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"][:3]
    ]
    if colours:
        return
    for text, where in page.evaluate(_TEXTS):
        if words := foreign.words(text):
            found.english.setdefault(text, f"{name}: {where}: {' '.join(words)}")
    found.clipped += [f"{name}: {c}" for c in page.evaluate(_CLIPPED)]
    if os.environ.get("BORAFLOW_TEST_SHOTS"):
        shoot(page, "ko-" + re.sub(r"\W+", "-", name))


def test_nothing_stands_in_the_way_of_anybody(walk: Walk) -> None:
    """axe-core finds nothing serious, on any page and in any dialog, in light and in dark."""
    assert not walk.serious, "\n".join(walk.serious)


def test_everything_is_said_in_korean(walk: Walk) -> None:
    """What is on screen is translated, or a name."""
    assert not walk.english, "\n".join(
        f"{text!r}  ({where})" for text, where in walk.english.items()
    )


def test_nothing_is_cut_off(walk: Walk) -> None:
    assert not walk.clipped, "\n".join(walk.clipped)


def test_no_page_fails(walk: Walk) -> None:
    assert not walk.troubles
