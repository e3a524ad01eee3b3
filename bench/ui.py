"""The dashboard on a large database: ``python -m bench.ui [--database postgresql] [part ...]``.

Real services, a real Chromium, and what :mod:`bench.ui_seed` writes: 2,000 DAGs, a million task instances, a DAG of
1,000 tasks with 100 runs, a task mapped over 10,000. Parts: ``pages`` opens every page by its link, with nothing
remembered, and then repeats each call that the page made; ``changes`` waits for changes of state to be on screen;
``tabs`` keeps twenty tabs open.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench import ui_seed
from bench.cluster import Cluster, database
from bench.report import commit, machine, table
from bench.workloads import percentile
from boraflow.client.models import TaskState
from boraflow.rpc.channel import open_sync_channel

PARTS = ("pages", "changes", "tabs")
CALL_MS, CONTENT_S, CHANGE_S, UI_PERCENT, METASTORE_PERCENT = 150, 1.5, 1.0, 50, 10
"""What is wanted: of a call's p95, of a page, of a change, and of the processes with twenty tabs open."""
TABS = 20
QUIET_SECONDS, BUSY_SECONDS = 20, 30
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
_FLAGS += ["--disable-background-networking", "--disable-component-update"]

Page = tuple[str, str, dict[str, Any], tuple[str, ...]]

GRID_RUN = {"dag_id": ui_seed.GRID, "run_id": "manual__0000"}
MAPPED_RUN = {"dag_id": ui_seed.MAPPED, "run_id": "manual__0000"}
SMALL = {"dag_id": "small_0007"}
FAILED = {"dag_id": "small_0000", "run_id": "manual__0000", "task_id": "task_3"}

#: Name, page, parameters of its address, and what must be on screen.
PAGES: tuple[Page, ...] = (
    ("home", "", {}, ("a.tile", ".attention li", ".ch-bar", ".st-key-slots tbody tr")),
    ("dags", "dags", {}, (".st-key-dags tbody tr", ".filters")),
    ("dags: search", "dags", {"q": "small_12"}, (".st-key-dags tbody tr",)),
    ("dags: failed", "dags", {"state": "failed"}, (".st-key-dags tbody tr",)),
    ("dag: grid", "dag", SMALL, (".g-row .g-cells i",)),
    ("dag: grid 1,000 x 10", "dag", {"dag_id": ui_seed.GRID}, (".g-row .g-cells i",)),
    ("dag: grid 1,000 x 50", "dag", {"dag_id": ui_seed.GRID, "runs": 50}, (".g-row .g-cells i",)),
    ("dag: grid, mapped", "dag", {"dag_id": ui_seed.MAPPED}, (".g-row .g-cells i",)),
    ("dag: graph 1,000", "dag", {"dag_id": ui_seed.GRID, "tab": "graph"}, (".gr-node[data-s]",)),
    ("dag: gantt 1,000", "dag", {"dag_id": ui_seed.GRID, "tab": "gantt"}, (".gt-row",)),
    ("dag: runs", "dag", {"dag_id": ui_seed.GRID, "tab": "runs"}, (".st-key-runs tbody tr",)),
    ("dag: calendar", "dag", {"dag_id": ui_seed.GRID, "tab": "calendar"}, (".cal-sum",)),
    ("dag: durations", "dag", {"dag_id": ui_seed.GRID, "tab": "durations"}, (".ch-bar",)),
    ("dag: backfills", "dag", {**SMALL, "tab": "backfills"}, (".st-key-backfills",)),
    ("dag: code", "dag", {"dag_id": ui_seed.GRID, "tab": "code"}, (".st-key-code_head .details",)),
    ("dag: audit", "dag", {**SMALL, "tab": "audit"}, (".st-key-audit tbody tr",)),
    ("dag: details", "dag", {"dag_id": ui_seed.GRID, "tab": "details"}, (".details",)),
    ("run: tasks 1,000", "run", GRID_RUN, (".st-key-tasks tbody tr",)),
    ("run: graph 1,000", "run", {**GRID_RUN, "tab": "graph"}, (".gr-node[data-s]",)),
    ("run: gantt 1,000", "run", {**GRID_RUN, "tab": "gantt"}, (".gt-row",)),
    ("run: events", "run", {**GRID_RUN, "tab": "events"}, (".st-key-made .emptyline",)),
    ("run: details", "run", {**GRID_RUN, "tab": "details"}, (".details",)),
    ("run: mapped 10,000", "run", MAPPED_RUN, (".st-key-tasks tbody tr",)),
    ("run: its indexes", "run", {**MAPPED_RUN, "task_id": "one"}, (".st-key-indexes tbody tr",)),
    ("task: log", "task", FAILED, (".st-key-log .log", ".failure")),
    ("task: attempts", "task", {**FAILED, "tab": "attempts"}, (".st-key-attempts *",)),
    ("task: why", "task", {**FAILED, "tab": "why"}, (".st-key-explain *",)),
    ("task: xcom", "task", {**FAILED, "tab": "xcom"}, (".st-key-no_xcom *",)),
    ("task: details", "task", {**FAILED, "tab": "details"}, (".details",)),
    (
        "task: mapped index",
        "task",
        {**MAPPED_RUN, "task_id": "one", "map_index": 5000},
        (".st-key-siblings *", ".st-key-log .log"),
    ),
    ("assets", "assets", {}, (".st-key-head h1",)),
    ("required actions", "questions", {}, (".st-key-questions *",)),
    ("dependencies", "dependencies", {}, (".st-key-head h1",)),
    ("executors", "executors", {}, (".st-key-executors tbody tr",)),
    ("import errors", "errors", {}, (".st-key-head h1",)),
    ("metrics", "metrics", {}, (".st-key-dags tbody tr",)),
    ("audit log", "audit", {}, (".st-key-entries tbody tr",)),
    ("variables", "variables", {}, (".st-key-head h1",)),
    ("connections", "connections", {}, (".st-key-head h1",)),
    ("pools", "pools", {}, (".st-key-pools tbody tr",)),
    ("tokens", "tokens", {}, (".st-key-head h1",)),
)

