"""Rows survive the wire, and both sides know the same words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boraflow import wire
from boraflow.api.model.v1 import states_pb2
from boraflow.model import rows, states

MICROS = st.none() | st.integers(min_value=1, max_value=2**52)
WORDS = st.text(max_size=20)


@pytest.mark.parametrize(
    ("enum", "wrapper", "prefix"),
    [
        (states.TaskState, states_pb2.TaskState, "TASK_STATE_"),
        (states.RunState, states_pb2.RunState, "RUN_STATE_"),
        (states.RunType, states_pb2.RunType, "RUN_TYPE_"),
        (states.AttemptKind, states_pb2.AttemptKind, "ATTEMPT_KIND_"),
        (states.Outcome, states_pb2.AttemptOutcome, "ATTEMPT_OUTCOME_"),
        (states.BackfillState, states_pb2.BackfillState, "BACKFILL_STATE_"),
        (states.ReprocessBehavior, states_pb2.ReprocessBehavior, "REPROCESS_BEHAVIOR_"),
        (states.ExecutorState, states_pb2.ExecutorState, "EXECUTOR_STATE_"),
    ],
)
def test_both_sides_have_the_same_words(enum, wrapper, prefix) -> None:
    on_the_wire = {name.removeprefix(prefix).lower() for name, _ in wrapper.items()}
    assert on_the_wire == {m.value for m in enum} | {"unspecified"}


@given(
    st.builds(
        rows.TaskRow,
        run_key=WORDS,
        task_id=WORDS,
        map_index=st.integers(-1, 10_000),
        state=st.sampled_from(states.TaskState),
        try_number=st.integers(0, 99),
        max_tries=st.integers(0, 99),
        attempt_id=st.none() | st.text(min_size=1),
        scheduled_at=MICROS,
        queued_at=MICROS,
        start_date=MICROS,
        end_date=MICROS,
        wake_at=MICROS,
        deadline=MICROS,
        reason=WORDS,
        map_length=st.none() | st.integers(0, 10_000),
        pushed=st.booleans(),
        skip_json=st.none() | st.just('{"kind":"branch"}'),
        next_json=st.none() | st.just("{}"),
        rendered_map_index=st.none() | st.just("a"),
        poke_start=MICROS,
        reschedules=st.integers(0, 9),
        row_version=st.integers(0, 2**31 - 1),
    )
)
def test_a_task_row_survives(row: rows.TaskRow) -> None:
    assert wire.task_row_from_pb(wire.task_row_to_pb(row)) == row


@given(
    st.builds(
        rows.RunRow,
        run_key=WORDS,
        dag_id=WORDS,
        run_id=WORDS,
        run_type=st.sampled_from(states.RunType),
        state=st.sampled_from(states.RunState),
        logical_date=st.none() | st.integers(-(2**52), 2**52),
        interval_start=st.none() | st.integers(-(2**52), 2**52),
        interval_end=st.none() | st.integers(-(2**52), 2**52),
        run_after=st.integers(0, 2**52),
        queued_at=MICROS,
        start_date=MICROS,
        end_date=MICROS,
        backfill_id=st.none() | st.just("b1"),
    )
)
def test_a_run_row_survives(row: rows.RunRow) -> None:
    assert wire.run_row_from_pb(wire.run_row_to_pb(row)) == row


@given(
    st.builds(
        rows.AttemptResult,
        attempt_id=WORDS,
        outcome=st.sampled_from(states.Outcome),
        start_date=MICROS,
        end_date=MICROS,
        retryable=st.booleans(),
        error=WORDS,
        exit_code=st.none() | st.integers(-64, 255),
        map_length=st.none() | st.integers(0, 99),
        pushed=st.booleans(),
        retry_delay=st.none() | st.floats(0, 1e6),
        callbacks_run=st.lists(st.just("failure"), max_size=2).map(tuple),
    )
)
def test_a_result_survives(row: rows.AttemptResult) -> None:
    assert wire.result_from_pb(wire.result_to_pb(row)) == row


def test_an_unspecified_state_is_refused() -> None:
    message = wire.task_row_to_pb(rows.TaskRow("r", "t"))
    message.state = states_pb2.TASK_STATE_UNSPECIFIED
    with pytest.raises(ValueError, match="state"):
        wire.task_row_from_pb(message)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1)))
def test_datetimes_are_exact(value: datetime) -> None:
    assert wire.datetime_from_micros(wire.micros_from_datetime(value)) == value
