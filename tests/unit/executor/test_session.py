"""The session's decisions, on a clock of their own."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from boraflow_executor.session import Lease, Outbox, Phase, Session


@dataclass
class Given:
    attempt_id: str


def test_a_lease_counts_from_sending() -> None:
    lease = Lease()
    lease.welcomed(30.0, hello_sent=100.0)
    assert lease.until == 130.0
    first, second = lease.sending(110.0), lease.sending(120.0)
    lease.renewed(second)
    assert lease.until == 150.0
    lease.renewed(first)
    assert lease.until == 150.0, "an older answer renews nothing"
    lease.renewed(99)
    assert lease.until == 150.0, "nor does an unknown one"


def test_a_lease_stops_work_before_it_ends() -> None:
    lease = Lease()
    assert lease.stop_at(5.0) == lease.kill_at() == 0.0
    for length in (0.5, 3.0, 30.0):
        lease.welcomed(length, 0.0)
        assert 0 < lease.stop_at(5.0) <= lease.kill_at() < lease.fence_at() < length
        assert lease.interval < lease.stop_at(5.0), "one renewal fits before"


def test_a_doubled_assignment_is_ignored() -> None:
    session = Session("s")
    (held,) = session.take([Given("a")])
    assert session.take([Given("a")]) == []
    session.ended(held, "report", 1)
    assert session.take([Given("a")]) == [], "until its end is acknowledged"
    session.forget(["a"])
    assert len(session.take([Given("a")])) == 1


def test_cancelling_what_is_not_held_releases_it() -> None:
    session = Session("s")
    (held,) = session.take([Given("a")])
    assert session.cancel(["a", "b"]) == [held]
    assert list(session.outbox.released) == ["b"]
    held.phase = Phase.STOPPING
    assert session.cancel(["a"]) == [], "once is enough"


def test_an_acknowledged_batch_is_forgotten_and_a_broken_one_sent_again() -> None:
    outbox = Outbox()
    outbox.ended["a"] = ("A", 10)
    outbox.started.append("s")
    first = outbox.next_batch()
    outbox.ended["b"] = ("B", 10)
    assert outbox.unreported == 2
    outbox.broken()
    second = outbox.next_batch()
    assert list(second.ended) == ["a", "b"]
    assert second.started == ["s"]
    assert outbox.acknowledged(first.sequence) is None, "an answer to a batch that was given up"
    assert outbox.acknowledged(second.sequence) is second
    assert not outbox
    assert outbox.unreported == 0


def test_a_batch_is_bounded_but_never_empty() -> None:
    outbox = Outbox()
    for name in "abc":
        outbox.ended[name] = (name, 60)
    assert list(outbox.next_batch(100).ended) == ["a"]
    outbox.acknowledged(1)
    outbox.ended = {"huge": ("h", 1000), **outbox.ended}
    assert list(outbox.next_batch(100).ended) == ["huge"]


@given(st.lists(st.sampled_from(["end", "send", "ack", "break"]), max_size=60))
def test_no_outcome_is_lost_or_reordered(steps: list[str]) -> None:
    outbox = Outbox()
    recorded: list[str] = []
    made = 0
    for step in steps:
        if step == "end":
            made += 1
            outbox.ended[str(made)] = (str(made), 1)
        elif step == "send" and outbox.in_flight is None and outbox:
            outbox.next_batch(3)
        elif step == "ack" and outbox.in_flight:
            recorded += list(outbox.in_flight.ended)
            outbox.acknowledged(outbox.in_flight.sequence)
        elif step == "break":
            outbox.broken()
    outbox.broken()
    assert recorded + list(outbox.ended) == [str(n + 1) for n in range(made)]
