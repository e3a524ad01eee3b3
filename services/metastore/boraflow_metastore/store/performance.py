"""How recent attempts did: which of their phases took how long. Percentiles are of what happened, not estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from boraflow.api.metastore.v1 import scheduling_service_pb2
from boraflow.api.metastore.v1 import system_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2
from boraflow.rpc.errors import invalid
from boraflow.wire import timestamp
from boraflow_metastore.store.reader import Snapshot

_RUNS = 200
_MOST_RUNS = 1_000
_MOST_ATTEMPTS = 20_000
_MOST_DAGS = 50

#: Name of a phase: its first and last moment, by their place in the row of times below.
PHASES = {
    "wait": (0, 1),
    "hand_over": (1, 2),
    "import": (2, 3),
    "prepare": (3, 4),
    "run": (4, 5),
    "record": (5, 6),
}
_BAD = frozenset(
    {
        states_pb2.ATTEMPT_OUTCOME_FAILED,
        states_pb2.ATTEMPT_OUTCOME_LOST,
        states_pb2.ATTEMPT_OUTCOME_TIMED_OUT,
    }
)


def recent(snapshot: Snapshot, run_count: int) -> pb.GetPerformanceResponse:
    """Return how the attempts of the newest runs did."""
    if run_count < 0:
        raise invalid(
            "RUN_COUNT_INVALID", f"run_count is {run_count}; expected 0 or more", field="run_count"
        )
    found = snapshot.rows(
        "SELECT r.dag_id, a.scheduled_us, a.opened_us, a.claimed_us, a.imported_us, a.start_us,"
        " a.closed_us, a.result FROM attempt a JOIN dag_run r ON r.run_key = a.run_key"
        " WHERE a.run_key IN (SELECT run_key FROM dag_run ORDER BY run_after_us DESC, run_key DESC"
        " LIMIT ?) LIMIT ?",
        (min(run_count or _RUNS, _MOST_RUNS), _MOST_ATTEMPTS),
    )
    took: dict[str, list[int]] = {name: [] for name in PHASES}
    outcomes: Counter[str] = Counter()
    dags: dict[str, list[int]] = {}
    first = 0
    for dag_id, scheduled, opened, claimed, imported, started, closed, stored in found:
        result = scheduling_service_pb2.AttemptResult()
        if stored is not None:
            result.ParseFromString(bytes(stored))
        times = (
            scheduled,
            opened,
            result.claimed_us or claimed,
            result.imported_us or imported,
            result.start_us or started,
            result.end_us,
            closed,
        )
        lengths = {
            name: max(0, times[to] - times[since])
            for name, (since, to) in PHASES.items()
            if times[since] and times[to]
        }
        for name, length in lengths.items():
            took[name].append(length)
        outcomes[_outcome(result.outcome)] += 1
        load = dags.setdefault(dag_id, [0, 0, 0, 0])
        load[0] += 1
        load[1] += result.outcome in _BAD
        load[2] += lengths.get("run", 0)
        load[3] += lengths.get("wait", 0)
        first = min(first or opened, opened)
    longest = sorted(dags.items(), key=lambda item: (-item[1][2], item[0]))
    return pb.GetPerformanceResponse(
        attempt_count=len(found),
        from_time=timestamp(first or None),
        phases=[_phase(name, lengths) for name, lengths in took.items()],
        outcome_counts=outcomes,
        dags=[
            pb.DagLoad(
                dag_id=dag_id,
                attempt_count=n,
                failed_count=failed,
                run_time=_duration(run),
                wait_time=_duration(wait),
            )
            for dag_id, (n, failed, run, wait) in longest[:_MOST_DAGS]
        ],
    )


def _duration(microseconds: int) -> Duration:
    made = Duration()
    made.FromMicroseconds(microseconds)
    return made


def _outcome(number: int) -> str:
    if not number:
        return "open"
    name = states_pb2.AttemptOutcome.Name(number)  # type: ignore[arg-type]
    return name.removeprefix("ATTEMPT_OUTCOME_").lower()


def _phase(name: str, lengths: Iterable[int]) -> pb.Phase:
    ordered = sorted(lengths)

    def at(share: float) -> Duration:
        # The nearest rank: a length that some attempt really took.
        place = max(0, -(-int(len(ordered) * share * 100) // 100) - 1)
        return _duration(ordered[place] if ordered else 0)

    return pb.Phase(name=name, count=len(ordered), p50=at(0.5), p95=at(0.95), max=at(1.0))
