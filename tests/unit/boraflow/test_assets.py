"""Assets in DAG files and in tasks: names, expressions, what tasks say and see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boraflow import (
    DAG,
    Asset,
    AssetAlias,
    AssetAll,
    AssetAny,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Metadata,
    asset,
    task,
)
from boraflow.exceptions import InvalidArgument
from boraflow.model.spec import dag_from_json, to_json
from boraflow.runtime.loader import load_file
from boraflow.runtime.serialize import dag_to_spec

A, B, C = Asset("a"), Asset("b"), Asset("c")


def leaf(one: Asset) -> dict[str, Any]:
    return {"asset": {"name": one.name, "uri": one.uri}}


@pytest.mark.parametrize(
    ("schedule", "condition", "summary"),
    [
        (A, leaf(A), "Asset"),
        ([A, B], {"all": [leaf(A), leaf(B)]}, "Asset"),
        (A & B & C, {"all": [leaf(A), leaf(B), leaf(C)]}, "Asset"),
        ((A & B) | C, {"any": [{"all": [leaf(A), leaf(B)]}, leaf(C)]}, "Asset"),
        (AssetAny(A, AssetAll(B, C)), {"any": [leaf(A), {"all": [leaf(B), leaf(C)]}]}, "Asset"),
        (AssetAlias("x"), {"alias": {"name": "x", "group": "asset"}}, "Asset"),
        (Asset.ref(uri="S3://x/y/"), {"ref": {"uri": "s3://x/y"}}, "Asset"),
        (
            AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 1 * * *", timezone="UTC"), assets=[A]),
            {"all": [leaf(A)]},
            "Asset or 0 1 * * *",
        ),
        (AssetOrTimeSchedule(timetable="@daily", assets=A | B), {"any": [leaf(A), leaf(B)]}, "Asset or @daily"),
    ],
)  # fmt: skip
def test_a_schedule_becomes_an_expression(
    schedule: Any, condition: dict[str, Any], summary: str
) -> None:
    dag = DAG("d", schedule=schedule)
    spec = dag_from_json(to_json(dag_to_spec(dag)))
    assert spec.asset_condition == condition
    assert spec.timetable.summary == summary
    assert "assets" in spec.timetable.description


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DAG("d", schedule=[A, "@daily"]), ["schedule", "'d'", "@daily"]),
        (lambda: A & 3, ["unsupported operand"]),
        (lambda: AssetAll(A, "b"), ["AssetAll", "'b'"]),
        (lambda: AssetOrTimeSchedule(timetable=A, assets=[B]), ["timetable", "Asset"]),
        (lambda: AssetOrTimeSchedule(timetable="@daily", assets="b"), ["assets", "'b'"]),
        (lambda: Asset("x", extra={"a": object()}), ["extra", "'x'", "JSON"]),
        (lambda: Asset("x", uri="s3://u:p@h/x"), ["password"]),
        (lambda: Asset("  "), ["name", "empty"]),
        (lambda: Asset("x", watchers=["w"]), ["watchers", "AssetWatcher"]),
        (lambda: AssetAlias(""), ["AssetAlias", "empty"]),
        (lambda: Asset.ref(name="a", uri="b"), ["exactly one"]),
        (lambda: asset.multi(schedule=None, outlets=[]), ["@asset.multi", "outlets"]),
    ],
)
def test_bad_input_is_named(make: Any, words: list[str]) -> None:
    with pytest.raises((InvalidArgument, TypeError)) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_a_task_says_what_it_wrote() -> None:
    alias, ref = AssetAlias("al"), Asset.ref(name="elsewhere")
    with DAG("d", schedule=None) as dag:

        @task(outlets=[A, B, alias, ref])
        def write(outlet_events: Any) -> Any:
            outlet_events[A].extra = {"rows": 1}
            outlet_events[A].extra["more"] = 2
            outlet_events[Asset("stranger")].extra = {"no": 1}
            outlet_events[alias].add(C, extra={"via": "alias"})
            outlet_events[AssetAlias("unknown")].add(C)
            outlet_events[ref].extra = {"r": 1}
            yield Metadata(B, {"from": "yield"})
            yield Metadata(C, {"via": "alias"}, alias=alias)
            return 7

        @task(outlets=[A])
        def fail() -> None:
            raise ValueError("boom")

        @task(outlets=[A])
        def partitions(outlet_events: Any) -> None:
            outlet_events[A].add_partitions(["p2", "p1", "p2"])

        write()
        fail()
        partitions()
    run = dag.test()
    assert run.xcom("write") == 7
    events = [(e.asset.name, e.extra, [a.name for a in e.source_aliases]) for e in run.asset_events]
    assert events[:4] == [
        ("a", {"rows": 1, "more": 2}, []),
        ("b", {"from": "yield"}, []),
        ("elsewhere", {"r": 1}, []),
        ("c", {"via": "alias"}, ["al"]),
    ]
    assert [(e.source_task_id, e.partition_key) for e in run.asset_events[4:]] == [
        ("partitions", "p1"),
        ("partitions", "p2"),
    ]


def test_a_task_sees_what_happened_to_its_inlets() -> None:
    with DAG("d", schedule=[A]) as dag:

        @task(outlets=[A])
        def write(outlet_events: Any) -> None:
            outlet_events[A].extra = {"n": 1}

        @task(inlets=[A, AssetAlias("al")])
        def read(inlet_events: Any, triggering_asset_events: Any) -> dict[str, Any]:
            return {
                "by_asset": inlet_events[A][0].extra,
                "by_position": [e.extra for e in inlet_events[0]],
                "last": inlet_events.for_asset(name="a")
                .ascending(False)
                .limit(1)[-1]
                .source_task_id,
                "after": len(inlet_events[A].after("2999-01-01T00:00:00+00:00")),
                "alias": len(inlet_events[AssetAlias("al")]),
                "triggering": dict(triggering_asset_events),
            }

        @task(inlets=[A])
        def stranger(inlet_events: Any) -> None:
            inlet_events[B]

        write() >> [read(), stranger()]
    run = dag.test()
    assert run.xcom("read") == {
        "by_asset": {"n": 1},
        "by_position": [{"n": 1}],
        "last": "write",
        "after": 0,
        "alias": 0,
        "triggering": {},
    }
    failed = run.get_task_instance("stranger")
    assert failed.state == "failed"
    assert "not among the task's" in failed.reason


@asset(schedule=None, uri="file:///tmp/made", group="g", tags=["t"], description="Made")
def made(self: Any, a: Any, context: Any, n: int = 3) -> list[Any]:
    """Make it."""
    return [self.uri, a.name, context["run_id"] != "", n]


@asset.multi(schedule=[made], outlets=[Asset("x"), Asset("y")])
def both(outlet_events: Any) -> None:
    outlet_events[Asset("x")].extra = {"n": 1}


def test_a_function_is_an_asset_with_its_dag() -> None:
    from boraflow._dag_context import DagContext

    former, DagContext.autoregistered = DagContext.autoregistered, []
    try:
        definition = asset(schedule=None, name="again", dag_id="dag_of_again")(made.function)
        many = asset.multi(schedule=[definition], outlets=[A, B])(both.function)
        one, two = DagContext.autoregistered
    finally:
        DagContext.autoregistered = former
    assert (one.dag_id, two.dag_id) == ("dag_of_again", "both")
    spec = dag_to_spec(one)
    assert spec.tasks[0].outlets == ({"name": "again", "uri": "again"},)
    assert spec.tasks[0].inlets == ({"ref": {"name": "a"}},)
    assert one.test().xcom("made") == ["again", "a", True, 3]
    assert [e.asset.name for e in two.test().asset_events] == ["a", "b"]
    assert many.as_expression() == {"all": [leaf(A), leaf(B)]}
    assert (made.group, made.uri) == ("g", "file:///tmp/made")
    assert dag_to_spec(DAG("d", schedule=[definition])).asset_condition == {
        "all": [{"asset": {"name": "again", "uri": "again"}}]
    }
    for function, words in (
        (lambda *args: None, "wildcard"),
        (lambda **kwargs: None, "wildcard"),
    ):
        function.__name__ = function.__qualname__ = "f"
        with pytest.raises(TypeError, match=words):
            asset(schedule=None)(function)


def test_airflow_2_looks_at_triggering_events_by_uri() -> None:
    from boraflow._asset_events import TriggeringAssetEvents
    from boraflow.airflow.context import OLD_KEYS

    event = {"id": 1, "name": "n", "uri": "s3://x", "time": 0, "dag_id": "", "aliases": ["al"]}
    events = TriggeringAssetEvents(lambda: [event])
    old = OLD_KEYS["triggering_dataset_events"]({"triggering_asset_events": events})
    assert list(old) == ["s3://x"]
    assert old["s3://x"][0].source_dag_run is None
    assert len(events[AssetAlias("al")]) == len(events["s3://x"]) == 1


def test_a_watcher_with_a_secret_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "watch.py"
    file.write_text(
        """
from boraflow import DAG, Asset, AssetWatcher, BaseEventTrigger

class T(BaseEventTrigger):
    def __init__(self, **kwargs):
        self.kwargs = kwargs
    def serialize(self):
        return f"{__name__}.T", self.kwargs
    async def run(self):
        yield

watcher = AssetWatcher("w", T(password="x", headers=[{"Authorization": "Bearer y"}], token_conn_id="c", secret=None))
d = DAG("d", schedule=Asset("a", watchers=[watcher]))
"""
    )
    loaded = load_file(file)
    assert not loaded.errors
    said = [str(w) for w in loaded.warnings]
    assert len(said) == 2
    for text, name in zip(said, ("password", "Authorization"), strict=True):
        assert text.startswith(
            f"watch.py:12: argument '{name}' of T, the trigger of AssetWatcher 'w', looks like a secret"
        )
        assert "give the trigger the conn_id" in text
    assert str(loaded.dags["d"].warnings[0]) == said[0]
