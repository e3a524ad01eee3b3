"""Task instances, attempts and XComs as people see them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from grpc import StatusCode

from boraflow.api.metastore.v1 import execution_service_pb2, scheduling_service_pb2
from boraflow.api.metastore.v1 import task_service_pb2 as pb
from boraflow.api.model.v1 import run_pb2
from boraflow.rpc.errors import ApiError, invalid, not_found
from boraflow.wire import (
    ATTEMPT_KIND_TO,
    RUN_STATE_TO,
    TASK_STATE_TO,
    micros,
    timestamp,
)
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store import rows
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.runs import dag_exists, dag_not_found, escape_like, find_run

_TASK_COLUMNS = (
    "r.dag_id, r.run_id, r.dag_version, r.logical_us, r.run_after_us, t.run_key, t.task_id,"
    " t.map_index, t.state, t.try_number, t.max_tries, t.attempt_id, t.scheduled_us, t.queued_us,"
    " t.start_us, t.end_us, t.wake_us, t.reason, t.rendered_map_index, t.position, e.name"
)
# CROSS JOIN: SQLite then keeps the order, runs before tasks, so that a page of a long history reads a few runs.
TASK_PEOPLE = (
    f"SELECT {_TASK_COLUMNS} FROM dag_run r CROSS JOIN task_instance t"
    " LEFT JOIN attempt a ON a.attempt_id = t.attempt_id"
    " LEFT JOIN executor e ON e.executor_id = a.executor_id WHERE t.run_key = r.run_key"
)

_BY_KEY = TASK_PEOPLE.replace(
    "dag_run r CROSS JOIN task_instance t", "task_instance t CROSS JOIN dag_run r"
)

#: Of a mapped task's indexes, the state shown for all: the first of these that one has.
_WORST = (
    "failed",
    "upstream_failed",
    "running",
    "restarting",
    "queued",
    "deferred",
    "awaiting_input",
    "up_for_retry",
    "up_for_reschedule",
    "scheduled",
    "none",
    "success",
    "skipped",
    "removed",
)
#: States in which an attempt is open.
_HOLDING = frozenset({"queued", "running", "restarting", "deferred", "awaiting_input"})
_XCOM_LIST_LIMIT = 64 * 1024
_LARGEST_PULL = 6 * 1024 * 1024


def task_message(session: Session, caches: Caches, r: tuple[Any, ...]) -> run_pb2.TaskInstance:
    """Return a row of :data:`TASK_PEOPLE` as people see it."""
    fact = caches.facts(session, r[0], r[2]).get(r[6])
    return run_pb2.TaskInstance(
        dag_id=r[0],
        run_id=r[1],
        logical_time=timestamp(r[3]),
        task_id=r[6],
        map_index=r[7],
        state=TASK_STATE_TO[r[8]],  # type: ignore[arg-type]
        try_number=r[9],
        max_tries=r[10],
        attempt_id=r[11],
        schedule_time=timestamp(r[12] or None),
        queue_time=timestamp(r[13] or None),
        start_time=timestamp(r[14] or None),
        end_time=timestamp(r[15] or None),
        wake_time=timestamp(r[16] or None),
        reason=r[17],
        rendered_map_index=r[18],
        operator=fact.operator if fact else "",
        executor_name=r[20] or "",
    )


def list_task_instances(
    snapshot: Snapshot, caches: Caches, request: pb.ListTaskInstancesRequest
) -> pb.ListTaskInstancesResponse:
    """Return a page of task instances, by run (newest first), then in the DAG's order."""
    size = page_size(request.page_size)
    if request.run_ids and not request.dag_id:
        raise invalid("DAG_ID_MISSING", "run_ids need a dag_id", field="dag_id")
    if request.first_of_run_keys:
        return _list_first(snapshot, caches, request)
    runs, run_values = ["1 = 1"], []
    if request.dag_id:
        if not dag_exists(snapshot, request.dag_id):
            raise dag_not_found(request.dag_id)
        runs.append("r.dag_id = ?")
        run_values.append(request.dag_id)
    if request.run_ids:
        names = [
            find_run(snapshot, request.dag_id, n)[2] if n == "latest" else n
            for n in request.run_ids
        ]
        runs.append(f"r.run_id IN ({','.join('?' * len(names))})")
        run_values += names
    tasks, task_values = _task_conditions(request)
    words = _state_words(request)
    if words:
        # The run's counts tell which runs have one at all, however long the history is.
        runs.append(f"({' OR '.join(['r.task_counts LIKE ?'] * len(words))})")
        run_values += [f'%"{w}":%' for w in words]
        if _HOLDING.issuperset(words) and not request.dag_id:
            # Of all DAGs: only in runs that are not finished, or that still hold something.
            runs.append(
                f"r.run_key IN (SELECT run_key FROM dag_run WHERE {rows.UNFINISHED_RUN}"
                f" UNION SELECT run_key FROM attempt WHERE {rows.LIVE_ATTEMPT})"
            )
    if request.collapse_mapped:
        return _list_collapsed(
            snapshot, caches, request, (runs, run_values), (tasks, task_values), words, size
        )
    if words:
        tasks.append(f"t.state IN ({','.join('?' * len(words))})")
        task_values += words
    where, values = [*runs, *tasks], [*run_values, *task_values]
    key = page_key("tasks", request.page_token, int, str, int, str, int)
    if key is not None:
        where.append(
            "(r.run_after_us, r.run_key) <= (?, ?) AND (r.run_key <> ?"
            " OR (t.position, t.task_id, t.map_index) > (?, ?, ?))"
        )
        values += (key[0], key[1], key[1], *key[2:])
    found = snapshot.rows(
        f"{TASK_PEOPLE} AND {' AND '.join(where)} ORDER BY r.run_after_us DESC, r.run_key DESC,"
        " t.position, t.task_id, t.map_index LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListTaskInstancesResponse(
        revision=snapshot.revision,
        task_instances=[task_message(snapshot, caches, r) for r in found[:size]],
    )
    if len(found) > size:
        r = found[size - 1]
        response.next_page_token = page_token("tasks", r[4], r[5], r[19], r[6], r[7])
    return response


