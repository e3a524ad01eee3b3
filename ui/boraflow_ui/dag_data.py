"""What the list of DAGs and the pages of one DAG read and change, beyond what :mod:`boraflow_ui.data` has.

Reads are remembered and writes wake the tabs that show what they touch, as there.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.api.metastore.v1 import asset_service_pb2 as asset_pb
from boraflow.api.metastore.v1 import backfill_service_pb2 as backfill_pb
from boraflow.api.metastore.v1 import dag_service_pb2 as dag_pb
from boraflow.api.metastore.v1 import pool_service_pb2 as pool_pb
from boraflow.api.metastore.v1 import run_service_pb2 as run_pb
from boraflow.api.metastore.v1 import system_service_pb2 as system_pb
from boraflow.api.metastore.v1 import task_service_pb2 as task_pb
from boraflow.api.metastore.v1.asset_service_pb2_grpc import AssetServiceStub
from boraflow.api.metastore.v1.backfill_service_pb2_grpc import BackfillServiceStub
from boraflow.api.metastore.v1.dag_service_pb2_grpc import DagServiceStub
from boraflow.api.metastore.v1.pool_service_pb2_grpc import PoolServiceStub
from boraflow.api.metastore.v1.run_service_pb2_grpc import RunServiceStub
from boraflow.api.metastore.v1.system_service_pb2_grpc import SystemServiceStub
from boraflow.api.metastore.v1.task_service_pb2_grpc import TaskServiceStub
from boraflow.api.model.v1.asset_pb2 import AssetEvent
from boraflow.api.model.v1.run_pb2 import Attempt, Backfill, Pool
from boraflow.model.timetables import CronPartitionTimetable, timetable_from_spec
from boraflow_ui import data, states
from boraflow_ui.data import PAGE, READ_SECONDS, WRITE_SECONDS

LATE_SECONDS = 120
"""How long after its time a run may still be about to be created."""


def _dags() -> DagServiceStub:
    return DagServiceStub(data.source().channel)


def find_dags(
    search: str = "",
    tags: tuple[str, ...] = (),
    owners: tuple[str, ...] = (),
    paused: bool | None = None,
    run_states: tuple[str, ...] = (),
    only_favorites: bool = False,
    page_token: str = "",
    latest_runs: int = 14,
) -> dag_pb.ListDagsResponse:
    """Return a page of DAGs with their newest runs."""
    request = dag_pb.ListDagsRequest(
        page_size=50,
        page_token=page_token,
        search=search,
        tags=tags,
        owners=owners,
        paused=paused,
        latest_run_states=[states.RUN_NUMBER[s] for s in run_states],  # type: ignore[misc]
        only_favorites=only_favorites,
        latest_run_count=latest_runs,
    )
    return data.source().read(
        ("dags", request.SerializeToString(deterministic=True)),
        ("dag", "run", "favorite"),
        lambda: _dags().ListDags(request, timeout=READ_SECONDS),
        personal=only_favorites,
    )


def named_dags(dag_ids: Iterable[str]) -> dict[str, data.Dag]:
    """Return these DAGs, at most 100, with their newest runs, those that are there."""
    wanted = sorted(dag_ids)[:100]
    if not wanted:
        return {}
    request = dag_pb.ListDagsRequest(
        dag_ids=wanted, page_size=100, include_inactive=True, latest_run_count=30
    )
    return data.source().read(
        ("named_dags", *wanted),
        tuple(f"dag:{dag_id}" for dag_id in wanted),
        lambda: {d.dag_id: d for d in _dags().ListDags(request, timeout=READ_SECONDS).dags},
    )


def late_dags(before: int) -> list[data.Dag]:
    """Return unpaused DAGs whose next run should have been created before a time, in seconds."""
    request = dag_pb.ListDagsRequest(
        page_size=20, paused=False, due_before=Timestamp(seconds=before), latest_run_count=1
    )
    return data.source().read(
        ("late",),
        ("dag", "run"),
        lambda: list(_dags().ListDags(request, timeout=READ_SECONDS).dags),
        max_age=15.0,
    )


def dag_counts() -> dag_pb.SummarizeDagsResponse:
    """Return how many DAGs have each tag, owner and state of the newest run."""
    return data.source().read(
        ("dag_counts",),
        ("dag", "run"),
        lambda: _dags().SummarizeDags(dag_pb.SummarizeDagsRequest(), timeout=READ_SECONDS),
    )


def favorites() -> frozenset[str]:
    """Return the favorites of whoever looks."""
    return data.source().read(
        ("favorites",),
        ("favorite",),
        lambda: frozenset(
            _dags().ListFavorites(dag_pb.ListFavoritesRequest(), timeout=READ_SECONDS).dag_ids
        ),
        personal=True,
    )


def set_favorite(dag_id: str, favorite: bool) -> None:
    """Make a DAG a favorite, or no longer."""
    request = dag_pb.SetFavoriteRequest(dag_id=dag_id, favorite=favorite)
    data.source().write(
        lambda: _dags().SetFavorite(request, timeout=WRITE_SECONDS), ("favorite", "", "")
    )


# --- runs over time ----------------------------------------------------------------------------------


def run_spans(
    dag_id: str, since: int, until: int, span: int, utc_offset: int = 0
) -> list[tuple[int, dict[str, int]]]:
    """Return how many runs of each state were due in each span: ``(start in seconds, counts)``."""
    request = run_pb.SummarizeRunsRequest(
        dag_id=dag_id,
        from_time=Timestamp(seconds=since),
        to_time=Timestamp(seconds=until),
        span_seconds=span,
        utc_offset_seconds=utc_offset,
    )
    # Of all DAGs it is a count of a whole day's runs, and somewhere one changes all the time: a picture every ten
    # seconds is enough.
    tick = 0 if dag_id else int(time.time()) // 10
    return data.source().read(
        ("spans", dag_id, since, until, span, utc_offset, tick),
        (f"dag:{dag_id}",) if dag_id else (),
        lambda: [
            (s.start_time.seconds, dict(s.counts))
            for s in RunServiceStub(data.source().channel)
            .SummarizeRuns(request, timeout=READ_SECONDS)
            .spans
        ],
    )


class Partitions(NamedTuple):
    """Whether a DAG's runs are for partitions."""

    has: bool
    table: CronPartitionTimetable | None = None
    """Of partitions that a clock makes."""
    example: str = ""
    """A key, where a clock makes them."""


