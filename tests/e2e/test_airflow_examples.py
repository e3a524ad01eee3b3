"""DAG files that nobody here wrote: all examples that Airflow ships, loaded and run unchanged.

They come from the wheels on the registry and are never committed. What is expected of a run was read from the
examples' code: every task succeeds but for those that are listed, with why.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from boraflow.airflow import hook, plugins
from boraflow.runtime.loader import LoadedFile, load_file
from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ("apache-airflow-core==3.3.2", "apache-airflow-providers-standard==1.21.0")
FOLDERS = ("airflow/example_dags", "airflow/providers/standard/example_dags")

CANNOT_LOAD = {
    "example_dag_decorator.py": "No module named 'httpx'",
}
"""A package that is not installed here."""

NO_DAGS = {
    "example_kubernetes_executor.py": "it defines none without the package kubernetes",
    "example_local_kubernetes_executor.py": "it defines none without the package kubernetes",
}

NOT_RUN = {
    "example_branch_datetime_operator_2": "depends on the time of day",
    "example_branch_operator": "installs numpy into a virtual environment",
    "example_branch_python_operator_decorator": "installs numpy into a virtual environment",
    "example_external_task": "waits for a run of another DAG",
    "example_hitl_operator": "asks people",
    "example_python_decorator": "installs colorama into a virtual environment",
    "example_python_operator": "installs colorama into a virtual environment",
    "example_retry_policy": "calls a service on the internet",
    "example_sensors": "one task waits for the file that another one makes at the same time",
    "tutorial_objectstorage": "reads from the internet",
    "tutorial_taskflow_api_virtualenv": "installs packages into a virtual environment",
}

MONDAY = datetime.now(UTC).weekday() == 0
WEEKEND = datetime.now(UTC).weekday() >= 5
SKIPPED, FAILED, UPSTREAM_FAILED = "skipped", "failed", "upstream_failed"
CASES: dict[str, dict[str, str]] = {
    # exit 99 skips; all_success skips what is below
    "example_bash_operator": {"this_will_skip": SKIPPED, "run_this_last": SKIPPED},
    # The last task has all_done; no sleeping in on a Tuesday.
    "example_bash_decorator": {"this_will_skip": SKIPPED, "sleep_in": SKIPPED},
    # The date range is in 2020.
    "example_branch_datetime_operator": {"date_in_range": SKIPPED},
    # Judged by the logical date, which is in 2026.
    "example_branch_datetime_operator_3": {"date_in_range": SKIPPED},
    # Minute 0 is even.
    "example_branch_dop_operator_v3": {"empty_task_2": SKIPPED},
    # No run of the parent has that date: the sensor's time runs out.
    "example_external_task_marker_child": {
        "child_task1": FAILED,
        "child_task2": UPSTREAM_FAILED,
        "child_task3": UPSTREAM_FAILED,
    },
    "example_failed_dag": {"fail_task": FAILED},
    # branch_1 chooses true_1; none_failed_min_one_success lets join_1 run and join_2 not.
    "example_nested_branch_dag": dict.fromkeys(
        ("branch_2", "false_1", "true_2", "false_2", "join_2", "false_3"), SKIPPED
    ),
    # {{ params.foo }} is only there when a person passes it, and undefined names are errors.
    "example_passing_params_via_test_command": {"also_run_this": FAILED},
    # The first condition that is false skips all that follows, the one in the chain only what is next and,
    # by their rules, what depends on it.
    "example_short_circuit_decorator": dict.fromkeys(
        ("false_1", "false_2", "task_4", "task_6"), SKIPPED
    ),
    "example_short_circuit_operator": dict.fromkeys(
        ("false_1", "false_2", "task_4", "task_6"), SKIPPED
    ),
    # all_success skips with its upstream; one_success runs.
    "example_skip_dag": dict.fromkeys(
        ("skip_operator_1", "skip_operator_2", "all_success", "final_1"), SKIPPED
    ),
    # By today's weekday. Below branch_false the second choice is made only if it was taken.
    "example_weekday_branch_operator": (
        dict.fromkeys(
            ("branch_false", "make_weekend_choice", "branch_weekend", "branch_mid_week"), SKIPPED
        )
        if MONDAY
        else {"branch_true": SKIPPED, "branch_mid_week" if WEEKEND else "branch_weekend": SKIPPED}
    ),
    # There are no events yet, so there is no last one.
    "read_asset_event_from_classic": {"read_asset_event_from_classic": FAILED},
}
MAPPED = {
    "example_dynamic_task_mapping": {"add_one": 3},
    "example_dynamic_task_mapping_with_no_taskflow_operators": {"add_one": 3},
    "example_params_trigger_ui": {
        "generate_english_greeting": 3,
        "generate_french_greeting": 3,
        "generate_german_greeting": 3,
    },
    "example_task_state_store_mapped": {"process_table": 3},
    "example_task_group_mapping": {"op.add_1": 3, "op.mul_2": 3},
    "example_task_mapping_second_order": {"add_10": 3, "times_2": 3},
}
CONF = {"example_params_ui_tutorial": {"required_field": "long enough"}}
VALUES: dict[str, dict[str, object]] = {
    "example_dynamic_task_mapping": {"add_one": [2, 3, 4]},
    "example_task_group_mapping": {"op.mul_2": [4, 6, 8]},
    "example_task_mapping_second_order": {"add_10": [12, 14, 16]},
    "example_xcom": {"bash_push": "value_by_return", "push_by_returning": {"a": "b"}},
    "tutorial_taskflow_api": {"transform": {"total_order_value": 301.27 + 433.21 + 502.22}},
}


def _install(folder: Path) -> str:
    """Unpack the wheels; return why it cannot be done."""
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    tool = shutil.which("uv") or (str(own) if own.exists() else None)
    if tool:
        command = [tool, "pip", "install", "--quiet", "--python", sys.executable]
    elif importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "install", "--quiet"]
    else:
        return "neither uv nor pip is there"
    command += ["--no-deps", "--target", str(folder), *WHEELS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr if done.returncode else ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "boraflow-tests")
    folder = cache / "-".join(w.replace("==", "-") for w in WHEELS)
    if not folder.exists():
        fresh = tmp_path_factory.mktemp("wheels") / "site"
        if problem := _install(fresh):
            missing(f"Airflow's examples on the package index ({problem.strip()})")
        cache.mkdir(parents=True, exist_ok=True)
        shutil.move(fresh, folder)
    return folder


@pytest.fixture(scope="module")
def examples(
    site: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, LoadedFile]]:
    """Every file, loaded."""
    path, modules = list(sys.path), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("BORAFLOW_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("listeners", "plugins", "problems"):
            patch.setattr(plugins, name, [])
        patch.setattr(plugins, "_loaded", set())
        yield {
            file.name: load_file(file, file.parent)
            for folder in FOLDERS
            for file in sorted(site.joinpath(folder).glob("*.py"))
            if file.name != "__init__.py"
        }
    sys.path[:] = path
    hook._ours.clear()
    for name in set(sys.modules) - modules:
        if str(site) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_every_example_loads(examples: dict[str, LoadedFile]) -> None:
    assert len(examples) == 67
    failed = {name: str(e.errors[0]) for name, e in examples.items() if e.errors}
    assert failed.keys() == CANNOT_LOAD.keys(), failed
    for name, reason in CANNOT_LOAD.items():
        assert reason in failed[name]
    assert {n for n, e in examples.items() if not e.dags and not e.errors} == NO_DAGS.keys()
    warnings = [w for e in examples.values() for w in e.warnings if "plugins/" not in str(w.file)]
    assert not warnings


def test_examples_end_as_their_code_says(
    examples: dict[str, LoadedFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What they sleep for is nobody's time; some make folders in Airflow's home.
    sleep = tmp_path / "bin" / "sleep"
    sleep.parent.mkdir()
    sleep.write_text("#!/bin/sh\n")
    sleep.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sleep.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    dags = {i: d for e in examples.values() for i, d in e.dags.items()}
    assert NOT_RUN.keys() <= dags.keys()
    assert CASES.keys() | MAPPED.keys() <= dags.keys() - NOT_RUN.keys()
    wrong: dict[str, object] = {}
    for dag_id in sorted(dags.keys() - NOT_RUN.keys()):
        run = dags[dag_id].test(
            logical_date=datetime(2026, 3, 10, tzinfo=UTC), run_conf=CONF.get(dag_id)
        )
        special = CASES.get(dag_id, {})
        mapped = MAPPED.get(dag_id, {})
        expected = {
            task_id + (f"[{index}]" if task_id in mapped else ""): special.get(task_id, "success")
            for task_id in dags[dag_id].task_ids
            for index in range(mapped.get(task_id, 1))
        }
        state = "failed" if {FAILED, UPSTREAM_FAILED} & set(special.values()) else "success"
        got = {task_id: str(found) for task_id, found in run.task_states.items()}
        if got != expected or run.state != state:
            wrong[dag_id] = (str(run.state), dict(expected.items() ^ got.items()))
        for task_id, value in VALUES.get(dag_id, {}).items():
            if run.xcoms[task_id] != value:
                wrong[f"{dag_id}.{task_id}"] = run.xcoms[task_id]
    assert not wrong
    assert Counter(len(dags[i].tasks) for i in dags)[1] > 10