COLUMNS = (
    ("workload", "workload", "{}"),
    ("page", "page", "{}"),
    ("call", "call", "{}"),
    ("calls", "calls", "{:,}"),
    ("p50_ms", "p50 ms", "{:.1f}"),
    ("p95_ms", "p95 ms", "{:.1f}"),
    ("cpu_ms", "CPU ms", "{:.1f}"),
    ("content_s", "content s", "{:.2f}"),
    ("change_s", "change p95 s", "{:.2f}"),
    ("ui_cpu_ms", "UI CPU ms", "{:.0f}"),
    ("browser_cpu_ms", "browser CPU ms", "{:.0f}"),
    ("ui_percent", "UI %", "{:.1f}"),
    ("metastore_percent", "metastore %", "{:.1f}"),
    ("ui_pss_mib", "UI PSS MiB", "{:.0f}"),
    ("ok", "as wanted", "{}"),
)


class UiCluster(Cluster):
    """The services and the dashboard, on the seeded database."""

    SERVICES = ("metastore", "scheduler", "executor", "ui")

    @property
    def record(self) -> Path:
        return self.home / "calls.jsonl"

    def command(self, name: str) -> list[str]:
        if name == "ui":
            return [sys.executable, "-m", "bench.ui_server", str(self.record)]
        return super().command(name)

    @property
    def base(self) -> str:
        return f"http://{self.environment['BORAFLOW_UI_ADDRESS']}"

    def url(self, page: str, params: dict[str, Any]) -> str:
        return f"{self.base}/{page}" + (f"?{urlencode(params)}" if params else "")

    def wait_for_ui(self) -> None:
        def healthy() -> bool:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.base}/_stcore/health", timeout=2) as answer,
            ):
                return answer.status == 200
            return False

        self.wait_for(healthy, "the dashboard")

    def forget(self) -> None:
        """Make the dashboard forget its answers."""
        self.processes["ui"].send_signal(signal.SIGUSR1)

    def cpu_of(self, name: str) -> float:
        t = self.processes[name].cpu_times()
        return t.user + t.system


def chromium() -> str:
    """Return where Chromium is."""
    named = os.environ.get("BORAFLOW_TEST_CHROMIUM")
    for name in [named] if named else ["chromium", "chromium-browser", "google-chrome"]:
        if found := shutil.which(name):
            return found
    raise RuntimeError(
        "Chromium is not installed; install it, or name it in BORAFLOW_TEST_CHROMIUM"
    )


