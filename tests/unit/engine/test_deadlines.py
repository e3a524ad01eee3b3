"""Deadlines are callback attempts, committed with their run and due in the future."""

from __future__ import annotations

import json

from boraflow.engine.events import ClearTasks
from boraflow.model.spec import DeadlineSpec
from boraflow.model.states import AttemptKind, Outcome
from tests.support.engine import T0, World, arrows

QUEUED = DeadlineSpec("dagrun_queued_at", 3600.0, "an hour")


def payloads(w: World) -> list[dict]:
    """Return what callbacks that are in an executor's hand were given."""
    return [
        json.loads(a.attempt.payload_json)
        for e in w.executors.values()
        for a in e.held.values()
        if a.attempt.kind is AttemptKind.CALLBACK
    ]


def story(w: World) -> list[str]:
    return [s.detail for s in w.store.story if s.action == "deadline_missed"]


def test_a_missed_deadline_is_told_once_and_survives_a_new_leader():
    w = World(arrows("a", deadlines=(QUEUED,)))
    w.trigger()
    w.start("a")
    (row,) = [a for a in w.store.attempts.values() if a.kind is AttemptKind.CALLBACK]
    assert row.opened_at == w.run().queued_at + 3_600_000_000
    w.advance(1800)
    w.lead()
    for executor in w.executors.values():
        w.reattach(executor)
    w.pump()
    assert payloads(w) == story(w) == []
    w.advance(1800)
    (payload,) = payloads(w)
    assert payload["callbacks"] == ["deadline"]
    assert payload["deadline"] == {"index": 0, "name": "an hour", "at": row.opened_at}
    (told,) = story(w)
    assert told.startswith("an hour of ")
    assert told.endswith(" was missed")
    w.finish("")
    w.finish("a")
    assert w.run_state() == "success"
    assert payloads(w) == []


def test_a_run_that_succeeds_takes_its_deadlines_with_it():
    w = World(arrows("a", deadlines=(QUEUED,)))
    w.trigger()
    w.finish("a")
    (row,) = [a for a in w.store.attempts.values() if a.kind is AttemptKind.CALLBACK]
    assert row.result is not None
    assert row.result.outcome is Outcome.CANCELLED
    w.advance(4000)
    assert payloads(w) == story(w) == []
    assert not w.engine.state.attempts


def test_a_failed_run_keeps_its_deadlines():
    w = World(arrows("a", deadlines=(QUEUED,)))
    w.trigger()
    w.fail("a")
    assert w.run_state() == "failed"
    w.advance(3600)
    assert len(payloads(w)) == len(story(w)) == 1


def test_a_clear_counts_from_the_new_queueing():
    w = World(arrows("a", deadlines=(QUEUED,)))
    w.trigger()
    w.fail("a")
    w.advance(1800)
    w.ok(ClearTasks("d", ("r1",)))
    w.advance(1801)
    assert payloads(w) == []
    w.advance(1800)
    assert len(payloads(w)) == 1


def test_references():
    fixed = DeadlineSpec("fixed_datetime", -60.0, "fixed", "1970-01-01T00:01:00+00:00")
    dated = DeadlineSpec("dagrun_logical_date", 5.0, "dated")
    w = World(arrows("a", deadlines=(fixed, dated)))
    w.trigger(logical_date=None)
    # One moment is long past, and a run without a date has no date to count from.
    assert [p["deadline"]["at"] for p in payloads(w)] == [0]
    w.finish("")
    w.trigger(run_id="r2", logical_date=T0)
    assert [p["deadline"]["name"] for p in payloads(w)] == ["fixed"]
    w.advance(6)
    assert {p["deadline"]["name"] for p in payloads(w)} == {"fixed", "dated"}


def test_the_average_of_past_runs_needs_enough_of_them():
    average = DeadlineSpec("average_runtime", 2.0, "average", max_runs=3, min_runs=2)
    w = World(arrows("a", deadlines=(average,)))
    for i, seconds in enumerate((10, 20)):
        w.trigger(run_id=f"r{i}")
        w.start("a", run_id=f"r{i}")
        w.advance(seconds)
        w.finish("a", run_id=f"r{i}")
    assert not [a for a in w.store.attempts.values() if a.kind is AttemptKind.CALLBACK]
    w.trigger(run_id="slow")
    w.start("a")
    w.advance(16)
    assert payloads(w) == []
    w.advance(2)
    (payload,) = payloads(w)
    assert payload["deadline"]["name"] == "average"


CUSTOM = DeadlineSpec("custom", 3600.0, "own")


def test_a_reference_of_ones_own_is_asked_of_a_worker():
    w = World(arrows("a", deadlines=(CUSTOM,)))
    w.trigger()
    w.start("a")
    (payload,) = payloads(w)
    assert (payload["callbacks"], payload["index"]) == (["deadline_reference"], 0)
    w.lead()
    for executor in w.executors.values():
        w.reattach(executor)
    w.pump()
    base = w.now + 60_000_000
    w.finish("", wake_at=base)
    (row,) = [a for a in w.store.attempts.values() if '"deadline"' in a.payload_json]
    assert row.opened_at == base + 3_600_000_000
    w.advance(3700)
    assert payloads(w)[0]["callbacks"] == ["deadline"]


def test_a_reference_that_gives_nothing_or_fails_is_no_deadline():
    w = World(arrows("a", deadlines=(CUSTOM,)))
    w.trigger()
    w.finish("")
    assert not [a for a in w.store.attempts.values() if '"deadline"' in a.payload_json]
    w.finish("a")
    assert w.run_state() == "success"
    w.trigger(run_id="r2")
    w.finish("a")
    w.finish("", wake_at=w.now)
    assert not [a for a in w.store.attempts.values() if '"deadline"' in a.payload_json]


def test_a_reference_of_queueing_is_asked_again_when_its_run_is():
    w = World(arrows("a", deadlines=(DeadlineSpec("custom", 60.0, at_queueing=True),)))
    w.trigger()
    w.finish("", wake_at=w.now)
    w.fail("a")
    w.ok(ClearTasks("d", ("r1",)))
    assert [p["callbacks"] for p in payloads(w)] == [["deadline_reference"]]
