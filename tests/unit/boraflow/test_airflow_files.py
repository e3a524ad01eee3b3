"""Files in the styles of public Airflow repositories, 1.10 to 3: loaded unchanged and run to the states they must have."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boraflow.model.timetables import TimeRestriction, next_dagrun_info
from boraflow.runtime.loader import LoadedFile, load_file

FOLDER = Path(__file__).parent / "dags" / "airflow_files"
FILES = sorted(f.name for f in FOLDER.glob("*.py"))
SKIPPED, FAILED, UPSTREAM_FAILED = "skipped", "failed", "upstream_failed"

#: DAG to (tasks that do not succeed, return values).
EXPECTED: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "own_timetable": ({}, {}),
    "v1_branches_north": ({"warm": SKIPPED, "never": SKIPPED}, {}),
    "v1_branches_south": ({"cold": SKIPPED, "never": SKIPPED}, {}),
    "v1_nightly_load": (
        {},
        {
            "count": "orders 2026-03-10 2026-03-10",
            "shout": "orders 2026-03-10 2026-03-10 2026-03-11 3",
            # A manual run's next date is its own.
            "finish": [6, "2026-03-10", "20260309"],
        },
    ),
    "v1_own_operators": ({}, {"book": ["rent 2026-03-10", 7, "books.example.org:5000"]}),
    "v1_subdag": ({}, {"section.first": "one", "section.second": "two"}),
    "v2_datasets_read": ({}, {"read": "0"}),
    "v2_datasets_write": ({}, {"write": "written"}),
    "v2_failures": (
        {
            "skips": SKIPPED,
            "gives_up": FAILED,
            "after_failure": UPSTREAM_FAILED,
        },
        {"third_try_wins": 3},
    ),
    "v2_groups": ({}, {"number_1": "1"}),
    "v2_mapping": (
        {},
        {
            "greet": ["hello ada", "hello grace"],
            "echo": ["hello ada!", "hello grace!"],
            "pairs": ["1", "two"],
            "total": 90,
        },
    ),
    "v2_sensors": ({"gives_up": SKIPPED, "fails": FAILED}, {"found": {"key": "value"}}),
    "v2_taskflow": ({}, {"load": "4.0 manual 2026-03-10", "classic": "4.0 MANUAL 2026-03-10"}),
    "v2_templates": (
        {},
        {
            "native": [6, "2026-02-01", "sesame", "books.example.org", 5000],
            "bash": "10 QUIET v2_templates none",
        },
    ),
    "v3_sdk": (
        {"right": SKIPPED, "skip": SKIPPED},
        {"greet": "hello ada", "day": "2026-03-10!"},
    ),
    "v3_sdk_trigger": ({}, {}),
    "version_switch": ({}, {"where": ["LocalExecutor", False, "books.example.org"]}),
}


@pytest.fixture(scope="module", autouse=True)
def environment() -> Any:
    path, modules = list(sys.path), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_LEDGER", "http://books.example.org:5000")
        patch.setenv("AIRFLOW_VAR_SECRETS", '{"word": "sesame"}')
        yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(FOLDER) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.fixture(scope="module")
def loaded() -> dict[str, LoadedFile]:
    return {name: load_file(FOLDER / name, FOLDER) for name in FILES}


def test_all_files_load(loaded: dict[str, LoadedFile]) -> None:
    assert not {name: [str(e) for e in f.errors] for name, f in loaded.items() if f.errors}
    assert {d for f in loaded.values() for d in f.dags} == EXPECTED.keys()


def test_only_old_names_are_noted(loaded: dict[str, LoadedFile]) -> None:
    for name, file in loaded.items():
        assert bool(file.warnings) == (name not in ("v3_sdk.py", "version_switch.py")), name
        assert all(w.file == name and w.line for w in file.warnings)


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_runs_end_as_they_do_in_airflow(loaded: dict[str, LoadedFile], dag_id: str) -> None:
    dag = next(f.dags[dag_id] for f in loaded.values() if dag_id in f.dags)
    special, values = EXPECTED[dag_id]
    run = dag.test(logical_date=datetime(2026, 3, 10, tzinfo=UTC))
    states = {task_id: str(state) for task_id, state in run.task_states.items()}
    assert {t: s for t, s in states.items() if s != "success"} == special
    assert {t.partition("[")[0] for t in states} == set(dag.task_ids)
    assert {task_id: run.xcoms[task_id] for task_id in values} == values


def test_callbacks_heard(loaded: dict[str, LoadedFile]) -> None:
    module = sys.modules[
        loaded["v2_failures.py"].dags["v2_failures"].get_task("skips").python_callable.__module__
    ]
    module.heard.clear()
    loaded["v2_failures.py"].dags["v2_failures"].test()
    assert set(module.heard) >= {("gives_up", "failed"), ("third_try_wins", "success")}
    assert ("skips", "skipped") not in module.heard


def test_schedules_are_those_of_the_release_that_the_file_was_written_for(
    loaded: dict[str, LoadedFile],
) -> None:
    dags = {i: d for f in loaded.values() for i, d in f.dags.items()}
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)

    def first(dag_id: str, earliest: datetime) -> tuple[datetime, datetime, datetime]:
        dag = dags[dag_id]
        info = next_dagrun_info(
            dag.timetable, None, TimeRestriction(earliest, None, dag.catchup), now
        )
        assert info is not None
        return info.data_interval.start, info.data_interval.end, info.run_after

    def at(month: int, day: int, hour: int = 0) -> datetime:
        return datetime(2026, month, day, hour, tzinfo=UTC)

    # The interval that has just ended, as Airflow 2 ran it.
    assert first("v1_nightly_load", at(1, 1)) == (at(3, 9, 3), at(3, 10, 3), at(3, 10, 3))
    # catchup=True where the file says nothing.
    assert dags["v1_subdag"].catchup is False
    assert dags["v1_branches_north"].catchup is True
    # Airflow 3's cron is a point in time: 6 in Seoul is 21 the day before; the last one that has passed.
    assert first("v3_sdk_trigger", at(1, 1))[2] == at(3, 9, 21)
    start, end, _ = first("own_timetable", datetime(2024, 2, 10, tzinfo=UTC))
    assert (start, end) == (datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC))
    start, end, run_after = first("v2_groups", at(3, 10))
    assert end - start == timedelta(hours=6)
    assert run_after == end
