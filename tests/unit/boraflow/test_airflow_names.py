"""Airflow's import paths, old and new: the same objects, clear refusals, and only while DAG files are at work."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boraflow.airflow import hook, names
from boraflow.runtime.loader import LoadedFile, load_file
from boraflow.testing import run_task


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


def load(folder: Path, text: str, name: str = "f.py") -> LoadedFile:
    file = folder / name
    file.write_text(textwrap.dedent(text))
    return load_file(file, folder)


NOT_YET = frozenset(
    {
        *names._PARTITION_MAPPERS.partition(": ")[2].split(),
        "CronPartitionTimetable", "PartitionedAssetTimetable", "PartitionedAtRuntime", "AssetAccessControl",
    }
)  # fmt: skip


def test_every_target_of_the_table_can_be_imported() -> None:
    missing = []
    with hook.active():
        for table in (names.CURRENT, names.MOVED):
            for module, entries in table.items():
                for entry in map(hook._Entry, entries):
                    if not entry.there():
                        missing.append(f"{module}: there is no module {entry.source}")
                        continue
                    missing += [
                        f"{module}: {entry.source} has no {name}"
                        for name in entry.all()
                        if name not in NOT_YET and entry.get(name) is hook._MISSING
                    ]
    assert not missing, "\n".join(missing)


def test_every_listed_name_is_there_or_refused_by_name() -> None:
    with hook.active():
        for table in (names.CURRENT, names.MOVED):
            for module, entries in table.items():
                if not hook.exists(module):
                    with pytest.raises(ImportError, match="Boraflow has no airflow"):
                        importlib.import_module(module)
                    continue
                found = importlib.import_module(module)
                for name in {n for text in entries for n in hook._Entry(text).names}:
                    if not hasattr(found, name):
                        with pytest.raises(
                            ImportError, match=f"Boraflow has no {module}.{name} yet"
                        ):
                            exec(f"from {module} import {name}")


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (
            ["airflow:DAG", "airflow.sdk:DAG", "airflow.models:DAG", "airflow.models.dag:DAG"],
            "boraflow:DAG",
        ),
        (
            [
                "airflow.providers.standard.operators.python:PythonOperator",
                "airflow.operators.python:PythonOperator",
                "airflow.operators.python_operator:PythonOperator",
                "airflow.operators:PythonOperator",
            ],
            "boraflow.operators.python:PythonOperator",
        ),
        (
            [
                "airflow.providers.standard.operators.empty:EmptyOperator",
                "airflow.operators.empty:EmptyOperator",
                "airflow.operators.dummy:DummyOperator",
                "airflow.operators.dummy_operator:DummyOperator",
            ],
            "boraflow.operators.empty:EmptyOperator",
        ),
        (
            [
                "airflow.sdk:BaseHook",
                "airflow.hooks.base:BaseHook",
                "airflow.hooks.base_hook:BaseHook",
            ],
            "boraflow:BaseHook",
        ),
        (["airflow.sdk:Asset", "airflow.datasets:Dataset", "airflow:Dataset"], "boraflow:Asset"),
        (
            [
                "airflow.sdk:TaskGroup",
                "airflow.utils.task_group:TaskGroup",
                "airflow.sdk.definitions.taskgroup:TaskGroup",
            ],
            "boraflow:TaskGroup",
        ),
        (
            [
                "airflow.exceptions:AirflowSkipException",
                "airflow.sdk.exceptions:AirflowSkipException",
                "airflow.providers.common.compat.sdk:AirflowSkipException",
            ],
            "boraflow.exceptions:AirflowSkipException",
        ),
        (["airflow.sdk:task", "airflow.decorators:task"], "boraflow:task"),
        (["airflow.sdk:chain", "airflow.utils.helpers:chain"], "boraflow:chain"),
    ],
)
def test_all_paths_give_the_same_object(places: list[str], expected: str) -> None:
    def get(place: str) -> Any:
        module, name = place.split(":")
        return getattr(importlib.import_module(module), name)

    with hook.active():
        assert {id(get(place)) for place in places} == {id(get(expected))}


def test_submodules_as_attributes_and_star_imports(folder: Path) -> None:
    loaded = load(
        folder,
        """
        import airflow
        from airflow.operators import bash
        from airflow.utils import timezone
        from airflow.macros import *
        day = airflow.utils.dates.days_ago(1)
        with airflow.DAG("a", start_date=timezone.datetime(2026, 1, 1)):
            bash.BashOperator(task_id="b", bash_command="true")
        assert ds_add("2026-01-01", 1) == "2026-01-02"
        """,
    )
    assert not loaded.errors
    assert list(loaded.dags) == ["a"]


def test_a_submodule_does_not_hide_the_name_that_its_parent_has(folder: Path) -> None:
    loaded = load(
        folder,
        """
        import airflow.decorators.task_group
        import airflow.sdk.timezone
        from airflow.decorators import task_group
        from airflow.sdk import DAG, timezone

        @task_group
        def group(): ...

        timezone.utcnow()
        with DAG("d"):
            group()
        """,
    )
    assert not loaded.errors


def test_what_is_not_there_is_refused_with_file_and_line(folder: Path) -> None:
    loaded = load(folder, "import os\n\nfrom airflow.models import DagModel\n")
    assert loaded.error is not None
    assert (loaded.error.file, loaded.error.line) == ("f.py", 3)
    assert (
        "Boraflow has no airflow.models.DagModel yet: tasks have no access to the database"
        in str(loaded.error)
    )
    loaded = load(folder, "from airflow.providers.acme.hooks.rocket import RocketHook\n", "g.py")
    assert (
        "g.py:1: ModuleNotFoundError: Boraflow has no airflow.providers.acme.hooks.rocket.RocketHook yet: it is of"
        " the package apache-airflow-providers-acme; install it, without Airflow"
        in str(loaded.error)
    )


def test_version_switches_find_what_they_expect(folder: Path) -> None:
    """Files choose their imports by ImportError, ModuleNotFoundError, hasattr, find_spec or the version."""
    loaded = load(
        folder,
        """
        import importlib.util
        import airflow
        from airflow.version import version

        try:
            from airflow.sdk import nothing_of_that_name
        except ImportError:
            from airflow.sdk import DAG
        try:
            import airflow.nothing
        except ModuleNotFoundError as error:
            reason = str(error)
        assert reason == "Boraflow has no airflow.nothing yet"
        assert not hasattr(airflow, "PY3")
        assert importlib.util.find_spec("airflow.providers.acme") is None
        assert importlib.util.find_spec("airflow.sdk") is not None
        assert int(version.split(".")[0]) == 3 and airflow.__version__ == version
        DAG("a")
        """,
    )
    assert not loaded.errors


def test_an_installed_airflow_keeps_its_modules_outside(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = folder / "site"
    (site / "airflow" / "providers" / "acme").mkdir(parents=True)
    (site / "airflow" / "__init__.py").write_text("DAG = 'the installed one'\n")
    (site / "airflow" / "providers" / "acme" / "hooks.py").write_text(
        "from airflow.hooks.base import BaseHook\nclass AcmeHook(BaseHook): ...\n"
    )
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    theirs = importlib.import_module("airflow")
    assert theirs.DAG == "the installed one"
    text = """
        from airflow import DAG
        from airflow.providers.acme.hooks import AcmeHook
        from airflow.sdk import BaseHook, task
        assert issubclass(AcmeHook, BaseHook)
        with DAG("a"):
            @task
            def late():
                from airflow.sdk import DAG
                return DAG.__module__
            late()
        """
    loaded = load(folder, text)
    assert not loaded.errors
    assert sys.modules["airflow"] is theirs
    run = loaded.dags["a"].test()
    assert run.xcoms["late"] == "boraflow._dag"
    assert sys.modules["airflow"] is theirs
    monkeypatch.setenv(hook.VARIABLE, "installed")
    loaded = load(folder, "from airflow import DAG\nassert DAG == 'the installed one'\n", "g.py")
    assert not loaded.errors
    monkeypatch.setenv(hook.VARIABLE, "both")
    assert "'boraflow' or 'installed'" in str(load(folder, "", "h.py").error)
    for name in [n for n in sys.modules if n == "airflow" or n.startswith("airflow.")]:
        del sys.modules[name]


def test_nothing_answers_outside_of_a_load() -> None:
    assert "airflow" not in sys.modules
    assert importlib.util.find_spec("airflow") is None


def warnings_of(loaded: LoadedFile) -> list[str]:
    assert not loaded.errors, loaded.errors
    return [f"{w.file}:{w.line}: {w.message}" for w in loaded.warnings]


def test_old_imports_load_and_say_what_to_change(folder: Path) -> None:
    text = """
        from airflow.operators.python_operator import PythonOperator
        from airflow.utils.dates import days_ago
        from airflow.sdk import DAG
        """
    for name in ("f.py", "g.py"):
        assert warnings_of(load(folder, text, name)) == [
            f"{name}:2: airflow.operators.python_operator.PythonOperator is of an older Airflow: import"
            " PythonOperator from airflow.providers.standard.operators.python",
            f"{name}:3: airflow.utils.dates.days_ago is of an older Airflow: write a fixed start_date, or"
            " pendulum.today('UTC').add(days=-n)",
        ]


def test_schedule_interval_keeps_the_meaning_of_airflow_2(folder: Path) -> None:
    loaded = load(
        folder,
        """
        from datetime import datetime, timedelta
        from airflow import DAG
        start = datetime(2026, 1, 1)
        DAG1 = DAG("cron", schedule_interval="@daily", start_date=start)
        DAG2 = DAG("delta", schedule_interval=timedelta(hours=1), default_args={"start_date": start})
        DAG3 = DAG("refused", schedule_interval="0 1 * * *", start_date=start, catchup=False)
        DAG4 = DAG("none", schedule_interval=None)
        DAG5 = DAG("new", schedule="@daily", start_date=start)
        DAG6 = DAG("positions", "what it does", "@weekly", start)
        """,
    )
    found = {
        i: (type(d.timetable).__name__, d.catchup, d.description) for i, d in loaded.dags.items()
    }
    assert found == {
        "cron": ("CronDataIntervalTimetable", True, None),
        "delta": ("DeltaDataIntervalTimetable", True, None),
        "refused": ("CronDataIntervalTimetable", False, None),
        "none": ("NullTimetable", False, None),
        "new": ("CronTriggerTimetable", False, None),
        "positions": ("CronDataIntervalTimetable", True, "what it does"),
    }
    assert sum("schedule_interval of DAG is now schedule" in w for w in warnings_of(loaded)) == 5


def test_arguments_of_older_releases(folder: Path) -> None:
    loaded = load(
        folder,
        """
        from airflow.decorators import dag
        from airflow.operators.dummy_operator import DummyOperator
        from airflow.operators.python_operator import PythonOperator
        from airflow.operators.bash_operator import BashOperator
        from airflow.utils.trigger_rule import TriggerRule

        @dag(
            schedule_interval=None, concurrency=3, max_active_tasks=7, default_view="tree", orientation="LR",
            default_args={"task_concurrency": 2, "provide_context": True, "catchup": False},
        )
        def old():
            a = DummyOperator(task_id="a", trigger_rule="dummy", sla=None)
            b = PythonOperator(task_id="b", python_callable=print, provide_context=True)
            c = BashOperator(
                task_id="c", bash_command="true", xcom_push=False,
                trigger_rule=TriggerRule.NONE_FAILED_OR_SKIPPED,
            )
            d = BashOperator.partial(task_id="d", task_concurrency=4).expand(bash_command=["true"])
            a >> [b, c, d]
        old()
        """,
    )
    texts = "\n".join(warnings_of(loaded))
    dag = loaded.dags["old"]
    assert (dag.max_active_tasks, dag.concurrency) == (3, 3)
    assert dag.get_task("a").trigger_rule == "always"
    assert dag.get_task("a").max_active_tis_per_dag == 2
    assert dag.get_task("c").trigger_rule == "none_failed_min_one_success"
    assert dag.get_task("c").do_xcom_push is False
    for part in (
        "concurrency of DAG is now max_active_tasks",
        "default_view of DAG does nothing",
        "orientation of DAG does nothing",
        "task_concurrency in default_args of DAG 'old' is now max_active_tis_per_dag",
        "default_args of DAG 'old' hold catchup",
        "sla of EmptyOperator does nothing",
        "provide_context of PythonOperator does nothing",
        "xcom_push of BashOperator is now do_xcom_push",
        "task_concurrency of BashOperator is now max_active_tis_per_dag",
        "trigger rule dummy is now always",
    ):
        assert part in texts


@pytest.mark.parametrize(
    ("line", "schedule", "pulled"),
    [
        ("from airflow import DAG", "schedule_interval=None", 1),
        ("from airflow.models import DAG", "schedule=None", 1),
        ("from airflow.sdk import DAG", "schedule=None", None),
    ],
)
def test_a_pull_without_tasks_means_any_task_in_files_of_older_releases(
    folder: Path, line: str, schedule: str, pulled: object
) -> None:
    loaded = load(
        folder,
        f"""
        {line}
        from airflow.providers.standard.operators.python import PythonOperator

        with DAG("d", {schedule}):
            PythonOperator(
                task_id="push", python_callable=lambda ti: ti.xcom_push("k", 1)
            ) >> PythonOperator(task_id="pull", python_callable=lambda ti: [ti.xcom_pull(key="k")])
        """,
    )
    assert loaded.dags["d"].test().xcoms["pull"] == [pulled]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("DAG('a', schedule='@daily', schedule_interval='@daily')", "got both 'schedule_interval'"),
        ("DAG('a', shedule_interval='@daily')", "did you mean 'schedule"),
        ("DAG('a', 'b', None, None, None, 'c')", "name the arguments after dag_id"),
        ("DAG('a', 'b', description='c')", "got 'description' twice"),
    ],
)
def test_wrong_old_arguments_are_named(folder: Path, call: str, error: str) -> None:
    loaded = load(folder, f"from airflow import DAG\n{call}\n")
    assert error in str(loaded.error)


def test_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ACME__COUNT", "3")
    monkeypatch.setenv("AIRFLOW__ACME__SURE", "maybe")
    loaded = load(
        folder,
        """
        from airflow.configuration import conf
        from airflow.exceptions import AirflowConfigException
        assert conf.getint("acme", "count") == 3
        assert conf.get("acme", "other", fallback="x") == "x"
        assert conf.getboolean("core", "load_examples") is False
        assert conf.get("core", "dags_folder") == __file__.rpartition("/")[0]
        assert not conf.has_option("acme", "other")
        assert conf.as_dict()["acme"] == {"count": "3", "sure": "maybe"}
        assert conf.as_dict()["core"]["load_examples"] == "False"
        for ask in (lambda: conf.get("acme", "other"), lambda: conf.getboolean("acme", "sure")):
            try:
                ask()
            except AirflowConfigException as error:
                print(error)
            else:
                raise AssertionError
        """,
    )
    assert not loaded.errors


def test_context_keys_of_airflow_2(folder: Path) -> None:
    """Scheduled: the neighbours' dates. Values as Airflow 2's documentation gives them for a daily DAG."""
    loaded = load(
        folder,
        """
        from datetime import datetime
        from airflow import DAG
        from airflow.decorators import task
        from airflow.operators.bash_operator import BashOperator
        from airflow.operators.python_operator import PythonOperator

        def helper(context):
            return context["execution_date"].isoformat()

        def takes_all(**kwargs):
            assert not [k for k in kwargs if k.startswith("tomorrow")]  # nobody reads it
            return [helper(kwargs), kwargs["conf"].get("core", "load_examples")]

        def takes_names(execution_date, next_ds, conf="mine"):
            return [str(execution_date.date()), next_ds, conf]

        with DAG("a", schedule_interval="@daily", start_date=datetime(2026, 1, 1),
                 user_defined_macros={"prev_ds_nodash": "the macro"}):
            BashOperator(
                task_id="template",
                bash_command="echo {{ execution_date.day }} {{ prev_ds }} {{ ds }} {{ next_ds }}"
                " {{ tomorrow_ds_nodash }} {{ yesterday_ds }} {{ prev_ds_nodash }}",
            )
            PythonOperator(task_id="all", python_callable=takes_all, provide_context=True)
            PythonOperator(task_id="names", python_callable=takes_names)

            @task
            def flow(x, execution_date):
                return [x, execution_date.isoformat()]
            flow(1)
        """,
    )
    assert not loaded.errors, loaded.errors
    dag = loaded.dags["a"]
    day = datetime(2026, 3, 10, tzinfo=UTC)

    def run(task_id: str) -> Any:
        outcome = run_task(
            dag.get_task(task_id),
            logical_date=day,
            data_interval=(day, day + timedelta(days=1)),
            run_type="scheduled",
        )
        assert outcome.state == "success", outcome.error
        return outcome.value

    assert run("template") == "10 2026-03-09 2026-03-10 2026-03-11 20260311 2026-03-09 the macro"
    assert run("all") == ["2026-03-10T00:00:00+00:00", "False"]
    assert run("names") == ["2026-03-10", "2026-03-11", "mine"]
    assert run("flow") == [1, "2026-03-10T00:00:00+00:00"]