def partitions(dag: data.Dag) -> Partitions:
    """Return whether a DAG's runs are for partitions, and how their keys look."""
    spec = data.source().spec(dag.dag_id, dag.version)
    kind = spec.timetable.kind
    if kind != CronPartitionTimetable.kind:
        return Partitions(kind == "partitioned_at_runtime" or spec.partition_mapping is not None)
    table = timetable_from_spec(spec.timetable)
    assert isinstance(table, CronPartitionTimetable)
    if dag.HasField("next_run_time"):
        partition = table.partition_of(dag.next_run_time.ToDatetime(dt.UTC))
    else:
        partition = None
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Partitions(True, table, partition[0] if partition else table.key_of(midnight))


def find_runs(
    dag_id: str = "",
    states_: tuple[str, ...] = (),
    *,
    since: int | None = None,
    until: int | None = None,
    search: str = "",
    partition_key: str = "",
    without_note: bool = False,
    ended_since: int | None = None,
    page_size: int = 50,
    page_token: str = "",
) -> run_pb.ListRunsResponse:
    """Return a page of runs, newest first; times in seconds."""
    request = run_pb.ListRunsRequest(
        dag_id=dag_id,
        page_size=page_size,
        page_token=page_token,
        states=[states.RUN_NUMBER[s] for s in states_],  # type: ignore[misc]
        run_after_from=None if since is None else Timestamp(seconds=since),
        run_after_to=None if until is None else Timestamp(seconds=until),
        search=search,
        partition_key=partition_key,
        without_note=without_note,
        end_time_from=None if ended_since is None else Timestamp(seconds=ended_since),
    )
    return data.source().read(
        ("runs", request.SerializeToString(deterministic=True)),
        (f"dag:{dag_id}",) if dag_id else ("run", "task"),
        lambda: RunServiceStub(data.source().channel).ListRuns(request, timeout=READ_SECONDS),
    )


def deadlines(
    dag_id: str = "",
    run_id: str = "",
    *,
    missed: bool | None = None,
    since: int | None = None,
    without_note: bool = False,
    page_size: int = 50,
    page_token: str = "",
) -> run_pb.ListDeadlinesResponse:
    """Return a page of deadlines, the latest moment first; ``since`` is in seconds."""
    request = run_pb.ListDeadlinesRequest(
        dag_id=dag_id,
        run_id=run_id,
        missed=missed,
        deadline_time_from=None if since is None else Timestamp(seconds=since),
        without_note=without_note,
        page_size=page_size,
        page_token=page_token,
    )
    # One is missed by the mere passing of time: what is remembered is soon old.
    return data.source().read(
        ("deadlines", request.SerializeToString(deterministic=True)),
        (f"dag:{dag_id}",) if dag_id else ("run",),
        lambda: RunServiceStub(data.source().channel).ListDeadlines(request, timeout=READ_SECONDS),
        max_age=10.0,
    )


def attempts(dag_id: str, run_id: str) -> list[Attempt]:
    """Return the attempts of a run's unmapped tasks, oldest first."""

    def call() -> list[Attempt]:
        stub = TaskServiceStub(data.source().channel)
        request = task_pb.ListAttemptsRequest(
            dag_id=dag_id, run_id=run_id, map_index=-1, page_size=PAGE
        )
        out: list[Attempt] = []
        # A reader sees no more of them than this.
        while len(out) < 5 * PAGE:
            answer = stub.ListAttempts(request, timeout=READ_SECONDS)
            out += answer.attempts
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
        return out

    return data.source().read(("attempts", dag_id, run_id), (f"run:{dag_id}/{run_id}",), call)