def _state_words(request: pb.ListTaskInstancesRequest) -> list[str]:
    return [rows.TASK_STATE.get(s, "") for s in request.states]


def _task_conditions(request: pb.ListTaskInstancesRequest) -> Where:
    """Return what a request asks of task instances, but for their state."""
    tasks: list[str] = []
    values: list[Any] = []
    if request.task_ids:
        tasks.append(f"t.task_id IN ({','.join('?' * len(request.task_ids))})")
        values += request.task_ids
    if request.HasField("map_index_from"):
        tasks.append("t.map_index >= ?")
        values.append(request.map_index_from)
    if request.search:
        tasks.append("lower(t.rendered_map_index) LIKE ? ESCAPE '\\'")
        values.append(escape_like(request.search))
    return tasks, values


def _list_first(
    snapshot: Snapshot, caches: Caches, request: pb.ListTaskInstancesRequest
) -> pb.ListTaskInstancesResponse:
    """Return the first task instance that matches of each of some runs."""
    if len(request.first_of_run_keys) > _MOST_RUNS:
        raise invalid(
            "RUN_KEYS_INVALID",
            f"first_of_run_keys names {len(request.first_of_run_keys)} runs; expected at most {_MOST_RUNS}",
            field="first_of_run_keys",
        )
    other = [
        n for n in ("dag_id", "run_ids", "page_token", "collapse_mapped") if getattr(request, n)
    ]
    if other:
        raise invalid(
            "RUN_KEYS_INVALID",
            f"first_of_run_keys does not go with {', '.join(other)}; leave {'it' if len(other) == 1 else 'them'} out",
            field=other[0],
        )
    conditions, values = _task_conditions(request)
    if words := _state_words(request):
        conditions.append(f"t.state IN ({','.join('?' * len(words))})")
        values += words
    response = pb.ListTaskInstancesResponse(revision=snapshot.revision)
    # One query each: of a run with thousands of failed instances only the first is read.
    for run_key in dict.fromkeys(request.first_of_run_keys):
        found = snapshot.rows(
            f"{' AND '.join([_BY_KEY, 't.run_key = ?', *conditions])}"
            " ORDER BY t.position, t.task_id, t.map_index LIMIT 1",
            [run_key, *values],
        )
        response.task_instances.extend(task_message(snapshot, caches, r) for r in found)
    return response


