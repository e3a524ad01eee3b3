"""From how an attempt ended to what the metastore is told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from boraflow.api.metastore.v1 import execution_service_pb2 as pb
from boraflow.api.metastore.v1 import scheduling_service_pb2 as scheduling_pb
from boraflow.api.model.v1 import states_pb2
from boraflow.model.states import Outcome
from boraflow.wire import OUTCOME_TO
from boraflow_executor import exits
from boraflow_executor.session import Held, StopReason

MAX_REPORT_BYTES = 6 << 20
"""More XComs than this fit into no message."""
_OUTCOMES: dict[str, int] = dict(OUTCOME_TO)


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt without a result of its own ended."""

    outcome: Outcome
    error: str
    exit_code: int | None = None

    def result(self, start_us: int) -> dict[str, Any]:
        """Return it in the form in which workers tell results."""
        result: dict[str, Any] = {"outcome": self.outcome.value, "error": self.error}
        if self.exit_code is not None:
            result["exit_code"] = self.exit_code
        if start_us:
            result["start_date"] = start_us
        result["end_date"] = time.time_ns() // 1000
        return result


def end_of(held: Held, status: int, why: str, oom: exits.OomCounter) -> End:
    """Return how an attempt ended whose processes are gone.

    Args:
        held: with the reason for which the executor stopped it, if it did.
        status: wait status of its process.
        why: what is known beside the status; may be empty.
        oom: whether the kernel ran out of memory lately.
    """
    match held.stop:
        case None:
            if why == "the zygote ended":
                return End(Outcome.LOST, "the executor's zygote ended unexpectedly")
            if why:
                return End(Outcome.FAILED, f"{why}: {exits.reason_of(status)}" if status else why)
            code = exits.code_of(status)
            error = exits.reason_of(status, out_of_memory=code == -9 and oom.grew())
            return End(Outcome.FAILED, error, code)
        case StopReason.LEASE:
            return End(Outcome.LOST, "the executor's lease ended: it had lost the scheduler")
        case StopReason.HANDED_BACK:
            # Nobody asked for it: the try starts anew elsewhere, and is not used up. A callback has no
            # tries to use up, and must not count as dealt with.
            callback = held.assignment.kind == states_pb2.ATTEMPT_KIND_CALLBACK
            outcome = Outcome.LOST if callback else Outcome.CANCELLED
            return End(outcome, "handed back: the executor stopped")
        case _:
            return End(Outcome.FAILED, held.stop_detail or str(held.stop))


def counts(held: Held, result: dict[str, Any]) -> bool:
    """Return whether a result that came while the attempt was being stopped is its outcome."""
    if held.stop in (StopReason.CANCELLED, StopReason.SUPERSEDED):
        return False
    return result.get("outcome") != Outcome.FAILED.value


def report_of(
    held: Held, message: dict[str, Any], pid: int, has_log: bool
) -> tuple[pb.AttemptReport, int]:
    """Return what a ``result`` frame says as a report, and its approximate size.

    There is one for whatever it says: an attempt without a report would run for ever.
    """
    try:
        return _report(held, message, pid, has_log)
    except UnicodeEncodeError:
        # A name of a file that is no UTF-8 gets into error messages so.
        return _report(held, _whole_characters(message), pid, has_log)
    except (ValueError, TypeError, KeyError) as error:
        why = f"what the task's process said of its end cannot be reported: {error!r}"
        failed = {"outcome": Outcome.FAILED.value, "error": why}
        return _report(held, {"result": failed}, pid, has_log)


def _whole_characters(value: Any) -> Any:
    """Return ``value`` with each half of a character written as its escape."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_whole_characters(k): _whole_characters(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_characters(v) for v in value]
    return value


def _report(
    held: Held, message: dict[str, Any], pid: int, has_log: bool
) -> tuple[pb.AttemptReport, int]:
    result = message["result"]
    xcoms = message.get("xcoms") or ()
    size = 300 + sum(len(value) for _, value in xcoms)
    if size > MAX_REPORT_BYTES:
        error = (
            f"XComTooLarge: the task pushed {size / 1e6:.1f} MB of XComs; pass a path or a key to large"
            " data instead"
        )
        kept = {k: result[k] for k in ("start_date", "end_date") if k in result}
        failed = {"outcome": Outcome.FAILED.value, "retryable": False, "error": error, **kept}
        return _report(held, {"result": failed}, pid, has_log)
    report = pb.AttemptReport(
        result=scheduling_pb.AttemptResult(
            attempt_id=held.attempt_id,
            outcome=_OUTCOMES[result["outcome"]],  # type: ignore[arg-type]
            start_us=result.get("start_date") or 0,
            end_us=result.get("end_date") or 0,
            retryable=result.get("retryable", True),
            error=result.get("error", ""),
            exit_code=result.get("exit_code"),
            map_length=result.get("map_length"),
            pushed=result.get("pushed", False),
            skip_json=result.get("skip_json") or "",
            wake_us=result.get("wake_at") or 0,
            deferral_json=result.get("deferral_json") or "",
            event_json=result.get("event_json") or "",
            retry_delay=result.get("retry_delay"),
            rendered_map_index=result.get("rendered_map_index") or "",
            asset_events_json=result.get("asset_events_json") or "",
            callbacks_run=result.get("callbacks_run") or (),
            claimed_us=message.get("claimed") or held.given_us,
            imported_us=message.get("imported") or 0,
            pid=pid,
        ),
        has_log=has_log,
    )
    if xcoms:
        report.xcoms.extend(pb.XcomValue(key=key, value_json=value) for key, value in xcoms)
    return report, size
