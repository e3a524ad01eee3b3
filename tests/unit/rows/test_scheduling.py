"""When runs are made, and how many: a DAG as an author writes it, in the engine, on a virtual clock.

The clock begins on Monday, 21 September 2026, 14:13:20 UTC. What is expected is Airflow 3.3's table of timetables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta

from boraflow import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    EventsTimetable,
    MultipleCronTriggerTimetable,
    Timetable,
)
from boraflow.engine.events import Tick
from boraflow.engine.runs import as_datetime
from boraflow.model.rows import Micros
from boraflow.model.timetables import DagRunInfo, DataInterval
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import PythonOperator
from boraflow.runtime.serialize import dag_to_spec
from tests.support.engine import SECOND, World

HOUR, DAY = 3600, 86_400
TO_THE_HOUR = 46 * 60 + 41


def at(day: int, hour: int = 0, minute: int = 0, month: int = 9) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def a_dag(schedule: Any, **arguments: Any) -> DAG:
    with DAG("d", **{"schedule": schedule, "start_date": at(1), **arguments}) as d:
        PythonOperator(task_id="t", python_callable=print)
    return d


def text(moment: int | None) -> str:
    return "-" if moment is None else as_datetime(moment).strftime("%m-%d %H:%M")


def ticks(world: World) -> list[tuple[str, str, str, str]]:
    """Logical date, interval and run_after of the runs there are."""
    return [
        (text(r.logical_date), text(r.interval_start), text(r.interval_end), text(r.run_after))
        for r in sorted(world.runs(), key=lambda r: r.run_after)
    ]


def zero(*moments: str) -> list[tuple[str, str, str, str]]:
    return [(m, m, m, m) for m in moments]


def play(d: DAG, days: float) -> World:
    """Let days pass, from one moment when something is due to the next; nobody runs the tasks."""
    world = World(dag_to_spec(d), executor=False, strict=False)
    end = world.now + int(days * DAY * SECOND)
    while (due := world.engine.next_due()) is not None and due <= end:
        world.now = max(world.now, due)
        world.step(Tick())
        world.pump()
    return world


@pytest.mark.parametrize(
    ("schedule", "more", "days", "wanted"),
    [
        # Triggers: the tick is the logical date, and the interval has no length.
        ("0 */6 * * *", {}, 0.5, zero("09-21 12:00", "09-21 18:00", "09-22 00:00")),
        ("@daily", {}, 1, zero("09-21 00:00", "09-22 00:00")),
        ("@weekly", {}, 7, zero("09-20 00:00", "09-27 00:00")),
        ("@monthly", {}, 11, zero("09-01 00:00", "10-01 00:00")),
        ("@quarterly", {"start_date": at(1, month=6)}, 11, zero("07-01 00:00", "10-01 00:00")),
        ("@yearly", {"start_date": at(1, month=1)}, 1, zero("01-01 00:00")),
        ("@hourly", {}, 0.1, zero("09-21 14:00", "09-21 15:00", "09-21 16:00")),
        ("@once", {}, 3, zero("09-01 00:00")),
        (None, {}, 3, []),
        # Day of month and day of week, both set: either.
        ("0 0 23 * 5", {"start_date": at(20)}, 6, zero("09-23 00:00", "09-25 00:00")),
        # catchup: every tick since the start.
        ("@daily", {"catchup": True, "start_date": at(19)}, 1, zero(*[f"09-{d} 00:00" for d in (19, 20, 21, 22)])),
        ("@daily", {"start_date": at(23)}, 4, zero("09-23 00:00", "09-24 00:00", "09-25 00:00")),
        ("@daily", {"end_date": at(22)}, 4, zero("09-21 00:00", "09-22 00:00")),
        # A delta steps from the start with catchup.
        (timedelta(hours=36), {"catchup": True, "start_date": at(19)}, 1.5, zero("09-19 00:00", "09-20 12:00", "09-22 00:00")),
        (relativedelta(months=1), {"catchup": True, "start_date": at(31, month=7)}, 10, zero("07-31 00:00", "08-31 00:00", "09-30 00:00")),
        # Data intervals: the run comes at the end of its interval, dated by its start.
        (
            CronDataIntervalTimetable("@daily", timezone="UTC"), {}, 1,
            [("09-20 00:00", "09-20 00:00", "09-21 00:00", "09-21 00:00"), ("09-21 00:00", "09-21 00:00", "09-22 00:00", "09-22 00:00")],
        ),
        (
            DeltaDataIntervalTimetable(timedelta(days=1)), {"catchup": True, "start_date": at(20)}, 1,
            [("09-20 00:00", "09-20 00:00", "09-21 00:00", "09-21 00:00"), ("09-21 00:00", "09-21 00:00", "09-22 00:00", "09-22 00:00")],
        ),
        # A trigger with an interval is dated by the beginning of it.
        (
            CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(hours=6)), {}, 0.1,
            [("09-20 18:00", "09-20 18:00", "09-21 00:00", "09-21 00:00")],
        ),
        (MultipleCronTriggerTimetable("0 1 * * *", "0 1,5 * * *", timezone="UTC"), {}, 1, zero("09-21 05:00", "09-22 01:00", "09-22 05:00")),
        (EventsTimetable(event_dates=[at(20, 7), at(22, 9), at(24)]), {}, 2, zero("09-22 09:00")),
        (AssetOrTimeSchedule(timetable=CronTriggerTimetable("@daily", timezone="UTC"), assets=[Asset("a")]), {}, 1, zero("09-21 00:00", "09-22 00:00")),
        # 02:30 in Berlin is 00:30 UTC in summer, and 01:30 in winter; in the doubled hour once, at the second pass.
        (
            CronTriggerTimetable("30 2 * * *", timezone="Europe/Berlin"), {"start_date": at(24, month=10)}, 36,
            zero("10-24 00:30", "10-25 01:30", "10-26 01:30", "10-27 01:30"),
        ),
    ],
    ids=lambda v: str(v)[:30] if not isinstance(v, list) else "",
)  # fmt: skip
def test_ticks(schedule: Any, more: dict[str, Any], days: float, wanted: list[Any]) -> None:
    assert ticks(play(a_dag(schedule, **more), days)) == wanted


def test_restrict_to_events_dates_a_manual_run_by_the_last_event() -> None:
    table = EventsTimetable(event_dates=[at(20), at(22)], restrict_to_events=True)
    run = a_dag(table).test(logical_date=at(21, 15))
    assert run.logical_date == at(21, 15) or run.logical_date == at(20)
    assert table.infer_manual_data_interval(run_after=at(21, 15)).start == at(20)


@pytest.mark.parametrize(
    ("run_immediately", "wanted"),
    [(True, ["09-20 00:00"]), (timedelta(days=2), ["09-20 00:00"]), (timedelta(hours=1), [])],
)
def test_run_immediately_takes_the_tick_that_was(run_immediately: Any, wanted: list[str]) -> None:
    """Only where there is no start date: the last tick counts, or it does not."""
    table = CronTriggerTimetable("@weekly", timezone="UTC", run_immediately=run_immediately)
    world = World(dag_to_spec(a_dag(table, start_date=None)))
    assert [x[0] for x in ticks(world)] == wanted


def test_max_active_runs_and_missed_ticks() -> None:
    """Without catchup what came while all runs were busy is dropped; with it nothing is."""
    for catchup, wanted in (
        (False, ["09-21 14:00", "09-21 19:00"]),
        (True, ["09-21 14:00", "09-21 15:00"]),
    ):
        start = at(21, 13, 30)
        world = World(
            dag_to_spec(a_dag("@hourly", catchup=catchup, max_active_runs=1, start_date=start))
        )
        world.start("t")
        world.advance(5 * HOUR)
        assert len(world.runs()) == 1
        world.finish("t")
        assert [x[0] for x in ticks(world)] == wanted


def test_max_active_tasks_counts_within_a_run() -> None:
    with DAG("d", schedule="@hourly", catchup=True, start_date=at(21, 13), max_active_tasks=2) as d:
        for name in "abc":
            PythonOperator(task_id=name, python_callable=print)
    world = World(dag_to_spec(d))
    assert world.held() == ["a", "a", "b", "b"]


def test_task_limits_pools_and_queues() -> None:
    """max_active_tis_per_dag, max_active_tis_per_dagrun, pool, pool_slots and queue hold tasks back."""
    with DAG("d", schedule="@hourly", catchup=True, start_date=at(21, 13)) as d:
        PythonOperator(task_id="per_dag", python_callable=print, max_active_tis_per_dag=1)
        PythonOperator.partial(
            task_id="per_run", python_callable=print, max_active_tis_per_dagrun=2
        ).expand(op_args=[[1], [2], [3]])
        PythonOperator(task_id="elsewhere", python_callable=print, queue="gpu")
        PythonOperator(task_id="big", python_callable=print, pool_slots=128)
    world = World(dag_to_spec(d))
    held = world.held()
    assert held.count("per_dag") == 1
    assert len([x for x in held if x.startswith("per_run")]) == 4  # two in each of two runs
    assert "elsewhere" not in held
    world.attach("gpu", queues=("gpu",))
    world.pump()
    assert world.held().count("elsewhere") == 2
    while world.held().count("big") == 0:
        name = next(x for x in world.held() if x != "big")
        world.finish(name)
    assert world.held() == ["big"]  # it takes the whole default pool of 128


def test_max_consecutive_failed_dag_runs_pauses_the_dag() -> None:
    world = World(dag_to_spec(a_dag("@hourly", max_consecutive_failed_dag_runs=2)))
    world.fail("t")
    assert not world.store.dags["d"].paused
    world.advance(TO_THE_HOUR)
    world.fail("t")
    assert world.store.dags["d"].paused
    world.advance(5 * HOUR)
    assert len(world.runs()) == 2


@pytest.mark.parametrize(
    ("arguments", "ended", "held"),
    [
        ({}, "failed", ["down", "t"]),
        ({"depends_on_past": True}, "failed", []),
        ({"depends_on_past": True}, "skipped", ["t"]),
        ({"depends_on_past": True}, "success", ["t"]),
        # The direct downstreams of the previous one, too.
        ({"wait_for_downstream": True}, "success", []),
    ],
)
def test_the_past_of_a_task(arguments: dict[str, Any], ended: str, held: list[str]) -> None:
    with DAG("d", schedule="@hourly", start_date=at(1)) as d:
        t = PythonOperator(
            task_id="t", python_callable=print, ignore_first_depends_on_past=True, **arguments
        )
        t >> PythonOperator(
            task_id="down",
            python_callable=print,
            trigger_rule="always" if not arguments else "all_done",
        )
    world = World(dag_to_spec(d))
    ((first,)) = {r.run_id for r in world.runs()}
    if not arguments:
        world.finish("down", run_id=first)
    {"success": world.finish, "failed": world.fail, "skipped": world.skip}[ended]("t", run_id=first)
    if "down" in world.held():
        world.start("down")
    world.advance(TO_THE_HOUR)
    (second,) = {r.run_id for r in world.runs()} - {first}
    now = [
        a.attempt.task_id
        for e in world.executors.values()
        for a in e.held.values()
        if a.run.run_id == second
    ]
    assert sorted(now) == held
    if arguments.get("wait_for_downstream"):
        world.finish("down", run_id=first)
        assert "t" in world.held()


class Evenings(Timetable):
    """Each day at six in the evening."""

    active_runs_limit = 1
    description = "Evenings"

    def __init__(self, hour: int = 18) -> None:
        self.hour = hour

    def serialize(self) -> dict[str, Any]:
        return {"hour": self.hour}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Evenings:
        return cls(data["hour"])

    def infer_manual_data_interval(self, *, run_after: Any) -> DataInterval:
        return DataInterval(run_after - timedelta(days=1), run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: Any, restriction: Any
    ) -> DagRunInfo | None:
        last = last_automated_data_interval
        start = restriction.earliest if last is None else last.end
        tick = start.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        if tick <= start:
            tick += timedelta(days=1)
        return DagRunInfo.interval(tick - timedelta(days=1), tick)

    def generate_run_id(
        self, *, run_type: Any, run_after: Any, data_interval: Any, **extra: Any
    ) -> str:
        return f"evening_{run_after:%d}"


def test_a_timetable_of_ones_own() -> None:
    table = Evenings()
    d = a_dag(table)
    assert d.max_active_runs == 1
    run = d.test(logical_date=at(10, 12))
    assert run.state == "success"
    again = Evenings.deserialize(table.serialize())
    assert again.hour == 18
    found = list(d.iter_dagrun_infos_between(at(2), at(4)))
    assert [x.run_after for x in found] == [at(2, 18), at(3, 18), at(4, 18)]
    with DAG("e", schedule=Evenings(), start_date=at(1)) as e:
        PythonOperator(
            task_id="t",
            python_callable=lambda data_interval_start, data_interval_end: [
                data_interval_start.isoformat(), data_interval_end.isoformat(),
            ],
        )  # fmt: skip
    run = e.test(logical_date=at(10, 12))
    assert run.xcom("t") == [at(9, 12).isoformat(), at(10, 12).isoformat()]


def test_delta_trigger_without_catchup_starts_now() -> None:
    world = World(dag_to_spec(a_dag(DeltaTriggerTimetable(timedelta(hours=6)))))
    assert ticks(world) == zero("09-21 14:13")
    world.run_all()
    world.advance(6 * HOUR)
    assert ticks(world) == zero("09-21 14:13", "09-21 20:13")


def test_continuous_runs_one_after_another() -> None:
    with DAG("d", schedule="@continuous", start_date=at(1)) as d:
        EmptyOperator(task_id="e") >> PythonOperator(task_id="t", python_callable=print)
    assert d.max_active_runs == 1
    world = World(dag_to_spec(d))
    assert len(world.runs()) == 1
    world.advance(300)
    assert len(world.runs()) == 1
    world.finish("t")
    world.advance(1)
    assert [r.state.value for r in sorted(world.runs(), key=lambda r: r.run_after)] == [
        "success",
        "running",
    ]


def test_a_manual_run_may_come_later() -> None:
    """run_after in the future: queued until then; a logical date or none; conf, note and id are the caller's."""
    world = World(dag_to_spec(a_dag(None)))
    later = Micros(world.now + 2 * HOUR * SECOND)
    world.trigger(run_id="mine", run_after=later, conf_json='{"a": 1}', note="by hand")
    run = world.run("mine")
    assert (run.state.value, run.logical_date, run.conf_json) == ("queued", None, '{"a": 1}')
    assert world.held() == []
    world.advance(2 * HOUR)
    assert world.run("mine").state.value == "running"
    world.finish("t")
    assert world.run("mine").state.value == "success"
