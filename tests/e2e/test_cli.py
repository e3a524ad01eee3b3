"""The command line against real services: what it prints, and its exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from boraflow.cli import waiting
from boraflow.cli.app import run
from tests.support.cluster import Cluster, eventually

Bora = Callable[..., subprocess.CompletedProcess[str]]

DAGS = """
import time
from datetime import datetime

from boraflow import DAG, Param, task
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator

with DAG("ok", schedule=None, tags=["nice"], params={"n": Param(1, type="integer", minimum=1)}):
    @task
    def first(params=None):
        print("first sees", params["n"])
        return params["n"]

    @task
    def second(x):
        print("second got", x)

    second(first()) >> EmptyOperator(task_id="end")

with DAG("bad", schedule=None):
    BashOperator(task_id="boom", bash_command="echo some-$((6*7)); exit 3", retries=1, retry_delay=0.1)

with DAG("slow", schedule=None):
    @task
    def sleeper(params=None, dag_run=None):
        for i in range(int(dag_run.conf.get("seconds", 3) * 10)):
            print("tick", i, flush=True)
            time.sleep(0.1)
    sleeper()

with DAG("mapped", schedule=None):
    @task
    def square(x):
        print("square of", x)
        return x * x
    square.expand(x=[1, 2, 3])

with DAG("asleep", schedule=None, is_paused_upon_creation=True):
    EmptyOperator(task_id="x")

with DAG("daily", schedule="0 6 * * *", start_date=datetime(2026, 1, 1), catchup=False,
         is_paused_upon_creation=True):
    EmptyOperator(task_id="x")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        made.write_dag("dags.py", DAGS)
        made.write_dag("broken.py", "from boraflow import DAG\n\nDAG('z', shedule=None)\n")
        for dag_id in ("ok", "bad", "slow", "mapped", "asleep", "daily"):
            made.wait_for_dag(dag_id)
        yield made
        print(made.logs_text())


