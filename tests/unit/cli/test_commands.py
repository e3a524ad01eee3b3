"""The command line's parts that need no service."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from boraflow.cli import inputs, output
from boraflow.cli.app import run
from boraflow.cli.connections import from_text
from boraflow.cli.exits import Exit, code_of
from boraflow.cli.output import Format
from boraflow.cli.schedule import upcoming
from boraflow.model.spec import DagSpec, TimetableSpec
from boraflow.model.states import RunState
from boraflow.model.timetables import DataInterval, timetable_from_schedule, timetable_to_spec
from boraflow.rpc import errors


def printed(call: Any, *arguments: Any, **options: Any) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        call(*arguments, **options)
    return out.getvalue()


RECORD = {
    "run_id": "r",
    "state": RunState.SUCCESS,
    "start": datetime(2026, 3, 1, 6, tzinfo=UTC),
    "length": timedelta(seconds=1.5),
    "tags": ("a", "b"),
    "conf": {"k": 1},
    "none": None,
    "text": "Ünïcode",
}


def test_json_and_yaml_carry_the_same() -> None:
    expected = {
        "run_id": "r",
        "state": "success",
        "start": "2026-03-01T06:00:00Z",
        "length": 1.5,
        "tags": ["a", "b"],
        "conf": {"k": 1},
        "none": None,
        "text": "Ünïcode",
    }
    assert json.loads(printed(output.dump, RECORD, Format.JSON)) == expected
    assert yaml.safe_load(printed(output.dump, RECORD, Format.YAML)) == expected


def test_a_table_in_a_pipe_is_aligned_and_never_cut() -> None:
    long = "x" * 500
    text = printed(
        output.rows,
        [{"a": long, "b": True}, {"a": "y", "b": None}],
        Format.TABLE,
        ["a", "b"],
    )
    assert text.splitlines() == ["a".ljust(500) + "  b", long + "  yes", "y"]


def test_an_empty_list_is_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([], Format.TABLE, ["a"], empty="No runs.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "No runs.\n")
    output.rows([], Format.JSON, ["a"])
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.214, "0.21s"), (12.44, "12.4s"), (185, "3m 05s"), (7800, "2h 10m"), (0, "0.00s")],
)
def test_lengths_of_time(seconds: float, expected: str) -> None:
    assert output.duration(timedelta(seconds=seconds)) == expected


def test_dates() -> None:
    assert inputs.date("2026-03-01", "x") == datetime(2026, 3, 1, tzinfo=UTC)
    assert inputs.date("2026-03-01T06:00+02:00", "x") == datetime(2026, 3, 1, 4, tzinfo=UTC)
    assert inputs.date("2026-03-01T06:00:00Z", "x") == datetime(2026, 3, 1, 6, tzinfo=UTC)
    assert inputs.date(None, "x") is None
    with pytest.raises(Exit) as raised:
        inputs.date("2026-02-30", "--from")
    assert "--from: '2026-02-30' is not a date" in str(raised.value)
    assert raised.value.code == 2


def test_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.json").write_text('{"a": [1]}')
    assert inputs.conf(f"@{tmp_path}/c.json") == {"a": [1]}
    assert inputs.conf('{"a": 1}') == {"a": 1}
    assert inputs.conf(None) is None
    monkeypatch.setattr("sys.stdin", io.StringIO('{"b": 2}'))
    assert inputs.conf("-") == {"b": 2}
    for bad in ("", "{", "3", "null", '"x"', "@/nowhere"):
        with pytest.raises(Exit) as raised:
            inputs.conf(bad)
        assert raised.value.code == 2


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "postgres://me:p%40ss@db:5432/sales",
            {
                "conn_type": "postgres",
                "login": "me",
                "password": "p@ss",
                "host": "db",
                "port": 5432,
                "schema": "sales",
            },
        ),
        ("google-cloud-platform://", {"conn_type": "google_cloud_platform", "host": "", "port": 0}),
        ("http://h/?a=1&b=x", {"host": "h", "extra_json": '{"a": "1", "b": "x"}'}),
        ("aws://?__extra__=%7B%22r%22%3A+1%7D", {"conn_type": "aws", "extra_json": '{"r": 1}'}),
    ],
)
def test_connection_uris(uri: str, expected: dict[str, Any]) -> None:
    assert expected.items() <= from_text(uri, "--uri").items()


def test_bad_connection_uris() -> None:
    for bad in ("no uri", "pg://h:99999/x", "pg://h:port/x"):
        with pytest.raises(Exit):
            from_text(bad, "--uri")


def spec(schedule: Any, start: str | None = "2026-01-01T00:00:00+00:00", **fields: Any) -> DagSpec:
    timetable = timetable_to_spec(timetable_from_schedule(schedule, "UTC"))
    return DagSpec(dag_id="d", timetable=timetable, start_date=start, **fields)


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def days(records: list[dict[str, Any]]) -> list[str]:
    return [r["run_after"].strftime("%m-%d %H") for r in records]


def test_next_runs_follow_the_last_one() -> None:
    last = DataInterval.exact(datetime(2026, 3, 10, 6, tzinfo=UTC))
    found = upcoming(spec("0 6 * * *"), None, last, 3, NOW)
    assert days(found) == ["03-11 06", "03-12 06", "03-13 06"]


def test_next_runs_catch_up_or_not() -> None:
    last = DataInterval.exact(datetime(2026, 3, 1, 6, tzinfo=UTC))
    assert days(upcoming(spec("0 6 * * *", catchup=True), None, last, 2, NOW)) == [
        "03-02 06",
        "03-03 06",
    ]
    assert days(upcoming(spec("0 6 * * *"), None, last, 2, NOW)) == ["03-10 06", "03-11 06"]


def test_next_runs_end() -> None:
    last = DataInterval.exact(datetime(2026, 3, 10, 6, tzinfo=UTC))
    ends = spec("0 6 * * *", end_date="2026-03-12T00:00:00+00:00")
    assert days(upcoming(ends, None, last, 5, NOW)) == ["03-11 06"]
    assert upcoming(spec(None), None, None, 5, NOW) == []
    assert len(upcoming(spec("@once"), None, None, 5, NOW)) == 1
    custom = DagSpec(dag_id="d", timetable=TimetableSpec(kind="custom"))
    assert upcoming(custom, None, None, 5, NOW) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.not_found("X", "x"), 3),
        (errors.invalid("X", "x"), 2),
        (errors.unavailable("X", "x"), 4),
        (errors.exists("X", "x"), 5),
        (errors.precondition("X", "x"), 5),
    ],
)
def test_exit_codes(error: errors.ApiError, code: int) -> None:
    assert code_of(error) == code


def loaded(*arguments: str) -> set[str]:
    """Run ``bora`` in a fresh Python and return what it imported."""
    code = (
        "import sys\n"
        f"sys.argv = ['bora', *{list(arguments)!r}]\n"
        "from boraflow.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.split())


def test_version_is_quick_because_it_imports_nothing() -> None:
    modules = loaded("version")
    assert not modules & {"typer", "grpc", "rich", "yaml", "boraflow.client", "asyncio"}
    assert loaded("--version") == modules


def test_help_needs_no_grpc() -> None:
    assert not loaded("dags", "trigger", "--help") & {"grpc", "google.protobuf", "yaml", "pydantic"}


def test_the_supervisor_is_small() -> None:
    code = "import sys, boraflow.cli.supervisor; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"typer", "grpc", "rich", "asyncio", "boraflow.client", "boraflow.model"}
    assert not set(done.stdout.split()) & heavy


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (["tasks", "show", "d", "t", "--map-index", "99999999999999"], "--map-index"),
        (["tasks", "mark", "d", "t", "success", "-m", "99999999999999"], "--map-index"),
        (["tasks", "logs", "d", "t", "--try", "99999999999999"], "--try"),
        (["runs", "list", "--limit", "99999999999999999999"], "--limit"),
        (["runs", "list", "--from", "0001-01-01T00:00+14:00"], "years 1 to 9999"),
        (["dags", "trigger", "d", "-l", "9999-12-31T23:59:59-10:00"], "years 1 to 9999"),
        (["dags", "trigger", "d", "-c", '{"a":' + "[" * 5000 + "]" * 5000 + "}"], "--conf"),
        (["backfill", "create", "d", "--from", "2026-01-01", "--to", "2026-01-02",
          "--max-active-runs", "99999999999"], "--max-active-runs"),
        (["pools", "set", "p", "99999999999"], "slots"),
        (["state-store", "set", "k", "1", "--dag-id", "d", "--task-id", "t",
          "--retention-days", "999999999999"], "--retention-days"),
        (["deploy", "/proc/self/task"], "/proc/self"),
    ],
)  # fmt: skip
def test_values_that_nothing_can_hold_are_refused_by_name(
    command: list[str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is called: there is no metastore here."""
    assert run(command) == 2
    said = capsys.readouterr()
    assert names in said.err
    assert said.out == ""


@pytest.mark.parametrize("address", ["http://127.0.0.1:7781", "127.0.0.1:99999", "localhost"])
def test_an_address_that_is_none_is_said_to_be_none(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BORAFLOW_METASTORE_ADDRESS", address)
    assert run(["dags", "list"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bora: BORAFLOW_METASTORE_ADDRESS: ")
    assert "host:port" in said


def test_a_result_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "boraflow.cli.main", "config", "show"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "bora: cannot write the result: No space left on device\n",
    )


def test_half_a_character_is_printed_as_its_escape() -> None:
    """A task may return one; a list that holds it must still be shown."""
    code = (
        "from boraflow.cli.app import run; from boraflow.cli import output;"
        "run(['version']); output.dump({'a': chr(0xD800)}, output.Format.JSON)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith('{\n  "a": "\\ud800"\n}\n')


def test_a_number_of_a_file_that_is_too_large_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pools.json"
    file.write_text('{"a": {"slots": 99999999999}}')
    assert run(["pools", "import", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "99999999999" in said


def test_an_interrupt_while_the_command_is_loaded_is_silent() -> None:
    code = """
import os, signal, sys
from boraflow.cli.main import main

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "boraflow.cli.app":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["bora", "dags", "list"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
