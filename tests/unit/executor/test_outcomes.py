"""What a task's process says of its end always makes a report: without one the attempt would run for ever."""

from __future__ import annotations

from typing import Any

import pytest

from boraflow.api.model.v1 import states_pb2
from boraflow.api.scheduler.v1 import dispatch_service_pb2
from boraflow_executor.outcomes import report_of
from boraflow_executor.session import Held


def held() -> Held:
    return Held("a1", dispatch_service_pb2.Assignment(attempt_id="a1"))


def test_half_a_character_is_reported_as_its_escape() -> None:
    """A name that is no UTF-8 has one: ``FileNotFoundError: '\\udcff.csv'``."""
    message = {
        "result": {"outcome": "failed", "error": "no file '\udcff.csv'"},
        "xcoms": [("k\ud800", '"v"')],
    }
    report, _ = report_of(held(), message, 7, has_log=True)
    assert report.result.error == "no file '\\udcff.csv'"
    assert report.result.outcome == states_pb2.ATTEMPT_OUTCOME_FAILED
    assert [x.key for x in report.xcoms] == ["k\\ud800"]
    assert report.has_log


@pytest.mark.parametrize(
    "result",
    [{"outcome": "success", "map_length": 2**40}, {"outcome": "odd"}, {}, {"outcome": "failed", "error": 3}],
)  # fmt: skip
def test_what_makes_no_report_fails_the_attempt(result: dict[str, Any]) -> None:
    report, _ = report_of(held(), {"result": result}, 7, has_log=False)
    assert report.result.outcome == states_pb2.ATTEMPT_OUTCOME_FAILED
    assert report.result.error.startswith("what the task's process said of its end")