_MOST_RUNS = 100
_ROOM = 25_000


def summarize_tasks(
    snapshot: Snapshot, request: pb.SummarizeTasksRequest
) -> pb.SummarizeTasksResponse:
    """Return the states of all tasks of some runs, as many runs as there is room for.

    Raises:
        ApiError: no such DAG; no run or too many are named.
    """
    if not 1 <= len(request.run_ids) <= _MOST_RUNS:
        raise invalid(
            "RUN_IDS_INVALID",
            f"run_ids names {len(request.run_ids)} runs; expected 1 to {_MOST_RUNS}",
            field="run_ids",
        )
    if not dag_exists(snapshot, request.dag_id):
        raise dag_not_found(request.dag_id)
    response = pb.SummarizeTasksResponse(revision=snapshot.revision)
    names = [
        find_run(snapshot, request.dag_id, n)[2] if n == "latest" else n for n in request.run_ids
    ]
    found = {
        run_id: (run_key, sum(json.loads(counts or "{}").values()))
        for run_id, run_key, counts in snapshot.where_in(
            "SELECT run_id, run_key, task_counts FROM dag_run WHERE dag_id = ? AND run_id IN :values",
            names,
            before=(request.dag_id,),
        )
    }
    room = _ROOM
    shown: dict[str, str] = {}
    for run_id in dict.fromkeys(n for n in names if n in found):
        run_key, count = found[run_id]
        if shown and count > room:
            response.left_run_ids.append(run_id)
            continue
        room -= count
        shown[run_key] = run_id
    states: dict[str, dict[str, str]] = {key: {} for key in shown}
    position: dict[str, int] = {}
    for run_key, task_id, state, place in snapshot.where_in(
        "SELECT run_key, task_id, state, position FROM task_instance"
        " WHERE run_key IN :values AND map_index < 0",
        list(shown),
    ):
        states[run_key][task_id] = state
        position[task_id] = place
    mapped: dict[tuple[str, str], dict[str, int]] = {}
    for run_key, task_id, state, n, place in snapshot.where_in(
        "SELECT run_key, task_id, state, count(*), min(position) FROM task_instance"
        " WHERE run_key IN :values AND map_index >= 0 GROUP BY run_key, task_id, state",
        list(shown),
    ):
        mapped.setdefault((run_key, task_id), {})[state] = n
        position[task_id] = place
    for (run_key, task_id), counts in mapped.items():
        states[run_key][task_id] = next(s for s in _WORST if s in counts)
    order = sorted(position, key=lambda t: (position[t], t))
    response.task_ids.extend(order)
    for run_key, run_id in shown.items():
        of = states[run_key]
        run = response.runs.add(run_id=run_id)
        run.states.extend([TASK_STATE_TO[of[t]] if t in of else 0 for t in order])  # type: ignore[misc]
        for i, task_id in enumerate(order):
            if counts := mapped.get((run_key, task_id)):
                run.mapped.add(task=i).counts.update(counts)
    return response


Where = tuple[list[str], list[Any]]
"""Conditions and the values of their marks."""

_GROUPS = (
    "SELECT t.run_key, t.position, t.task_id, min(t.map_index), max(t.map_index),"
    " min(CASE WHEN t.start_us > 0 THEN t.start_us END), max(t.end_us),"
    " min(CASE WHEN t.state IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed')"
    " THEN 1 ELSE 0 END), max(t.try_number) FROM task_instance t WHERE t.run_key = ?"
)


class _Group(NamedTuple):
    """A task of a run, with all its indexes."""

    run_key: str
    position: int
    task_id: str
    first: int
    last: int
    start_us: int | None
    end_us: int
    finished: int
    try_number: int


