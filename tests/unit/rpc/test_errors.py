"""Errors keep code, reason, message, names and delay across the wire; the rest becomes plain."""

from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boraflow.rpc import errors
from boraflow.rpc.errors import ApiError, from_rpc_error, to_status


class Failed(grpc.RpcError):
    """What a failed call raises, as gRPC shapes it."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Any = ()) -> None:
        self._parts = (code, details, metadata)

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> Any:
        return self._parts[2]


def over_the_wire(error: ApiError) -> ApiError:
    data = to_status(error).SerializeToString()
    return from_rpc_error(Failed(error.code, error.message, ((errors.DETAILS_KEY, data),)))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CODES = st.sampled_from([c for c in grpc.StatusCode if c is not grpc.StatusCode.OK])


@given(CODES, TEXT, TEXT.filter(bool), st.dictionaries(TEXT, TEXT, max_size=3), st.floats(0, 1e6))
def test_round_trip(
    code: grpc.StatusCode, reason: str, message: str, names: dict[str, str], delay: float
) -> None:
    got = over_the_wire(ApiError(code, reason, message, names, delay))
    assert (got.code, got.reason, got.message, got.metadata) == (code, reason, message, names)
    assert got.retry_delay is not None
    assert abs(got.retry_delay - delay) < 1e-5


def test_no_delay_stays_none() -> None:
    assert over_the_wire(errors.not_found("DAG_NOT_FOUND", "no DAG x")).retry_delay is None


def test_plain_statuses() -> None:
    got = from_rpc_error(Failed(grpc.StatusCode.UNAVAILABLE, "connect failed"))
    assert (got.reason, got.code) == ("UNREACHABLE", grpc.StatusCode.UNAVAILABLE)
    got = from_rpc_error(Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, "too big"))
    assert (got.reason, got.message) == ("RESOURCE_EXHAUSTED", "too big")


def test_garbage_details_do_not_hide_the_error() -> None:
    got = from_rpc_error(
        Failed(grpc.StatusCode.ABORTED, "stale", ((errors.DETAILS_KEY, b"\xff\xff garbage"),))
    )
    assert (got.code, got.message) == (grpc.StatusCode.ABORTED, "stale")


def test_an_error_can_cross_processes() -> None:
    error = errors.unavailable("NO_LEADER", "no scheduler", 0.5, dag_id="x")
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error)
    assert str(copy) == "no scheduler"


def test_a_call_that_took_too_long_says_who_did_not_answer() -> None:
    from boraflow.client._calls import explain

    # gRPC's own words for it, which name nobody.
    late = Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Stream removed (Deadline Exceeded)")
    error = explain(late, "db.example:7781")
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "the metastore at db.example:7781 did not answer in time" in error.message
    assert "bora doctor" in error.message


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "no metastore"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than a message may be"),
    ],
)
def test_what_grpc_itself_says_is_told_in_words(code: grpc.StatusCode, says: str) -> None:
    from boraflow.client._calls import explain

    told = explain(Failed(code, "Method not found!"), "h:1")
    assert told.code is code
    assert says in told.message