def audit(dag_id: str, page_token: str = "") -> system_pb.ListAuditEntriesResponse:
    """Return a page of what people and programs did to a DAG, newest first."""
    request = system_pb.ListAuditEntriesRequest(dag_id=dag_id, page_size=50, page_token=page_token)
    return data.source().read(
        ("audit_page", dag_id, page_token),
        (f"dag:{dag_id}",),
        lambda: SystemServiceStub(data.source().channel).ListAuditEntries(
            request, timeout=READ_SECONDS
        ),
        max_age=10.0,
    )


def pools() -> list[Pool]:
    """Return the pools with their use."""
    return data.source().read(
        ("pools",),
        ("pool", "task"),
        lambda: list(
            PoolServiceStub(data.source().channel)
            .ListPools(pool_pb.ListPoolsRequest(page_size=100), timeout=READ_SECONDS)
            .pools
        ),
        max_age=10.0,
    )


def asset_events(count: int) -> list[AssetEvent]:
    """Return the newest asset events."""
    request = asset_pb.ListAssetEventsRequest(page_size=count)
    return data.source().read(
        ("asset_events", count),
        ("any",),
        lambda: list(
            AssetServiceStub(data.source().channel)
            .ListAssetEvents(request, timeout=READ_SECONDS)
            .events
        ),
        max_age=15.0,
    )


# --- backfills ---------------------------------------------------------------------------------------


def _backfills() -> BackfillServiceStub:
    return BackfillServiceStub(data.source().channel)


def backfills(dag_id: str) -> list[Backfill]:
    """Return the newest backfills of a DAG, newest first."""
    request = backfill_pb.ListBackfillsRequest(dag_id=dag_id, page_size=50)
    return data.source().read(
        ("backfills", dag_id),
        (f"dag:{dag_id}",),
        lambda: list(_backfills().ListBackfills(request, timeout=READ_SECONDS).backfills),
        max_age=5.0,
    )


def create_backfill(
    dag_id: str,
    first: dt.datetime,
    last: dt.datetime,
    *,
    reprocess: str,
    max_active_runs: int,
    run_backwards: bool,
    conf_json: str,
    dry_run: bool,
    request_id: str = "",
) -> backfill_pb.CreateBackfillResponse:
    """Create a backfill, or tell what it would do."""
    request = backfill_pb.CreateBackfillRequest(
        dag_id=dag_id,
        from_time=Timestamp(seconds=int(first.timestamp())),
        to_time=Timestamp(seconds=int(last.timestamp())),
        reprocess_behavior=f"REPROCESS_BEHAVIOR_{reprocess.upper()}",  # type: ignore[arg-type]
        max_active_runs=max_active_runs,
        run_backwards=run_backwards,
        conf_json=conf_json,
        request_id=request_id or str(uuid.uuid4()),
        dry_run=dry_run,
    )
    return data.source().write(
        lambda: _backfills().CreateBackfill(request, timeout=WRITE_SECONDS),
        *([] if dry_run else [("backfill", dag_id, "")]),
    )


def change_backfill(dag_id: str, backfill_id: str, action: str) -> None:
    """``pause``, ``resume`` or ``cancel`` a backfill."""
    method, kind = {
        "pause": (_backfills().PauseBackfill, backfill_pb.PauseBackfillRequest),
        "resume": (_backfills().ResumeBackfill, backfill_pb.ResumeBackfillRequest),
        "cancel": (_backfills().CancelBackfill, backfill_pb.CancelBackfillRequest),
    }[action]
    request = kind(backfill_id=backfill_id, request_id=str(uuid.uuid4()))
    data.source().write(
        lambda: method(request, timeout=WRITE_SECONDS),
        ("backfill", dag_id, ""),
    )


def dry_trigger(
    dag_id: str, conf_json: str, run_id: str, logical_time: float | None, partition_key: str = ""
) -> run_pb.TriggerRunResponse:
    """Return the run that a trigger would create.

    Raises:
        ApiError: it would be refused, and why.
    """
    request = run_pb.TriggerRunRequest(
        dag_id=dag_id,
        run_id=run_id,
        conf_json=conf_json,
        partition_key=partition_key,
        request_id=str(uuid.uuid4()),
        dry_run=True,
        logical_time=None if logical_time is None else Timestamp(seconds=int(logical_time)),
    )
    stub = RunServiceStub(data.source().channel)
    return data.source().write(lambda: stub.TriggerRun(request, timeout=WRITE_SECONDS))


def first_failures(runs: Sequence[data.Run]) -> dict[tuple[str, str], data.TaskInstance]:
    """Return the first failed task instance of each run that has one, by DAG and run."""
    if not runs:
        return {}
    wanted = sorted(runs, key=lambda r: r.run_key)[:100]
    request = task_pb.ListTaskInstancesRequest(
        first_of_run_keys=[r.run_key for r in wanted],
        states=[states.TASK_NUMBER["failed"]],  # type: ignore[list-item]
    )
    return data.source().read(
        ("first_failures", *request.first_of_run_keys),
        tuple(f"run:{r.dag_id}/{r.run_id}" for r in wanted),
        lambda: {
            (t.dag_id, t.run_id): t
            for t in TaskServiceStub(data.source().channel)
            .ListTaskInstances(request, timeout=READ_SECONDS)
            .task_instances
        },
    )