def calls_between(cluster: UiCluster, begin: float, end: float) -> list[dict[str, Any]]:
    """Return the recorded calls of a time."""
    lines = (json.loads(line) for line in cluster.record.read_text().splitlines())
    return [line for line in lines if begin <= line["at"] <= end]


#: Whether each of some selectors has an element that is seen. ``.st-key-x rest`` looks for the rest within what
#: Streamlit named so: components have shadow trees of their own.
_SHOWN = """(wanted) => {
  const trees = (node) => [node, ...[...node.querySelectorAll("*")].flatMap((e) => (e.shadowRoot ? trees(e.shadowRoot) : []))];
  return wanted.every((selector) => {
    const [, key, rest] = selector.match(/^(\\.st-key-[\\w-]+) (.+)$/) ?? [];
    return (key ? [...document.querySelectorAll(key)] : [document]).some((top) =>
      trees(top).some((tree) =>
        [...tree.querySelectorAll(rest ?? selector)].some((e) => e.checkVisibility({ visibilityProperty: true }))));
  });
}"""


def on_screen(page: Any, wanted: tuple[str, ...], timeout: float = 15.0) -> None:
    """Wait until all of these are in the page, and visible.

    Looked for at each frame: a locator looks less often the longer it waits, at last twice a second.

    Raises:
        TimeoutError: one does not come.
    """
    from playwright.sync_api import Error

    try:
        page.wait_for_function(_SHOWN, arg=wanted, polling="raf", timeout=timeout * 1000)
    except Error:
        raise TimeoutError(f"no {' or no '.join(wanted)} within {timeout:g} s") from None


class Tab:
    """A page of the browser, and the processor time of what draws it."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self._session = context.new_cdp_session(self.page)
        self._session.send("Performance.enable")

    def metrics(self) -> dict[str, float]:
        """Return Chromium's figures of its main thread, in seconds; they begin anew with each process."""
        answer = self._session.send("Performance.getMetrics")
        return {m["name"]: m["value"] for m in answer["metrics"]}

    def spent_ms(self, before: dict[str, float]) -> float:
        """Return the main thread's busy time since some figures."""
        now = self.metrics()["TaskDuration"]
        return 1000 * (now - before["TaskDuration"] if now >= before["TaskDuration"] else now)


def measure_pages(
    cluster: UiCluster, browser: Any, repetitions: int, only: str
) -> Iterator[dict[str, Any]]:
    """Open each page by its link, a few times, in a browser that has been here; then repeat its calls."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = Tab(context)
    page = tab.page
    # The scripts are in the browser's cache, pandas and the like in the dashboard's memory.
    for _, path, params, wanted in PAGES[:2]:
        page.goto(cluster.url(path, params))
        on_screen(page, wanted)
    of_page: dict[str, list[dict[str, Any]]] = {}
    for name, path, params, wanted in PAGES:
        if only and only not in name:
            continue
        times, cpu, drawing, made = [], [], [], []
        for _ in range(repetitions):
            page.goto("about:blank")
            cluster.forget()
            time.sleep(0.3)
            before, figures = cluster.cpu_of("ui"), tab.metrics()
            began = time.time()
            page.goto(cluster.url(path, params), wait_until="commit")
            try:
                on_screen(page, wanted)
            except TimeoutError as error:
                page.screenshot(path=cluster.home / "missing.png")
                print(f"{name}: {error}", file=sys.stderr, flush=True)
            times.append(time.time() - began)
            time.sleep(0.5)
            cpu.append((cluster.cpu_of("ui") - before) * 1000)
            drawing.append(tab.spent_ms(figures))
            made.append(calls_between(cluster, began, time.time()))
        distinct = {(c["method"], c["request"]): c for part in made for c in part}
        of_page[name] = list(distinct.values())
        yield {
            "workload": "ui_page",
            "page": name,
            "calls": max(len(part) for part in made),
            "content_s": percentile(times, 0.5),
            "content_max_s": max(times),
            "ui_cpu_ms": percentile(cpu, 0.5),
            "browser_cpu_ms": percentile(drawing, 0.5),
            "ok": (percentile(times, 0.5) or 0) <= CONTENT_S,
        }
    context.close()
    yield from measure_calls(cluster, of_page)


def measure_calls(
    cluster: UiCluster, of_page: dict[str, list[dict[str, Any]]], times: int = 30
) -> Iterator[dict[str, Any]]:
    """Repeat the calls that pages made. Of a page's calls of one method each is one of the samples."""
    token = (cluster.home / "tokens" / "ui.token").read_text().strip()
    channel = open_sync_channel(cluster.address, token, retry_reads=False)
    measured: dict[tuple[str, str], tuple[list[float], float]] = {}
    for page, calls in of_page.items():
        methods: dict[str, list[str]] = {}
        for call in calls:
            methods.setdefault(call["method"], []).append(call["request"])
        for method, requests in sorted(methods.items()):
            samples: list[float] = []
            spent = 0.0
            for text in requests:
                key = (method, text)
                if key not in measured:
                    raw = base64.b64decode(text)
                    call = channel.unary_unary(method)
                    call(raw, timeout=30)
                    own = []
                    before = cluster.cpu_of("metastore")
                    for _ in range(times if len(requests) < 5 else 5):
                        began = time.perf_counter()
                        call(raw, timeout=30)
                        own.append((time.perf_counter() - began) * 1000)
                    measured[key] = own, (cluster.cpu_of("metastore") - before) * 1000 / len(own)
                samples += measured[key][0]
                spent += measured[key][1]
            p95 = percentile(samples, 0.95)
            yield {
                "workload": "ui_call",
                "page": page,
                "call": method.rpartition(".")[2],
                "calls": len(requests),
                "p50_ms": percentile(samples, 0.5),
                "p95_ms": p95,
                "cpu_ms": spent / len(requests),
                "ok": p95 is not None and p95 <= CALL_MS,
            }
    channel.close()