def _groups(
    snapshot: Snapshot,
    request: pb.ListTaskInstancesRequest,
    runs: Where,
    tasks: Where,
    words: list[str],
    size: int,
) -> list[tuple[int, _Group]]:
    """Return ``size`` groups from the page's start on, each with its run's run_after."""
    key = page_key("collapsed", request.page_token, int, str, int, str)
    where, values = [*runs[0]], [*runs[1]]
    if key is not None:
        where.append("(r.run_after_us, r.run_key) <= (?, ?)")
        values += key[:2]
    # A mapped task with one index in such a state is shown whole.
    having = (
        f" HAVING max(CASE WHEN t.state IN ({','.join('?' * len(words))}) THEN 1 ELSE 0 END) = 1"
        if words
        else ""
    )
    found: list[tuple[int, _Group]] = []
    last: tuple[int, str] | None = None
    while len(found) < size:
        more, more_values = "", []
        if last is not None:
            more, more_values = " AND (r.run_after_us, r.run_key) < (?, ?)", [*last]
        part = snapshot.rows(
            f"SELECT r.run_after_us, r.run_key FROM dag_run r WHERE {' AND '.join(where)}{more}"
            " ORDER BY r.run_after_us DESC, r.run_key DESC LIMIT 50",
            [*values, *more_values],
        )
        if not part:
            break
        for run_after, run_key in part:
            conditions, arguments = [_GROUPS, *tasks[0]], [run_key, *tasks[1]]
            if key is not None and run_key == key[1]:
                conditions.append("(t.position, t.task_id) > (?, ?)")
                arguments += key[2:]
            found += [
                (run_after, _Group(*g))
                for g in snapshot.rows(
                    " AND ".join(conditions) + f" GROUP BY t.run_key, t.position, t.task_id{having}"
                    " ORDER BY t.position, t.task_id LIMIT ?",
                    [*arguments, *words, size - len(found)],
                )
            ]
            if len(found) >= size:
                break
            last = (run_after, run_key)
    return found


def _list_collapsed(
    snapshot: Snapshot,
    caches: Caches,
    request: pb.ListTaskInstancesRequest,
    runs: Where,
    tasks: Where,
    words: list[str],
    size: int,
) -> pb.ListTaskInstancesResponse:
    groups = _groups(snapshot, request, runs, tasks, words, size + 1)
    page = groups[:size]
    # Each mapped task is shown by its first index, with the states of all.
    shown = {}
    for part in _parts(page, 100):
        marks = " OR ".join(["(t.run_key = ? AND t.task_id = ? AND t.map_index = ?)"] * len(part))
        flat = [v for _, g in part for v in (g.run_key, g.task_id, g.first)]
        for r in snapshot.rows(f"{_BY_KEY} AND ({marks})", flat):
            shown[(r[5], r[6])] = task_message(snapshot, caches, r)
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for run_key, task_id, state, n in snapshot.where_in(
        "SELECT run_key, task_id, state, count(*) FROM task_instance"
        " WHERE map_index >= 0 AND run_key IN :values GROUP BY run_key, task_id, state",
        sorted({g.run_key for _, g in page if g.last >= 0}),
    ):
        counts.setdefault((run_key, task_id), {})[state] = n
    response = pb.ListTaskInstancesResponse(revision=snapshot.revision)
    for _, g in page:
        message = shown.get((g.run_key, g.task_id))
        if message is None:
            continue
        if g.last >= 0:
            _collapse(message, g, counts.get((g.run_key, g.task_id), {}))
        response.task_instances.append(message)
    if len(groups) > size:
        run_after, g = groups[size - 1]
        response.next_page_token = page_token(
            "collapsed", run_after, g.run_key, g.position, g.task_id
        )
    return response


def _collapse(message: run_pb2.TaskInstance, g: _Group, states: dict[str, int]) -> None:
    """Make the message of a mapped task's first index that of all of them."""
    message.map_index = -1
    message.rendered_map_index = ""
    message.attempt_id = ""
    message.reason = ""
    message.try_number = g.try_number
    message.state = TASK_STATE_TO[next((s for s in _WORST if s in states), "none")]  # type: ignore[assignment]
    message.mapped_counts.update(states)
    message.ClearField("start_time")
    message.ClearField("end_time")
    start, end = timestamp(g.start_us), timestamp(g.end_us if g.finished else None)
    if start is not None:
        message.start_time.CopyFrom(start)
    if end is not None:
        message.end_time.CopyFrom(end)


