"""Sessions: leases only while leading, what is held, batches."""

from __future__ import annotations

import json
from typing import Any

from boraflow.api.metastore.v1 import scheduling_service_pb2
from boraflow.api.scheduler.v1 import dispatch_service_pb2 as pb
from boraflow.engine.commands import AssignAttempt, CancelAttempt, DrainSession
from boraflow.engine.events import (
    Event,
    ExecutorAttached,
    ExecutorDetached,
    ExecutorGone,
    ExecutorSeen,
)
from boraflow.model.rows import AttemptResult, AttemptRow, ExecutorRow, Micros, RunRow
from boraflow.model.states import AttemptKind, Outcome
from boraflow_scheduler.dispatch import Dispatch, Session


class Recorder:
    """A term that writes down what it is told."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch
        self.holds = True
        self.events: list[Any] = []

    def leading(self) -> bool:
        return self.holds

    def feed(self, event: Event) -> None:
        self.events.append(event)


class Peer:
    """An executor's end of a session."""

    def __init__(self, executor_id: str = "e1") -> None:
        self.got: list[pb.AttachResponse] = []
        self.closed = False
        row = ExecutorRow(executor_id, "host", slots=4)
        self.session = Session(row, self.got.append, self._close)

    def _close(self) -> None:
        self.closed = True

    def kinds(self) -> list[str | None]:
        return [m.WhichOneof("body") for m in self.got]


def hello(*held: str) -> pb.Hello:
    return pb.Hello(executor=scheduling_service_pb2.ExecutorRow(), held_attempt_ids=held)


def assign(
    attempt_id: str, executor_id: str = "e1", run: RunRow | None = None, **more: Any
) -> AssignAttempt:
    run = run or RunRow("k1", "d", "r", manifest="m1", conf_json='{"a":1}')
    attempt = AttemptRow(attempt_id, AttemptKind.TRY, run.run_key, "t", executor_id=executor_id)
    given: dict[str, Any] = {
        "fileloc": "d.py",
        "max_tries": 2,
        "execution_timeout": None,
        "memory_limit_mb": None,
        "environment": None,
        **more,
    }
    return AssignAttempt(executor_id, attempt, run, **given)


def test_hello_is_welcomed_and_told() -> None:
    dispatch, term, peer = Dispatch(30), Recorder(7), Peer()
    dispatch.begin(term)
    dispatch.attach(hello("a1"), peer.session, term)
    assert peer.got[0].welcome == pb.Welcome(lease_us=30_000_000, epoch=7)
    (event,) = term.events
    assert isinstance(event, ExecutorAttached)
    assert event.held == ("a1",)
    assert event.executor.state == "online"
    assert event.executor.lease_until is not None


def test_a_heartbeat_renews_only_while_this_process_leads() -> None:
    dispatch, term, peer = Dispatch(30), Recorder(), Peer()
    dispatch.begin(term)
    dispatch.attach(hello(), peer.session, term)
    dispatch.heartbeat(peer.session, pb.Heartbeat(sequence=1, slots=5, lane_slots=9, draining=True))
    assert peer.got[-1].beat.sequence == 1
    seen = term.events[-1]
    assert isinstance(seen, ExecutorSeen)
    assert (seen.slots, seen.lane_slots, seen.draining) == (5, 9, True)
    term.holds = False
    dispatch.heartbeat(peer.session, pb.Heartbeat(sequence=2, slots=5))
    assert peer.kinds() == ["welcome", "beat"]
    assert term.events[-1] is seen
    # The next term answers: the executor counts from when it sent the heartbeat.
    following = Recorder(2)
    dispatch.end(term)
    dispatch.begin(following)
    assert peer.got[-1].beat.sequence == 2
    assert [type(e) for e in following.events] == [ExecutorAttached]
    assert following.events[0].executor.slots == 5


def test_nobody_leads_after_the_end() -> None:
    dispatch, term = Dispatch(30), Recorder()
    dispatch.begin(term)
    assert dispatch.leader is term
    dispatch.end(term)
    assert dispatch.leader is None


def test_the_next_term_hears_what_was_assigned_and_is_not_known_gone() -> None:
    dispatch, term, peer = Dispatch(30), Recorder(), Peer()
    dispatch.begin(term)
    dispatch.attach(hello("a0"), peer.session, term)
    dispatch.carry_out([assign(f"a{n}") for n in range(1, 5)])
    results = [
        AttemptResult("a1", Outcome.SUCCESS),
        AttemptResult("a2", Outcome.CANCELLED),
        AttemptResult("a3", Outcome.LOST),
    ]
    dispatch.forget(results, ["a3"])
    following = Recorder(2)
    dispatch.begin(following)
    assert set(following.events[0].held) == {"a0", "a2", "a4"}


def test_a_commit_sends_one_message_per_executor_and_kind() -> None:
    dispatch, term, one, two = Dispatch(30), Recorder(), Peer("e1"), Peer("e2")
    dispatch.begin(term)
    dispatch.attach(hello(), one.session, term)
    dispatch.attach(hello(), two.session, term)
    dispatch.carry_out(
        [
            assign("a1"),
            assign("a2", "e2"),
            assign("a3"),
            CancelAttempt("e1", "a0", "cleared"),
            CancelAttempt("e1", "b0", "cleared"),
            DrainSession("e2", True),
            assign("a4", "gone"),
        ]
    )
    assert one.kinds() == ["welcome", "assignments", "cancellations"]
    assert [a.attempt_id for a in one.got[1].assignments.assignments] == ["a1", "a3"]
    assert list(one.got[2].cancellations.attempt_ids) == ["a0", "b0"]
    assert two.kinds() == ["welcome", "drain", "assignments"]


def test_the_runs_context_travels_as_the_same_bytes_until_its_row_changes() -> None:
    dispatch, term, peer = Dispatch(30), Recorder(), Peer()
    dispatch.begin(term)
    dispatch.attach(hello(), peer.session, term)
    run = RunRow("k1", "d", "r", manifest="m1", conf_json='{"a":1}', logical_date=Micros(5))
    dispatch.carry_out([assign("a1", run=run), assign("a2", run=run)])
    one, two = peer.got[1].assignments.assignments
    assert one.run_json == two.run_json
    context = json.loads(one.run_json)
    assert context["conf"] == {"a": 1}
    assert (context["logical_date"], context["fileloc"], context["manifest"]) == (5, "d.py", "m1")
    run.note, run.row_version = "changed", 1
    dispatch.carry_out([assign("a3", run=run)])
    assert json.loads(peer.got[2].assignments.assignments[0].run_json)["note"] == "changed"


def test_a_newer_stream_of_the_same_executor_takes_over() -> None:
    dispatch, term, old, new = Dispatch(30), Recorder(), Peer(), Peer()
    dispatch.begin(term)
    dispatch.attach(hello(), old.session, term)
    dispatch.attach(hello(), new.session, term)
    assert old.closed
    dispatch.detach(old.session)
    assert not any(isinstance(e, ExecutorDetached) for e in term.events)
    assert dispatch.sessions["e1"] is new.session


def test_goodbye_and_a_broken_stream_are_told_apart() -> None:
    dispatch, term, peer = Dispatch(30), Recorder(), Peer()
    dispatch.begin(term)
    dispatch.attach(hello(), peer.session, term)
    dispatch.goodbye(peer.session)
    dispatch.detach(peer.session)
    assert [type(e) for e in term.events] == [ExecutorAttached, ExecutorGone]
    dispatch.attach(hello(), peer.session, term)
    dispatch.detach(peer.session)
    assert type(term.events[-1]) is ExecutorDetached
    assert not dispatch.sessions
