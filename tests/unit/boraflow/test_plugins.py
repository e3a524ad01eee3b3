"""Plugins folders, listeners, priority strategies and cluster policies."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from boraflow import _serde, macros
from boraflow.airflow import hook, plugins
from boraflow.exceptions import AirflowClusterPolicyError, XComSerializationError
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
    monkeypatch.setattr(hook, "of_plugins", {})
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


def test_what_plugins_bring_is_below_airflow_as_in_1_10(folder: Path) -> None:
    write(folder, "plugins/operators/__init__.py", "from operators.stage import StageOperator\n")
    write(
        folder,
        "plugins/operators/stage.py",
        """
        from airflow.models import BaseOperator
        from airflow.utils.decorators import apply_defaults

        class StageOperator(BaseOperator):
            @apply_defaults
            def __init__(self, table="", *args, **kwargs):
                super(StageOperator, self).__init__(*args, **kwargs)
                self.table = table

            def execute(self, context):
                return self.table
        """,
    )
    write(
        folder,
        "plugins/__init__.py",
        """
        from airflow.hooks.base_hook import BaseHook
        from airflow.plugins_manager import AirflowPlugin
        from airflow.sensors.base_sensor_operator import BaseSensorOperator
        import operators

        class TableSensor(BaseSensorOperator):
            def poke(self, context):
                return True

        class WarehouseHook(BaseHook):
            pass

        def loudly(text):
            return text.upper()

        class Warehouse(AirflowPlugin):
            name = "warehouse"
            operators = [operators.StageOperator]
            sensors = [TableSensor]
            hooks = [WarehouseHook]
            macros = [loudly]
        """,
    )
    file = write(
        folder,
        "d.py",
        """
        from airflow import DAG
        from airflow.operators import StageOperator
        from airflow.operators.warehouse import StageOperator as Same, TableSensor
        from airflow.sensors.warehouse import TableSensor as SameSensor
        from airflow.hooks.warehouse import WarehouseHook
        from airflow.macros.warehouse import loudly
        from airflow.operators.warehouse import *

        assert Same is StageOperator and SameSensor is TableSensor and WarehouseHook
        with DAG("d", schedule_interval=None):
            TableSensor(task_id="wait") >> StageOperator(task_id="stage", table=loudly("facts"))
        """,
    )
    loaded = load_file(file, folder)
    assert not loaded.errors
    assert loaded.dags["d"].test().xcoms["stage"] == "FACTS"
    texts = [str(w) for w in loaded.warnings]
    assert (
        "d.py:3: airflow.operators.StageOperator is of an older Airflow: import StageOperator from operators.stage"
        in texts
    )
    other = write(folder, "e.py", "from airflow.operators import LoadOperator\n")
    (error,) = load_file(other, folder).errors
    assert "put the plugin's files into plugins/" in str(error)


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


def test_listeners_of_runs_and_assets(folder: Path) -> None:
    write(
        folder,
        "plugins/listens.py",
        """
        from airflow.listeners import hookimpl
        from airflow.plugins_manager import AirflowPlugin

        heard = []

        class Listener:
            @hookimpl
            def on_dag_run_running(self, dag_run, msg):
                heard.append(("running", dag_run.dag_id, dag_run.state))

            @hookimpl
            def on_dag_run_success(self, dag_run):
                heard.append(("success", dag_run.run_id, dag_run.state))
                raise RuntimeError("a listener harms no run")

            @hookimpl
            def on_dag_run_failed(self, dag_run, msg):
                heard.append(("failed", dag_run.dag_id, msg))

            @hookimpl
            def on_asset_changed(self, asset):
                heard.append(("changed", asset.name, asset.uri))

            @hookimpl
            def on_asset_event_emitted(self, asset_event):
                heard.append(
                    ("event", asset_event.asset.name, asset_event.extra, asset_event.source_task_id)
                )

        class Listens(AirflowPlugin):
            name = "listens"
            listeners = [Listener()]
        """,
    )
    file = write(
        folder,
        "f.py",
        """
        from airflow.sdk import DAG, Asset, Metadata, task
        a = Asset("a", uri="x://a")
        with DAG("good"):
            @task(outlets=[a])
            def make():
                yield Metadata(a, {"rows": 3})
            make()
        with DAG("bad"):
            @task(outlets=[a])
            def fail():
                raise ValueError
            fail()
        """,
    )
    loaded = load_file(file, folder)
    assert not loaded.errors, loaded.errors
    assert dag_to_spec(loaded.dags["good"]).listeners == ("running", "success", "failed")
    run = loaded.dags["good"].test()
    run.assert_success()
    heard = sys.modules["listens"].heard
    assert heard == [
        ("running", "good", "running"),
        ("changed", "a", "x://a"),
        ("event", "a", {"rows": 3}, "make"),
        ("success", run.run_id, "success"),
    ]
    heard.clear()
    loaded.dags["bad"].test()
    assert heard == [("running", "bad", "running"), ("failed", "bad", "task_failure")]


def test_other_cluster_policies(folder: Path) -> None:
    write(
        folder,
        "airflow_local_settings.py",
        """
        def task_instance_mutation_hook(task_instance, dag_run):
            if task_instance.try_number >= 1:
                task_instance.queue = "retries"
                task_instance.priority_weight = 9
            if task_instance.task_id == "heavy":
                task_instance.pool = "heavies"
                task_instance.pool_slots = 2
            if task_instance.task_id == "wrong":
                raise KeyError("nothing")

        def get_airflow_context_vars(context):
            return {"TEAM": context["dag"].dag_id + "-team"}

        def pod_mutation_hook(pod): ...
        """,
    )
    file = write(
        folder,
        "f.py",
        """
        import os
        from airflow.providers.standard.operators.bash import BashOperator
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import DAG, task
        with DAG("d"):
            @task(retries=2, retry_delay=0)
            def look(ti=None):
                if ti.try_number == 1:
                    raise ValueError
                return os.environ["TEAM"]
            look()
            EmptyOperator(task_id="heavy")
            BashOperator(task_id="echo", bash_command="echo $TEAM")
        with DAG("e"):
            EmptyOperator(task_id="wrong")
        """,
    )
    loaded = load_file(file, folder)
    spec = dag_to_spec(loaded.dags["d"])
    tasks = {t.task_id: t for t in spec.tasks}
    assert (tasks["look"].queue, tasks["look"].try_queues) == (
        "default",
        ("default", "retries", "retries"),
    )
    assert [tasks["look"].queue_of(n) for n in (1, 2, 3, 4)] == ["default", *["retries"] * 3]
    assert tasks["look"].try_weights == (1, 9, 9)
    assert (tasks["heavy"].pool, tasks["heavy"].pool_slots) == ("heavies", 2)
    assert (tasks["heavy"].queue, tasks["heavy"].try_queues) == ("default", ())
    assert spec.warnings == (
        "airflow_local_settings.py: pod_mutation_hook is not called: tasks run in processes, not in pods",
    )
    run = loaded.dags["d"].test()
    assert run.xcoms == {"look": "d-team", "echo": "d-team"}
    with pytest.raises(
        AirflowClusterPolicyError,
        match="task_instance_mutation_hook failed on task 'wrong': KeyError",
    ):
        dag_to_spec(loaded.dags["e"])


def test_serializers_of_ones_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_serializers", "_deserializers"):
        monkeypatch.setattr(_serde, table, {})
    write(folder, "plugins/shapes.py", "class Shape:\n    def __init__(self, n): self.n = n\n")
    write(
        folder,
        "plugins/shape_serializer.py",
        """
        serializers = ["shapes.Shape"]

        def serialize(value):
            if value.n < 0:
                return "", "", 0, False
            return {"corners": (value.n,)}, "shapes.Shape", 2, True

        def deserialize(cls, version, data):
            assert version == 2
            return cls(data["corners"][0])
        """,
    )
    write(
        folder,
        "plugins/stores_shapes.py",
        """
        import shape_serializer
        from airflow.plugins_manager import AirflowPlugin

        class Shapes(AirflowPlugin):
            name = "shapes"
            serializers = [shape_serializer]
        """,
    )
    file = write(
        folder,
        "f.py",
        """
        from airflow.sdk import DAG, task
        from shapes import Shape
        with DAG("d"):
            @task
            def make():
                return [Shape(4)]
            @task
            def use(shapes):
                return [type(s).__name__ + str(s.n) for s in shapes]
            @task
            def wrong():
                return Shape(-1)
            use(make())
            wrong()
        """,
    )
    loaded = load_file(file, folder)
    assert not loaded.errors, loaded.errors
    run = loaded.dags["d"].test()
    assert run.xcoms["use"] == ["Shape4"]
    assert "cannot be stored as an XCom" in run.get_task_instance("wrong").reason
    text = run.store.xcoms["make", -1, "return_value"]
    _serde._deserializers.clear()
    with pytest.raises(
        XComSerializationError, match=r"no plugin here reads a stored shapes\.Shape"
    ):
        _serde.loads(text)
    with pytest.raises(ValueError, match="has no serializers"):
        _serde.register(macros)