def _running(cluster: UiCluster) -> str:
    """Return a run of the live DAG, whose task is held."""
    run = cluster.client.runs.trigger(ui_seed.LIVE).run
    cluster.wait_for(
        lambda: [
            t
            for t in cluster.client.tasks.iter(ui_seed.LIVE, run_ids=[run.run_id])
            if t.task_id == "held_0" and t.state == "running"
        ],
        "the held task",
    )
    return run.run_id


def _finish(cluster: UiCluster, run_id: str) -> None:
    cluster.client.tasks.mark(ui_seed.LIVE, run_id, ["held_0"], TaskState.SUCCESS)


def measure_changes(
    cluster: UiCluster, browser: Any, repetitions: int, only: str
) -> Iterator[dict[str, Any]]:
    """Mark a running task, and wait until pages show it; counted from the call, which contains the commit."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    ids = {"dag_id": ui_seed.LIVE}
    row = ".st-key-tasks tr:has([href*=held_0])"
    last = ".g-row:has([title*=held_0]) .g-cells i:last-child"
    places: tuple[tuple[str, str, Callable[[str], dict[str, Any]], str, str], ...] = (
        (
            "run: tasks",
            "run",
            lambda r: {**ids, "run_id": r},
            f"{row} .state[data-s=running]",
            f"{row} .state[data-s=success]",
        ),
        (
            "task",
            "task",
            lambda r: {**ids, "run_id": r, "task_id": "held_0"},
            ".st-key-head .head .state[data-s=running]",
            ".st-key-head .head .state[data-s=success]",
        ),
        ("dag: grid", "dag", lambda _: ids, f"{last}[data-s=running]", f"{last}[data-s=success]"),
        (
            "dags",
            "dags",
            lambda _: {"q": ui_seed.LIVE},
            ".st-key-dags td .state[data-s=running]",
            ".st-key-dags td .state[data-s=success]",
        ),
        (
            "home",
            "",
            lambda _: {},
            f".st-key-now tr:has([href*={ui_seed.LIVE}])",
            ".st-key-now .emptyline",
        ),
    )
    for name, path, params, before, after in places:
        if only and only not in name:
            continue
        times = []
        for _ in range(max(repetitions, 10)):
            run_id = _running(cluster)
            page.goto(cluster.url(path, params(run_id)))
            on_screen(page, (before,))
            time.sleep(1.0)
            began = time.perf_counter()
            _finish(cluster, run_id)
            on_screen(page, (after,))
            times.append(time.perf_counter() - began)
        p95 = percentile(times, 0.95)
        yield {
            "workload": "ui_change",
            "page": name,
            "calls": len(times),
            "change_p50_s": percentile(times, 0.5),
            "change_s": p95,
            "ok": p95 is not None and p95 <= CHANGE_S,
        }
    context.close()


def measure_tabs(
    cluster: UiCluster, browser: Any, _repetitions: int, _only: str
) -> Iterator[dict[str, Any]]:
    """Keep twenty tabs open: while nothing happens, and while about one task a second changes its state."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    run_id = _running(cluster)
    live = {"dag_id": ui_seed.LIVE}
    shown: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("", {}, "a.tile"),
        ("dags", {}, ".st-key-dags tbody tr"),
        ("dag", live, ".g-row"),
        ("run", {**live, "run_id": run_id}, ".st-key-tasks tbody tr"),
        ("dag", {"dag_id": ui_seed.GRID}, ".g-row"),
    )
    for i in range(TABS):
        path, params, wanted = shown[i % len(shown)]
        tab = context.new_page()
        tab.goto(cluster.url(path, params))
        on_screen(tab, (wanted,))

    def spend(seconds: float, work: Callable[[], None] | None) -> dict[str, Any]:
        began = time.monotonic()
        ui, metastore = cluster.cpu_of("ui"), cluster.cpu_of("metastore")
        since = time.time()
        while (left := began + seconds - time.monotonic()) > 0:
            if work:
                work()
            # Playwright's connection is served while it waits.
            context.pages[0].wait_for_timeout(min(1000.0, left * 1000))
        took = time.monotonic() - began
        ui_percent = 100 * (cluster.cpu_of("ui") - ui) / took
        metastore_percent = 100 * (cluster.cpu_of("metastore") - metastore) / took
        return {
            "calls": len(calls_between(cluster, since, time.time())),
            "ui_percent": ui_percent,
            "metastore_percent": metastore_percent,
            "ui_pss_mib": cluster.processes["ui"].memory_full_info().pss / 2**20,
            "ok": ui_percent < UI_PERCENT and metastore_percent < METASTORE_PERCENT,
        }

    time.sleep(5)
    yield {"workload": "ui_tabs", "page": f"{TABS} tabs, quiet", **spend(QUIET_SECONDS, None)}
    # Every second mark or clear of a task that is shown: its state changes, and what follows from that.
    turn = iter(range(10**9))

    def change() -> None:
        if next(turn) % 2:
            cluster.client.tasks.clear(ui_seed.LIVE, [run_id], ["held_0"])
        else:
            _finish(cluster, run_id)

    yield {
        "workload": "ui_tabs",
        "page": f"{TABS} tabs, a change a second",
        **spend(BUSY_SECONDS, change),
    }
    context.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.ui", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", default="", help="pages whose name has this")
    parser.add_argument(
        "--home", type=Path, help="folder to keep the seeded database in, or that has it"
    )
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    if unknown := [p for p in parts if p not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if arguments.home and arguments.database != "sqlite":
        parser.error("--home keeps an SQLite database only")
    from playwright.sync_api import sync_playwright

    here, now = machine(), commit()
    lines: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(database(arguments.database))
        cluster = UiCluster({}, database_url=url, home=arguments.home)
        stack.callback(cluster.stop)
        try:
            if not (cluster.home / "seeded").exists():
                ui_seed.seed(cluster)
                (cluster.home / "seeded").touch()
            cluster.start()
            cluster.wait_for_ui()
            playwright = stack.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=chromium(), args=_FLAGS)
            stack.callback(browser.close)
            for part in parts:
                print(f"{part} ...", file=sys.stderr, flush=True)
                measure = {"pages": measure_pages, "changes": measure_changes, "tabs": measure_tabs}
                for line in measure[part](cluster, browser, arguments.repetitions, arguments.only):
                    rounded = {
                        k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()
                    }
                    full = {
                        **rounded,
                        "database": arguments.database,
                        "commit": now,
                        "machine": here,
                    }
                    lines.append(full)
                    print(json.dumps(full), flush=True)
        except BaseException:
            cluster.show_logs()
            raise
    print(f"\n{table(lines, COLUMNS)}\n{here}, commit {now}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