@pytest.fixture
def bora(cluster: Cluster) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in this process: the same code without a start of Python for each call."""

    def call(
        *arguments: str, check: bool = False, input: str = "", environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        err = io.StringIO()
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(cluster.environ, **(environ or {}))
        stdin, sys.stdin = sys.stdin, io.StringIO(input)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(list(arguments))
        finally:
            sys.stdin = stdin
            os.environ.clear()
            os.environ.update(before)
        out.flush()
        text = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
        if check and code:
            raise AssertionError(f"bora {arguments}: {code}\n{text}\n{err.getvalue()}")
        return subprocess.CompletedProcess(arguments, code, text, err.getvalue())

    return call


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"no JSON: {done.stdout!r} {done.stderr!r}") from None


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("bora: ")
    return line


def test_trigger_and_wait_with_json(cluster: Cluster) -> None:
    done = cluster.bora("dags", "trigger", "ok", "--conf", '{"n": 4}', "--wait", "-o", "json")
    assert done.returncode == 0, done.stderr
    run = json_of(done)
    assert (run["dag_id"], run["state"], run["conf"]) == ("ok", "success", {"n": 4})
    assert run["start_date"] <= run["end_date"]
    tasks = {t["task_id"]: t for t in run["tasks"]}
    assert list(tasks) == ["first", "second", "end"]
    for task in tasks.values():
        assert task["state"] == "success"
        assert task["start_date"] <= task["end_date"]
    assert tasks["first"]["try_number"] == 1
    assert "second: success" in done.stderr  # progress, where no program reads it


def test_trigger_and_wait_in_words(cluster: Cluster, bora: Bora) -> None:
    done = bora("dags", "trigger", "mapped", "--wait", check=True)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["task_id", "state", "try", "start_date", "duration", "reason"]
    assert [line.split()[0] for line in lines[1:4]] == ["square[0]", "square[1]", "square[2]"]
    assert lines[-1].startswith("Run manual__")
    assert " of mapped: success in " in lines[-1]


def test_a_failure_exits_1_and_says_why(cluster: Cluster, bora: Bora) -> None:
    done = bora("dags", "trigger", "bad", "--wait", "-o", "yaml")
    assert done.returncode == 1
    run = yaml.safe_load(done.stdout)
    assert run["state"] == "failed"
    (task,) = run["tasks"]
    assert (task["state"], task["try_number"], task["max_tries"]) == ("failed", 2, 1)
    assert "exit code 3" in done.stderr
    assert "bora tasks logs bad boom" in done.stderr


def test_without_wait_it_returns_at_once(cluster: Cluster, bora: Bora) -> None:
    done = bora("dags", "trigger", "ok", "--run-id", "mine", "-o", "json", check=True)
    assert json_of(done)["run_id"] == "mine"
    again = bora("dags", "trigger", "ok", "--run-id", "mine")
    assert again.returncode == 5
    assert "mine" in one_line(again)
    waited = bora("runs", "wait", "ok", "mine", "-o", "json", check=True)
    assert json_of(waited)["state"] == "success"


def test_a_paused_dag_is_not_waited_for(cluster: Cluster, bora: Bora) -> None:
    before = cluster.client.runs.list("asleep").items
    done = bora("dags", "trigger", "asleep", "--wait", "--output", "json")
    assert done.returncode == 8
    assert "asleep is paused" in one_line(done)
    assert done.stdout == ""
    assert cluster.client.runs.list("asleep").items == before
    # Without waiting it is created, and said.
    done = bora("dags", "trigger", "asleep")
    assert done.returncode == 0
    assert "paused" in done.stderr
    done = bora("dags", "trigger", "asleep", "--wait", "--unpause")
    assert done.returncode == 0, done.stderr
    bora("dags", "pause", "asleep", check=True)
    assert cluster.client.dags.get("asleep").paused


def test_pausing_while_somebody_waits_ends_the_wait(cluster: Cluster, bora: Bora) -> None:
    bora("dags", "pause", "asleep", check=True)
    run = cluster.client.runs.trigger("asleep").run
    done = bora("runs", "wait", "asleep", run.run_id)
    assert done.returncode == 8
    assert "does not go on" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["dags", "trigger", "nope"], 3, "nope"),
        (["dags", "show", "nope"], 3, "nope"),
        (["runs", "list", "nope"], 3, "nope"),
        (["runs", "show", "ok", "no-such-run"], 3, "no-such-run"),
        (["tasks", "show", "ok", "nope"], 3, "nope"),
        (["tasks", "logs", "ok", "nope"], 3, "nope"),
        (["tasks", "explain", "ok", "nope"], 3, "nope"),
        (["dags", "trigger", "ok", "--conf", "{"], 2, "not valid JSON"),
        (["dags", "trigger", "ok", "--conf", "[1]"], 2, "JSON object"),
        (["dags", "trigger", "ok", "--conf", '{"n": 0}'], 2, "n"),
        (["dags", "trigger", "ok", "--conf", "@/nowhere.json"], 2, "/nowhere.json"),
        (["dags", "trigger", "ok", "--logical-date", "soon"], 2, "'soon' is not a date"),
        (["backfill", "create", "ok", "--from", "2026-01-01", "--to", "2026-01-02"], 5, "schedule"),
        (
            ["backfill", "create", "daily", "--from", "2026-02-02", "--to", "2026-02-01"],
            2,
            "--from 2026-02-02 is after --to 2026-02-01",
        ),
        (["runs", "list", "ok", "--from", "2026-02-02", "--to", "2026-02-01"], 2, "is after --to"),
        (["backfill", "show", "nope"], 3, "nope"),
        (["pools", "get", "nope"], 3, "nope"),
        (["pools", "delete", "default_pool"], 5, "default_pool"),
        (["variables", "get", "nope"], 3, "nope"),
        (["connections", "get", "nope"], 3, "nope"),
        (["executors", "drain", "nope"], 3, "nope"),
        (["deploy", "/nowhere"], 2, "/nowhere"),
    ],
    ids=lambda p: " ".join(p) if isinstance(p, list) else "",
)
def test_mistakes_give_one_line_and_a_code(
    cluster: Cluster, bora: Bora, arguments: list[str], code: int, part: str
) -> None:
    done = bora(*arguments)
    assert done.returncode == code, done.stderr
    assert part in one_line(done)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("service", "token", "code", "words"),
    [
        ("executor", "bora_wrong", 6, "refuses the token in BORAFLOW_TOKEN"),
        ("scheduler", "bora_wrong", 6, "refuses the token in BORAFLOW_TOKEN"),
        ("executor", "", 6, "is no executor's: 'ui' has the role operator"),
        ("executor", "schlüssel", 2, "BORAFLOW_TOKEN holds no token"),
    ],
)
def test_a_service_whose_token_is_refused_ends_and_says_so(
    cluster: Cluster, service: str, token: str, code: int, words: str
) -> None:
    secret = token or (cluster.home / "tokens" / "ui.token").read_text().strip()
    environ = {
        "BORAFLOW_TOKEN": secret,
        "BORAFLOW_EXECUTOR_NAME": "other",
        f"BORAFLOW_{service.upper()}_ADDRESS": "127.0.0.1:0",
    }
    done = cluster.bora(service, environ=environ)
    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, last.startswith(f"bora-{service}: ")) == (code, True), done.stderr
    assert words in last
    assert "Traceback" not in done.stderr
    assert code == 2 or f"--role {service}`" in last


def test_bad_usage(cluster: Cluster) -> None:
    for arguments in (
        ["dags"],
        ["nonsense"],
        ["dags", "trigger"],
        ["runs", "mark", "ok", "x", "y"],
    ):
        done = cluster.bora(*arguments)
        assert done.returncode == 2 or arguments == ["dags"], arguments
        assert "Usage:" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_lists(cluster: Cluster, bora: Bora) -> None:
    dags = json_of(bora("dags", "list", "-o", "json", check=True))
    assert {"ok", "bad", "daily"} <= {d["dag_id"] for d in dags}
    tagged = json_of(bora("dags", "list", "--tag", "nice", "-o", "json", check=True))
    assert [d["dag_id"] for d in tagged] == ["ok"]
    found = json_of(bora("dags", "list", "--search", "slo", "-o", "json", check=True))
    assert [d["dag_id"] for d in found] == ["slow"]
    paused = json_of(bora("dags", "list", "--paused", "-o", "json", check=True))
    assert {d["dag_id"] for d in paused} == {"asleep", "daily"}
    table = bora("dags", "list", check=True)
    assert table.stdout.splitlines()[0].startswith("dag_id")
    assert "bora dags errors" in table.stderr
    shown = json_of(bora("dags", "show", "ok", "-o", "json", check=True))
    assert [t["task_id"] for t in shown["tasks"]] == ["first", "second", "end"]
    assert bora("executors", "list", check=True).stdout.count("online") == 1


def test_errors_name_file_and_line(cluster: Cluster, bora: Bora) -> None:
    done = bora("dags", "errors", check=True)
    assert "broken.py:3: " in done.stdout
    assert "shedule" in done.stdout
    assert bora("dags", "errors", "--check").returncode == 1
    (error,) = json_of(bora("dags", "errors", "-o", "json", check=True))
    assert (error["fileloc"], error["line"]) == ("broken.py", 3)


def test_next(cluster: Cluster, bora: Bora) -> None:
    done = json_of(bora("dags", "next", "daily", "-n", "3", "-o", "json", check=True))
    assert len(done) == 3
    assert all(r["run_after"].endswith("T06:00:00Z") for r in done)
    none = bora("dags", "next", "ok")
    assert none.returncode == 0
    assert "no further scheduled runs" in none.stderr


def test_logs(cluster: Cluster, bora: Bora) -> None:
    cluster.run("ok", {"n": 7})
    done = bora("tasks", "logs", "ok", "first", check=True)
    assert "first sees 7" in done.stdout
    run = cluster.run("mapped")
    done = bora("tasks", "logs", "mapped", "square", run.run_id, "-m", "2", check=True)
    assert "square of 3" in done.stdout
    run = cluster.run("bad")
    done = bora("tasks", "logs", "bad", "boom", run.run_id, check=True)
    assert done.stdout.count("some-42") == 2
    done = bora("tasks", "logs", "bad", "boom", run.run_id, "--try", "1", check=True)
    assert done.stdout.count("some-42") == 1


def test_logs_follow_live_until_the_end(cluster: Cluster) -> None:
    run = cluster.client.runs.trigger("slow", conf={"seconds": 3}).run
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "boraflow.cli.main",
            "tasks",
            "logs",
            "slow",
            "sleeper",
            run.run_id,
            "-f",
        ],
        env=cluster.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "tick 0" in first
        state = cluster.tasks(cluster.client.runs.get("slow", run.run_id))["sleeper"].state
        assert state == "running", "the first line came only after the end"
        rest = process.stdout.read()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "tick 29" in rest


def test_a_wait_times_out(cluster: Cluster, bora: Bora) -> None:
    begin = time.monotonic()
    done = bora(
        "dags",
        "trigger",
        "slow",
        "--conf",
        '{"seconds": 20}',
        "--run-id",
        "long",
        "--wait",
        "--timeout",
        "1.5",
        "-o",
        "json",
    )
    assert done.returncode == 7
    assert "did not end within 1.5 s" in done.stderr
    assert time.monotonic() - begin < 15
    done = bora("runs", "cancel", "slow", "long", check=True)
    run = cluster.client.runs.wait("slow", "long")
    assert run.state == "failed"
    assert bora("runs", "wait", "slow", "long").returncode == 1


def test_interrupting_a_wait_leaves_the_run(cluster: Cluster) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "boraflow.cli.main",
            "dags",
            "trigger",
            "slow",
            "--run-id",
            "left",
            "--conf",
            '{"seconds": 4}',
            "--wait",
        ],
        env=cluster.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "running" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "bora runs wait slow left" in err
    assert "Traceback" not in err
    assert cluster.client.runs.wait("slow", "left", timeout=30).state == "success"


def test_clear_mark_explain(cluster: Cluster, bora: Bora) -> None:
    run = cluster.run("bad")
    preview = bora("runs", "clear", "bad", run.run_id, "--dry-run", "-o", "json", check=True)
    assert [t["task_id"] for t in json_of(preview)] == ["boom"]
    assert cluster.client.runs.get("bad", run.run_id).state == "failed"
    done = bora("tasks", "mark", "bad", "boom", "success", run.run_id, check=True)
    assert "Marked 1 task" in done.stdout
    eventually(lambda: cluster.client.runs.get("bad", run.run_id).state == "success", "success")
    bora("tasks", "clear", "bad", "boom", "--run-id", run.run_id, check=True)
    assert cluster.client.runs.wait("bad", run.run_id).state == "failed"
    assert cluster.tasks(run)["boom"].try_number > 2
    bora("runs", "mark", "bad", run.run_id, "success", check=True)
    assert cluster.client.runs.get("bad", run.run_id).state == "success"
    why = json_of(bora("tasks", "explain", "ok", "second", "-o", "json", check=True))
    assert why["state"] == "success"
    assert why["story"]
    bora("runs", "delete", "bad", run.run_id, "--yes", check=True)
    assert bora("runs", "show", "bad", run.run_id).returncode == 3
    asked = bora("dags", "delete", "bad")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr


def test_backfill(cluster: Cluster, bora: Bora) -> None:
    span = ["--from", "2026-02-01", "--to", "2026-02-05T23:00"]
    done = bora("backfill", "create", "daily", *span, "--dry-run", "-o", "json", check=True)
    plan = json_of(done)
    assert plan["logical_dates"] == [f"2026-02-0{d}T06:00:00Z" for d in range(1, 6)]
    assert json_of(bora("backfill", "list", "daily", "-o", "json", check=True)) == []
    bora("dags", "unpause", "daily", check=True)
    made = json_of(bora("backfill", "create", "daily", *span, "-o", "json", check=True))
    identity = made["backfill_id"]

    def completed() -> bool:
        shown = json_of(bora("backfill", "show", identity, "-o", "json", check=True))
        return shown["state"] == "completed" and shown["run_counts"] == {"success": 5}

    eventually(completed, "the backfill is complete", 60, 0.3)
    runs = json_of(
        bora("runs", "list", "daily", "--run-type", "backfill", "-o", "json", check=True)
    )
    assert sorted(r["logical_date"] for r in runs) == plan["logical_dates"]
    bora("dags", "pause", "daily", check=True)


def test_settings_round_trip(cluster: Cluster, bora: Bora) -> None:
    bora("pools", "set", "small", "2", "few at once", check=True)
    pools = json_of(bora("pools", "list", "-o", "json", check=True))
    assert {"small": 2}.items() <= {p["name"]: p["slots"] for p in pools}.items()
    bora("pools", "delete", "small", check=True)
    bora("variables", "set", "greeting", "-", input="hello\nworld", check=True)
    assert bora("variables", "get", "greeting", check=True).stdout == "hello\nworld\n"
    bora(
        "connections",
        "set",
        "db",
        "--uri",
        "postgres://me:s%40crt@db.example.org:5432/sales?ssl=1",
        check=True,
    )
    (conn,) = json_of(bora("connections", "list", "-o", "json", check=True))
    assert (conn["host"], conn["port"], conn["schema"]) == ("db.example.org", 5432, "sales")
    assert conn["password"] == "***"
    assert "s@crt" not in bora("connections", "get", "db", check=True).stdout


def test_connections_are_exchanged_with_secrets_only_for_an_admin(
    cluster: Cluster, bora: Bora, tmp_path: Path
) -> None:
    whole = {
        "conn_type": "postgres",
        "host": "h",
        "password": "p&ss",
        "extra": {"api_token": "t0ken", "a": 1},
    }
    bora("connections", "set", "pg", "--json", json.dumps(whole), check=True)
    assert bora("connections", "set", "pg", "--type", "http", "--new").returncode == 5
    shown = bora("connections", "get", "pg", "-o", "json", check=True).stdout
    assert "p&ss" not in shown
    assert "t0ken" not in shown
    secret = json_of(bora("connections", "get", "pg", "--show-secrets", "-o", "json", check=True))
    assert (secret["password"], json.loads(secret["extra"])["api_token"]) == ("p&ss", "t0ken")
    operator = bora("tokens", "create", "op", "--role", "operator", check=True).stdout.strip()
    refused = bora("connections", "list", "--show-secrets", environ={"BORAFLOW_TOKEN": operator})
    assert refused.returncode == 6
    assert "that takes the role admin" in one_line(refused)
    bora("tokens", "revoke", "op", check=True)

    for name in ("c.json", "c.yaml", "c.env"):
        file = tmp_path / name
        exported = bora("connections", "export", str(file), "--show-secrets", check=True)
        assert exported.stderr == ""
        assert file.stat().st_mode & 0o777 == 0o600
        cluster.client.connections.delete("pg")
        bora("connections", "import", str(file), check=True)
        found = cluster.client.connections.get("pg", show_secrets=True)
        assert (found.password, found.extra_json) == ("p&ss", secret["extra"]), name
    # Masked secrets of a file mean "as it was".
    masked = tmp_path / "masked.json"
    assert "Secrets are masked" in bora("connections", "export", str(masked), check=True).stderr
    assert "p&ss" not in masked.read_text()
    masked.write_text(masked.read_text().replace('"host": "h"', '"host": "h2"'))
    bora("connections", "import", str(masked), check=True)
    again = json_of(bora("connections", "get", "pg", "--show-secrets", "-o", "json", check=True))
    assert (again["host"], again["password"], again["extra"]) == ("h2", "p&ss", secret["extra"])
    assert (
        "is there already: skipped"
        in bora("connections", "import", str(masked), "-a", "skip", check=True).stderr
    )
    assert bora("connections", "import", str(masked), "-a", "fail").returncode == 5


def test_connections_are_tried(cluster: Cluster, bora: Bora, tmp_path: Path) -> None:
    bora("connections", "set", "lite", "--uri", f"sqlite:///{tmp_path}/x.db", check=True)
    assert "lite works" in bora("connections", "test", "lite", check=True).stdout
    bad = bora("connections", "test", "--uri", "sqlite:////no/such/folder/x.db")
    assert bad.returncode == 1
    assert "the connection does not work: unable to open database file" in one_line(bad)
    assert "no hook for connections of type 'oracle'" in one_line(
        bora("connections", "test", "--uri", "oracle://h")
    )
    assert bora("connections", "test", "none").returncode == 3
    assert bora("connections", "test").returncode == 2


def test_variables_and_pools_are_exchanged(cluster: Cluster, bora: Bora, tmp_path: Path) -> None:
    bora("variables", "set", "plain", "text", "--description", "what it is", check=True)
    bora("variables", "set", "rich", '{"a": [1]}', "--json", check=True)
    bora("variables", "set", "api_token", "hush", check=True)
    listed = bora("variables", "list", check=True).stdout
    assert "hush" not in listed
    assert "hush" in bora("variables", "list", "--show-secrets", check=True).stdout
    assert bora("variables", "get", "none", "--default", "d", check=True).stdout == "d\n"
    assert bora("variables", "set", "rich", "{", "--json").returncode == 2
    left_out = bora("variables", "export", check=True)
    assert "Left out, for their keys look secret (--show-secrets): api_token" in left_out.stderr
    assert "hush" not in left_out.stdout
    variables = cluster.client.variables
    variables.set("lines", "a\nb")
    env = tmp_path / "lines.env"
    told = bora("variables", "export", str(env), "--show-secrets", check=True).stderr
    assert "BORAFLOW_VAR_LINES is left out: an environment file cannot hold" in told
    for variable in variables.list():
        if "\n" in variable.value:
            variables.delete(variable.key)
    before = {v.key: v for v in variables.list()}
    for name in ("v.json", "v.yaml", "v.env"):
        file = tmp_path / name
        bora("variables", "export", str(file), "--show-secrets", check=True)
        for key in before:
            variables.delete(key)
        bora("variables", "import", str(file), check=True)
        assert {v.key: v.value for v in variables.list()} == {
            k: v.value for k, v in before.items()
        }, name
        if name != "v.env":
            assert {v.key: v for v in variables.list()} == before
    bora("variables", "import", "-", input='{"rich": {"b": 2}, "count": 3}', check=True)
    assert (variables.get("rich").value, variables.get("count").value) == ('{"b": 2}', "3")

    bora(
        "pools",
        "import",
        "-",
        input='{"p1": {"slots": 3, "include_deferred": true}, "p2": 4}',
        check=True,
    )
    for name in ("p.json", "p.yaml"):
        bora("pools", "export", str(tmp_path / name), check=True)
        cluster.client.pools.delete("p1")
        bora("pools", "import", str(tmp_path / name), check=True)
        pool = cluster.client.pools.get("p1")
        assert (pool.slots, pool.include_deferred) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["variables", "import", "-"], "[1]", "an object of names and values is expected"),
        (["variables", "import", "-"], "{", "- is not valid JSON"),
        (["variables", "import", "v.txt"], "", "the name does not tell the format"),
        (["variables", "import", "none.json"], "", "cannot read none.json: No such file"),
        (["variables", "import", "-"], '{"k": "***"}', "the value of k is a mask"),
        (["variables", "import", "-", "--format", "env"], "no sign", "-:1: NAME=value is expected"),
        (["connections", "import", "-"], '{"c": 1}', "connection c is neither a URI nor an object"),
        (
            ["connections", "import", "-"],
            '{"c": {"hots": "x"}}',
            "has no field 'hots'; did you mean 'host'?",
        ),
        (["connections", "import", "-"], '{"c": "no uri"}', "type://login:password@host"),
        (["connections", "set", "c", "--uri", "pg://h:99999"], "", "bad port"),
        (["connections", "set", "c", "--uri", "a://b", "--json", "{}"], "", "not both"),
        (
            ["pools", "import", "-"],
            '{"p": {"slot": 1}}',
            "has no field 'slot'; did you mean 'slots'?",
        ),
        (["pools", "import", "-"], '{"p": {"slots": -5}}', "slots is a whole number from -1"),
        (["pools", "export", "p.env"], "", "an environment file cannot hold these"),
    ],
)
def test_a_bad_file_changes_nothing(
    cluster: Cluster, bora: Bora, arguments: list[str], text: str, message: str
) -> None:
    done = bora(*arguments, input=text)
    assert done.returncode == 2
    assert message in one_line(done)
    assert "k" not in {v.key for v in cluster.client.variables.list()}


def test_a_dag_file_reads_a_connection_while_it_is_imported(cluster: Cluster, bora: Bora) -> None:
    bora("connections", "set", "named", "--uri", "http://u:p@town.example", check=True)
    cluster.write_dag(
        "named.py",
        "from boraflow import DAG, BaseHook\n"
        "from boraflow.operators.empty import EmptyOperator\n"
        "with DAG('of_' + BaseHook.get_connection('named').host.replace('.', '_'), schedule=None):\n"
        "    EmptyOperator(task_id='e')\n",
    )
    cluster.wait_for_dag("of_town_example")
    assert cluster.run("of_town_example").state == "success"


def test_a_viewer_reads_and_changes_nothing(cluster: Cluster, bora: Bora) -> None:
    done = bora("tokens", "create", "reader", "--role", "viewer", check=True)
    environ = {"BORAFLOW_TOKEN": done.stdout.strip()}
    assert bora("dags", "list", environ=environ).returncode == 0
    for arguments in (
        ["dags", "pause", "ok"],
        ["dags", "trigger", "ok"],
        ["pools", "set", "x", "1"],
        ["tokens", "list"],
    ):
        refused = bora(*arguments, environ=environ)
        assert refused.returncode == 6, arguments
        assert "reader" in one_line(refused)
    bora("tokens", "revoke", "reader", check=True)
    gone = bora("dags", "list", environ=environ)
    assert gone.returncode == 6
    assert "token" in one_line(gone)


def test_doctor(cluster: Cluster, bora: Bora) -> None:
    found = json_of(bora("doctor", "-o", "json"))
    by_check = {f["check"]: f for f in found}
    for check in ("settings", "home", "token", "metastore", "leader", "executors", "clock"):
        assert by_check[check]["status"] == "ok", by_check[check]
    assert by_check["scheduler"]["status"] == "ok"
    assert by_check["dashboard"]["status"] == "warning"
    assert by_check["DAG files"]["fix"] == "bora dags errors"
    wrong = bora("doctor", environ={"BORAFLOW_METASTORE_ADDRESS": "127.0.0.1:1"})
    assert wrong.returncode == 1
    assert "FAIL  metastore" in wrong.stdout
    typo = bora("doctor", environ={"BORAFLOW_EXECUTOR_SLOT": "3"})
    assert "did you mean 'BORAFLOW_EXECUTOR_SLOTS'" in typo.stdout


def test_db_check(cluster: Cluster, bora: Bora) -> None:
    assert bora("db", "check").returncode == 0
    busy = bora("db", "migrate")
    assert busy.returncode != 0
    assert "another metastore" in one_line(busy)


def test_deploy(cluster: Cluster, bora: Bora, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "numbers.py").write_text("ANSWER = 42\n")
    (folder / "deployed.py").write_text(
        "from boraflow import DAG, task\n"
        "import numbers as _\n"
        "with DAG('deployed', schedule=None):\n"
        "    @task\n"
        "    def a():\n"
        "        return 42\n"
        "    a()\n"
    )
    (folder / "numbers.py").rename(folder / "shared_numbers.py")
    made = json_of(bora("deploy", str(folder), "--name", "team", "-o", "json", check=True))
    assert (made["name"], made["file_count"], made["uploaded_count"]) == ("team", 2, 2)
    again = json_of(bora("deploy", str(folder), "--name", "team", "-o", "json", check=True))
    assert again["uploaded_count"] == 0
    run = cluster.run("deployed")
    assert run.state == "success"
    assert cluster.xcom(run, "a") == 42
    cluster.wait_for_dag("ok")  # the folder's DAGs are still there


def test_a_closed_pipe_is_no_error(cluster: Cluster) -> None:
    command = f"{sys.executable} -m boraflow.cli.main dags list -o json | head -1"
    done = subprocess.run(
        command,
        shell=True,
        env=cluster.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "["
    assert done.stderr.replace("Some DAG files cannot be used: bora dags errors", "").strip() == ""


# The last ones: they take services away.


def test_no_executor_is_said_and_not_waited_for_ever(
    cluster: Cluster, bora: Bora, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.stop("executor")
    eventually(lambda: not cluster.client.system.state().executors, "the executor is gone")
    begin = time.monotonic()
    done = bora(
        "dags", "trigger", "ok", "--run-id", "alone", "--wait", "--timeout", "4", "-o", "json"
    )
    assert done.returncode == 7
    assert "no executor is online" in done.stderr
    assert time.monotonic() - begin < 20
    done = bora("doctor")
    assert done.returncode == 1
    assert "FAIL  executors" in done.stdout
    monkeypatch.setattr(waiting, "NO_EXECUTOR_SECONDS", 1.0)
    done = bora("runs", "wait", "ok", "alone")  # without --timeout: not for ever either
    assert done.returncode == 4
    assert "the run alone is kept" in done.stderr
    cluster.start("executor")
    assert bora("runs", "wait", "ok", "alone").returncode == 0


def test_no_scheduler_is_said(cluster: Cluster, bora: Bora) -> None:
    cluster.kill("scheduler")
    done = bora("dags", "trigger", "ok", "--wait")
    assert done.returncode == 4
    assert "scheduler" in one_line(done)
    assert bora("dags", "list").returncode == 0, "reading needs no scheduler"
    cluster.start("scheduler")
    cluster.wait_ready()


def test_a_wait_outlives_a_restart_of_the_metastore(cluster: Cluster) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "boraflow.cli.main",
            "dags",
            "trigger",
            "slow",
            "--conf",
            '{"seconds": 5}',
            "--wait",
            "-o",
            "json",
        ],
        env=cluster.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "running" in line:
                break
        cluster.restart("metastore")
        out, err = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert json.loads(out)["state"] == "success"


def test_no_metastore_is_said(cluster: Cluster) -> None:
    cluster.stop("metastore")
    done = cluster.bora("dags", "list", timeout=30)
    assert done.returncode == 4
    assert cluster.addresses["metastore"] in one_line(done)
    cluster.start("metastore")
    cluster.wait_ready()