def _parts(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def tasks_of_run(
    session: Session, caches: Caches, run_key: str, keys: set[tuple[str, int]] | None
) -> list[run_pb2.TaskInstance]:
    """Return task instances of a run in the DAG's order: those of ``keys``, or all."""
    if keys is not None and not keys:
        return []
    if keys is not None and len(keys) <= 64:
        marks = " OR ".join(["(t.task_id = ? AND t.map_index = ?)"] * len(keys))
        found = session.rows(
            f"{TASK_PEOPLE} AND r.run_key = ? AND ({marks})",
            [run_key, *(v for k in keys for v in k)],
        )
        found.sort(key=lambda r: (r[19], r[6], r[7]))
    else:
        found = session.rows(
            f"{TASK_PEOPLE} AND r.run_key = ? ORDER BY t.position, t.task_id, t.map_index",
            (run_key,),
        )
        if keys is not None:
            found = [r for r in found if (r[6], r[7]) in keys]
    return [task_message(session, caches, r) for r in found]


def affected_tasks(
    session: Session, caches: Caches, dag_id: str, affected: Sequence[Sequence[Any]]
) -> list[run_pb2.TaskInstance]:
    """Return the task instances that an answer of the engine names, as they are now."""
    by_run: dict[str, set[tuple[str, int]]] = {}
    for entry in affected:
        by_run.setdefault(str(entry[0]), set()).add((str(entry[1]), int(entry[2])))
    messages = []
    for run_id, keys in by_run.items():
        row = session.row(
            "SELECT run_key FROM dag_run WHERE dag_id = ? AND run_id = ?", (dag_id, run_id)
        )
        if row is not None:
            messages += tasks_of_run(session, caches, row[0], keys)
    return messages


def get_task_instance(
    snapshot: Snapshot, caches: Caches, request: pb.GetTaskInstanceRequest
) -> pb.GetTaskInstanceResponse:
    """Return one task instance with its attempts."""
    run = find_run(snapshot, request.dag_id, request.run_id)
    map_index = request.map_index if request.HasField("map_index") else -1
    row = snapshot.row(
        f"{TASK_PEOPLE} AND r.run_key = ? AND t.task_id = ? AND t.map_index = ?",
        (run[0], request.task_id, map_index),
    )
    if row is None:
        raise _task_not_found(snapshot, request.dag_id, run, request.task_id, map_index)
    return pb.GetTaskInstanceResponse(
        task_instance=task_message(snapshot, caches, row),
        attempts=attempts_of(snapshot, run[0], request.task_id, map_index),
        revision=snapshot.revision,
    )


def _task_not_found(
    session: Session, dag_id: str, run: tuple[Any, ...], task_id: str, map_index: int
) -> Exception:
    row = session.row(
        "SELECT max(map_index), count(*) FROM task_instance WHERE run_key = ? AND task_id = ?",
        (run[0], task_id),
    )
    metadata = {"dag_id": dag_id, "run_id": run[2], "task_id": task_id}
    if row is None or not row[1]:
        return not_found(
            "TASK_NOT_FOUND",
            f"run {run[2]!r} of DAG {dag_id!r} has no task {task_id!r}",
            **metadata,
        )
    which = (
        f"is mapped, with indexes 0 to {row[0]}: name one"
        if map_index == -1
        else f"has no index {map_index}"
    )
    return not_found(
        "MAP_INDEX_NOT_FOUND",
        f"task {task_id!r} in run {run[2]!r} of DAG {dag_id!r} {which}",
        **metadata,
    )


_ATTEMPT_COLUMNS = (
    " a.task_id, a.map_index, a.try_number, e.name, a.scheduled_us, a.opened_us, a.start_us, a.claimed_us,"
    " a.imported_us, a.pid, a.closed_us, a.result, a.rendered_json FROM attempt a"
    " LEFT JOIN executor e ON e.executor_id = a.executor_id"
)
_ATTEMPT_PEOPLE = (
    f"SELECT a.attempt_id, a.kind, r.dag_id, r.run_id,{_ATTEMPT_COLUMNS}"
    " JOIN dag_run r ON r.run_key = a.run_key"
)
#: A watch is of no run; its key stands for the task.
_WATCH_ATTEMPT = (
    f"SELECT a.attempt_id, a.kind, '' AS dag_id, '' AS run_id,{_ATTEMPT_COLUMNS}"
    " WHERE a.run_key = '' AND a.task_id = ? AND a.kind = 'watch'"
)


def attempts_of(
    session: Session, run_key: str, task_id: str, map_index: int
) -> list[run_pb2.Attempt]:
    """Return all attempts of a task instance, oldest first."""
    return [
        attempt_message(r)
        for r in session.rows(
            f"{_ATTEMPT_PEOPLE} WHERE a.run_key = ? AND a.task_id = ? AND a.map_index = ?"
            " ORDER BY a.opened_us, a.attempt_id",
            (run_key, task_id, map_index),
        )
    ]


def newest_attempt_of_watch(
    session: Session, key: str, *, failed: bool = False
) -> run_pb2.Attempt | None:
    """Return the newest attempt of a watcher's trigger, or the newest that failed."""
    which = " AND a.outcome IN ('failed', 'success')" if failed else ""
    row = session.row(
        f"{_WATCH_ATTEMPT}{which} ORDER BY a.opened_us DESC, a.attempt_id DESC LIMIT 1", (key,)
    )
    return None if row is None else attempt_message(row)


def list_attempts(snapshot: Snapshot, request: pb.ListAttemptsRequest) -> pb.ListAttemptsResponse:
    """Return a page of a run's attempts, oldest first."""
    size = page_size(request.page_size)
    run = find_run(snapshot, request.dag_id, request.run_id)
    # Attempts of the run's callbacks have no task.
    where, values = ["a.run_key = ?", "a.task_id <> ''"], [run[0]]
    if request.task_ids:
        where.append(f"a.task_id IN ({','.join('?' * len(request.task_ids))})")
        values += request.task_ids
    if request.HasField("map_index"):
        where.append("a.map_index = ?")
        values.append(request.map_index)
    key = page_key("attempts", request.page_token, int, str)
    if key is not None:
        where.append("(a.opened_us, a.attempt_id) > (?, ?)")
        values += key
    found = snapshot.rows(
        f"{_ATTEMPT_PEOPLE} WHERE {' AND '.join(where)} ORDER BY a.opened_us, a.attempt_id LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListAttemptsResponse()
    for r in found[:size]:
        message = attempt_message(r)
        message.ClearField("rendered_fields_json")
        response.attempts.append(message)
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = page_token("attempts", last[9], last[0])
    return response


def attempt_message(r: tuple[Any, ...]) -> run_pb2.Attempt:
    """Return an attempt as people see it."""
    result = scheduling_service_pb2.AttemptResult()
    if r[15] is not None:
        result.ParseFromString(bytes(r[15]))
    return run_pb2.Attempt(
        attempt_id=r[0],
        kind=ATTEMPT_KIND_TO[r[1]],  # type: ignore[arg-type]
        dag_id=r[2],
        run_id=r[3],
        task_id=r[4],
        map_index=r[5],
        try_number=r[6],
        executor_name=r[7] or "",
        outcome=result.outcome,
        schedule_time=timestamp(r[8] or None),
        open_time=timestamp(r[9] or None),
        start_time=timestamp(result.start_us or r[10] or None),
        claim_time=timestamp(result.claimed_us or r[11] or None),
        import_time=timestamp(result.imported_us or r[12] or None),
        pid=result.pid or r[13],
        end_time=timestamp(result.end_us or None),
        close_time=timestamp(r[14] or None),
        error=result.error,
        exit_code=result.exit_code if result.HasField("exit_code") else None,
        rendered_fields_json=r[16],
    )


# --- XComs ---------------------------------------------------------------------------------------


def _xcom(dag_id: str, run_id: str, r: tuple[Any, ...], length: int | None = None) -> run_pb2.Xcom:
    return run_pb2.Xcom(
        dag_id=dag_id,
        run_id=run_id,
        task_id=r[0],
        map_index=r[1],
        key=r[2],
        value_json=r[3],
        create_time=timestamp(r[4]),
        value_length=len(r[3]) if length is None else length,
    )


def list_xcoms(snapshot: Snapshot, request: pb.ListXcomsRequest) -> pb.ListXcomsResponse:
    """Return a page of a run's XComs; long values are left out."""
    size = page_size(request.page_size)
    run = find_run(snapshot, request.dag_id, request.run_id)
    where, values = ["run_key = ?"], [run[0]]
    if request.task_id:
        where.append("task_id = ?")
        values.append(request.task_id)
    if request.HasField("map_index"):
        where.append("map_index = ?")
        values.append(request.map_index)
    key = page_key("xcoms", request.page_token, str, int, str)
    if key is not None:
        where.append("(task_id, map_index, key) > (?, ?, ?)")
        values += key
    found = snapshot.rows(
        "SELECT task_id, map_index, key,"
        f" CASE WHEN length(value_json) > {_XCOM_LIST_LIMIT} THEN '' ELSE value_json END, created_us,"
        " length(value_json)"
        f" FROM xcom WHERE {' AND '.join(where)} ORDER BY task_id, map_index, key LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListXcomsResponse()
    total = 0
    for i, r in enumerate(found[:size]):
        total += len(r[3])
        if i and total > 4_000_000:
            # A page must fit a message.
            found = [*found[: i + 1]]
            size = i
            break
        response.xcoms.append(_xcom(request.dag_id, run[2], r, r[5]))
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = page_token("xcoms", last[0], last[1], last[2])
    return response


def get_xcom(snapshot: Snapshot, request: pb.GetXcomRequest) -> run_pb2.Xcom:
    """Return one XCom."""
    run = find_run(snapshot, request.dag_id, request.run_id)
    map_index = request.map_index if request.HasField("map_index") else -1
    key = request.key or "return_value"
    row = snapshot.row(
        "SELECT task_id, map_index, key, value_json, created_us FROM xcom"
        " WHERE run_key = ? AND task_id = ? AND map_index = ? AND key = ?",
        (run[0], request.task_id, map_index, key),
    )
    if row is None:
        raise not_found(
            "XCOM_NOT_FOUND",
            f"task {request.task_id!r} in run {run[2]!r} of DAG {request.dag_id!r} has pushed no XCom"
            f" {key!r}" + (f" at index {map_index}" if map_index >= 0 else ""),
        )
    return _xcom(request.dag_id, run[2], row)


def pull_xcoms(
    snapshot: Session, request: execution_service_pb2.PullXcomsRequest
) -> list[run_pb2.Xcom]:
    """Return XComs for a running attempt: by task in the order asked for, then index; of any key, newest first.

    An earlier run answers for the tasks (or indexes, where those are named) that have nothing in a later one.
    """
    run = None
    if request.run_id:
        run = snapshot.row(
            "SELECT run_key, run_id, run_after_us FROM dag_run WHERE dag_id = ? AND run_id = ?",
            (request.dag_id, request.run_id),
        )
        if run is None:
            return []
    found: dict[tuple[str, int], tuple[str, tuple[Any, ...]]] = {}
    missing = _Missing(request)
    if run is not None:
        missing.take(found, run[1], _pull_from(snapshot, request, missing.task_ids, run[0]))
    if request.include_prior_times and missing:
        where, values = "dag_id = ?", [request.dag_id]
        if run is not None:
            where += " AND (run_after_us, run_key) < (?, ?)"
            values += [run[2], run[0]]
        for before in snapshot.rows(
            f"SELECT run_key, run_id FROM dag_run WHERE {where} AND purged = 0"
            " ORDER BY run_after_us DESC, run_key DESC LIMIT 1000",
            values,
        ):
            missing.take(
                found, before[1], _pull_from(snapshot, request, missing.task_ids, before[0])
            )
            if not missing:
                break
    size = sum(len(r[3]) for _, r in found.values())
    if size > _LARGEST_PULL:
        key = "of any key" if request.any_key else repr(request.key or "return_value")
        raise ApiError(
            StatusCode.RESOURCE_EXHAUSTED,
            "XCOMS_TOO_LARGE",
            f"the {len(found)} XComs {key} asked for have {size:,} bytes together; at most"
            f" {_LARGEST_PULL:,} are pulled at once: name map indexes, or push locations of data",
        )
    pulled = list(found.values())
    if request.any_key:
        pulled.sort(key=lambda one: one[1][4], reverse=True)
    elif request.task_ids:
        order = {t: i for i, t in enumerate(request.task_ids)}
        pulled.sort(key=lambda one: (order[one[1][0]], one[1][1]))
    return [_xcom(request.dag_id, run_id, r) for run_id, r in pulled]


class _Missing:
    """What no run has answered yet."""

    def __init__(self, request: execution_service_pb2.PullXcomsRequest) -> None:
        self._all = not request.task_ids
        self._indexes = set(request.map_indexes)
        self._left: dict[str, set[int]] = {t: set(self._indexes) for t in request.task_ids}

    @property
    def task_ids(self) -> list[str]:
        return list(self._left)

    def __bool__(self) -> bool:
        return self._all or bool(self._left)

    def take(
        self,
        found: dict[tuple[str, int], tuple[str, tuple[Any, ...]]],
        run_id: str,
        rows: list[tuple[Any, ...]],
    ) -> None:
        """Add what of a run's rows was missing."""
        rows = [
            r
            for r in rows
            if not self._indexes or r[1] in (self._indexes if self._all else self._left[r[0]])
        ]
        if rows:
            self._all = False
        for r in rows:
            found[r[0], r[1]] = (run_id, r)
            if r[0] in self._left:
                self._left[r[0]].discard(r[1])
        for task_id in {r[0] for r in rows}:
            if not self._left.get(task_id):
                self._left.pop(task_id, None)


def _pull_from(
    snapshot: Session,
    request: execution_service_pb2.PullXcomsRequest,
    task_ids: list[str],
    run_key: str,
) -> list[tuple[Any, ...]]:
    """Return a run's rows of these tasks, or of all when there are none."""
    columns = "task_id, map_index, key, value_json, created_us"
    before: tuple[Any, ...] = (run_key,)
    if request.any_key:
        select = (
            f"SELECT {columns} FROM (SELECT {columns}, row_number() OVER"
            " (PARTITION BY task_id, map_index ORDER BY created_us DESC, key) AS nth"
            " FROM xcom WHERE run_key = ?) AS newest WHERE nth = 1"
        )
    else:
        select = f"SELECT {columns} FROM xcom WHERE run_key = ? AND key = ?"
        before += (request.key or "return_value",)
    if task_ids:
        return snapshot.where_in(f"{select} AND task_id IN :values", task_ids, before=before)
    return snapshot.rows(f"{select} ORDER BY task_id, map_index", before)


# --- states, for sensors -------------------------------------------------------------------------


def read_states(
    snapshot: Session, caches: Caches, request: execution_service_pb2.ReadStatesRequest
) -> execution_service_pb2.ReadStatesResponse:
    """Return states of runs and of task instances in them."""
    response = execution_service_pb2.ReadStatesResponse(
        dag_exists=dag_exists(snapshot, request.dag_id)
    )
    select = "SELECT run_key, run_id, logical_us, state, dag_version FROM dag_run WHERE dag_id = ?"
    found = snapshot.where_in(
        f"{select} AND run_id IN :values", list(request.run_ids), before=(request.dag_id,)
    )
    found += snapshot.where_in(
        f"{select} AND logical_us IN :values",
        [micros(t) for t in request.logical_times],
        before=(request.dag_id,),
    )
    seen: set[str] = set()
    for run_key, run_id, logical_us, state, version in found:
        if run_key in seen:
            continue
        seen.add(run_key)
        response.runs.add(
            run_id=run_id,
            logical_time=timestamp(logical_us),
            state=RUN_STATE_TO[state],
        )
        task_ids = list(request.task_ids)
        if request.all_tasks:
            task_ids = list(caches.facts(snapshot, request.dag_id, version))
        elif request.group_id:
            facts = caches.facts(snapshot, request.dag_id, version)
            task_ids += [t for t, fact in facts.items() if request.group_id in fact.groups]
        for task_id, map_index, task_state in snapshot.where_in(
            "SELECT task_id, map_index, state FROM task_instance WHERE run_key = ? AND task_id IN :values",
            task_ids,
            before=(run_key,),
        ):
            response.tasks.add(
                run_id=run_id,
                task_id=task_id,
                map_index=map_index,
                state=TASK_STATE_TO[task_state],
            )
    return response
