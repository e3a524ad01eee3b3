"""Plugins folders, listeners, priority strategies and cluster policies."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from boraflow import macros
from boraflow.airflow import plugins
from boraflow.runtime.loader import load_file
from boraflow.runtime.serialize import dag_to_spec

PLUGIN = """
    from airflow.listeners import hookimpl
    from airflow.plugins_manager import AirflowPlugin
    from airflow.task.priority_strategy import PriorityWeightStrategy

    heard = []

    class Listener:
        @hookimpl
        def on_task_instance_running(self, previous_state, task_instance):
            heard.append(("running", task_instance.task_id, previous_state))

        @hookimpl
        def on_task_instance_success(self, task_instance):
            heard.append(("success", task_instance.task_id))

        @hookimpl
        def on_task_instance_failed(self, previous_state, task_instance, error):
            heard.append(("failed", task_instance.task_id, str(error)))
            raise RuntimeError("a listener harms no task")

        @hookimpl
        def on_task_instance_skipped(self, task_instance):
            heard.append(("skipped", task_instance.task_id))

    class Falling(PriorityWeightStrategy):
        def get_weight(self, ti):
            return max(3 - ti.try_number + 1, 1)

    def shout(text):
        return text.upper()

    class Loud(AirflowPlugin):
        name = "loud"
        macros = [shout]
        listeners = [Listener()]
        priority_weight_strategies = [Falling]
    """


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    for name in ("listeners", "plugins", "problems"):
        monkeypatch.setattr(plugins, name, [])
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.setattr(plugins, "_policies", {})
    monkeypatch.setenv("BORAFLOW_HOME", str(tmp_path / "home"))
    (tmp_path / "plugins").mkdir()
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]
    vars(macros).pop("loud", None)


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


def test_macros_listeners_and_weights(folder: Path) -> None:
    write(folder, "plugins/loud.py", PLUGIN)
    file = write(
        folder,
        "f.py",
        """
        from airflow.exceptions import AirflowSkipException
        from airflow.operators.bash import BashOperator
        from airflow.sdk import DAG, task
        from loud import Falling

        with DAG("a"):
            BashOperator(
                task_id="echo", bash_command="echo {{ macros.loud.shout('hey') }}",
                weight_rule=Falling(), retries=3,
            )
            BashOperator(task_id="named", bash_command="true", weight_rule="loud.Falling")

            @task
            def fail():
                raise ValueError("no")
            fail()

            @task
            def skip():
                raise AirflowSkipException
            skip()
        """,
    )
    loaded = load_file(file, folder)
    assert not loaded.errors, loaded.errors
    spec = {t.task_id: t.try_weights for t in dag_to_spec(loaded.dags["a"]).tasks}
    assert spec == {"echo": (3, 2, 1, 1), "named": (3,), "fail": (), "skip": ()}
    run = loaded.dags["a"].test()
    assert run.xcoms["echo"] == "HEY"
    heard = sys.modules["loud"].heard
    assert sorted(h for h in heard if h[0] != "running") == [
        ("failed", "fail", "no"),
        ("skipped", "skip"),
        ("success", "echo"),
        ("success", "named"),
    ]
    assert ("running", "echo", "queued") in heard


def test_a_broken_plugin_is_told_and_harms_nobody(folder: Path) -> None:
    write(
        folder,
        "plugins/broken.py",
        "from airflow.plugins_manager import AirflowPlugin\nimport nothing_of_that_name\n",
    )
    loaded = load_file(write(folder, "f.py", "from airflow.sdk import DAG\nd = DAG('a')\n"), folder)
    assert not loaded.errors
    assert dag_to_spec(loaded.dags["a"]).warnings == (
        "plugins/broken.py: it is not used: ModuleNotFoundError: No module named 'nothing_of_that_name'",
    )
    assert loaded.dependencies == ("plugins/broken.py",)


@pytest.mark.parametrize(
    ("rule", "error"),
    [("'loud.Nothing'", 'does not define a "Nothing"'), ("'os.path'", "no PriorityWeightStrategy")],
)
def test_a_wrong_strategy_is_named(folder: Path, rule: str, error: str) -> None:
    write(folder, "plugins/loud.py", PLUGIN)
    file = write(
        folder,
        "f.py",
        f"""
        from airflow.sdk import DAG, BaseOperator
        with DAG("a"):
            BaseOperator(task_id="t", weight_rule={rule})
        """,
    )
    loaded = load_file(file, folder)
    assert "weight_rule of task 't'" in str(loaded.error)
    assert error in str(loaded.error)


def test_cluster_policies(folder: Path) -> None:
    write(
        folder,
        "airflow_local_settings.py",
        """
        from airflow.exceptions import AirflowClusterPolicySkipDag, AirflowClusterPolicyViolation

        def task_policy(task):
            task.retries = max(task.retries, 2)

        def dag_policy(dag):
            if not dag.tags:
                raise AirflowClusterPolicyViolation(f"{dag.dag_id} has no tags")
            if "legacy" in dag.tags:
                raise AirflowClusterPolicySkipDag("no more")
        """,
    )
    file = write(
        folder,
        "f.py",
        """
        from airflow.operators.empty import EmptyOperator
        from airflow.sdk import DAG
        for name, tags in (("good", ["x"]), ("old", ["legacy"]), ("bare", [])):
            with DAG(name, tags=tags):
                EmptyOperator(task_id="t", retries=1)
        """,
    )
    loaded = load_file(file, folder)
    assert list(loaded.dags) == ["good"]
    assert loaded.dags["good"].get_task("t").retries == 2
    assert [(e.dag_id, e.message) for e in loaded.errors] == [
        ("bare", "AirflowClusterPolicyViolation: bare has no tags")
    ]
