"""A run that somebody asks for: is it allowed, what is it called, what may keep it from running."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from boraflow.engine import calendar, partitions
from boraflow.engine.actions.clearing import clear_whole_run
from boraflow.engine.asking import Process
from boraflow.engine.commands import AskRuns
from boraflow.engine.events import Answered, TriggerRun
from boraflow.engine.placement import takes_work
from boraflow.engine.records import Dag, Run
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import create
from boraflow.engine.selection import check_answer, find_dag, find_run
from boraflow.engine.settings import iso
from boraflow.engine.state import State
from boraflow.model.params import ConfError, check_conf, parse_conf
from boraflow.model.rows import Micros, RunRow
from boraflow.model.spec import DagSpec
from boraflow.model.states import RunState, RunType

_RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")
_RESERVED = ("scheduled", "backfill", "asset_triggered", "asset_materialization")


def check_run_type(spec: DagSpec, run_type: RunType) -> None:
    """Refuse a type of run that the DAG does not allow."""
    allowed = spec.allowed_run_types
    if allowed is not None and run_type.value not in allowed:
        raise Refused(
            "FAILED_PRECONDITION",
            "RUN_TYPE_NOT_ALLOWED",
            f"DAG {spec.dag_id!r} allows only runs of type {', '.join(allowed)}, not {run_type}",
        )


def trigger(state: State, command: TriggerRun, actor: str) -> Process:
    """Create a run."""
    dag = find_dag(state, command.dag_id)
    spec = dag.spec
    if not dag.row.active:
        raise Refused(
            "FAILED_PRECONDITION",
            "DAG_INACTIVE",
            f"DAG {command.dag_id!r} is no longer defined by any file",
        )
    try:
        run_type = RunType(command.run_type)
    except ValueError:
        raise Refused(
            "INVALID_ARGUMENT", "BAD_RUN_TYPE", f"there is no run type {command.run_type!r}"
        ) from None
    check_run_type(spec, run_type)
    _check_run_id(command.run_id, run_type)
    try:
        conf = parse_conf(command.conf_json)
        check_conf(spec.params, conf)
    except ConfError as err:
        raise Refused("INVALID_ARGUMENT", "CONF_INVALID", str(err)) from None
    partition_key = command.partition_key or None
    partition_date = partitions.checked_date(spec, partition_key) if partition_key else None
    logical = command.logical_date
    start = finish_at = None
    run_after = command.run_after if command.run_after is not None else state.now
    if logical is not None:
        start, finish_at = calendar.manual_interval(dag, logical)
        if command.run_after is None:
            run_after = finish_at
    run_key = state.mint() if not command.dry_run else "dry"
    run_id = command.run_id or _new_run_id(dag, run_type, run_after, logical, run_key)
    if not command.run_id and logical is not None:
        run_id = yield from _free_id(state, dag, run_id, run_key)
    existing = yield from _taken(state, dag, command.run_id, run_id, logical)
    if not command.run_id and run_id in dag.runs and existing is dag.runs[run_id].row:
        # Another run took the name of our making while the metastore was asked.
        if logical is None or _dated(dag, logical) is None:
            run_id, existing = f"{run_id}_{_suffix(run_key)}", None
    if existing is not None:
        if not command.reset_existing:
            what = (
                f"a run {existing.run_id!r}"
                if existing.run_id == run_id
                else f"a run of {iso(existing.logical_date or 0)}, {existing.run_id!r},"
            )
            raise Refused(
                "ALREADY_EXISTS",
                "RUN_EXISTS",
                f"DAG {command.dag_id!r} already has {what}; clear it, or choose another",
            )
        if command.dry_run:
            return {"run_key": existing.run_key, "run_id": existing.run_id, "warnings": []}
        run = yield from find_run(state, dag, existing.run_id)
        run.row.conf_json = command.conf_json or "{}"
        clear_whole_run(state, run, actor)
        return {
            "run_key": run.row.run_key,
            "run_id": run.row.run_id,
            "warnings": warnings(state, dag),
        }
    if command.dry_run:
        return {"run_key": "", "run_id": run_id, "warnings": warnings(state, dag)}
    row = RunRow(
        run_key,
        command.dag_id,
        run_id,
        run_type,
        RunState.QUEUED,
        dag.row.version,
        state.manifests.get(dag.row.bundle, ""),
        logical,
        start,
        finish_at,
        run_after,
        state.now,
        conf_json=command.conf_json or "{}",
        note=command.note,
        actor=actor,
        partition_key=partition_key,
        partition_date=partition_date,
    )
    run = create(state, dag, row)
    return {"run_key": run_key, "run_id": run_id, "warnings": warnings(state, dag, run)}


def _check_run_id(run_id: str, run_type: RunType) -> None:
    if not run_id:
        return
    if len(run_id) > 250 or not _RUN_ID.fullmatch(run_id):
        raise Refused(
            "INVALID_ARGUMENT",
            "BAD_RUN_ID",
            f"run id {run_id[:80]!r} must be at most 250 of letters, digits and _ . ~ : + -",
        )
    if run_id == "latest":
        raise Refused(
            "INVALID_ARGUMENT",
            "BAD_RUN_ID",
            "run id 'latest' stands for the newest run; choose another",
        )
    for kind in _RESERVED:
        if run_id.startswith(f"{kind}__") and run_type.value != kind:
            raise Refused(
                "INVALID_ARGUMENT",
                "BAD_RUN_ID",
                f"run id {run_id!r} is reserved for {kind} runs; choose one that does not begin "
                f"with {kind}__",
            )


def _new_run_id(
    dag: Dag, run_type: RunType, run_after: int, logical: Micros | None, run_key: str
) -> str:
    run_id = f"{run_type.value}__{iso(run_after)}"
    if logical is None or run_id in dag.runs:
        run_id = f"{run_id}_{_suffix(run_key)}"
    return run_id


def _suffix(run_key: str) -> str:
    return hashlib.sha1(run_key.encode(), usedforsecurity=False).hexdigest()[:8]


def _free_id(state: State, dag: Dag, run_id: str, run_key: str) -> Any:
    """Two dates may share the moment after which they run: return an id that history has not."""
    answer: Answered = yield AskRuns(
        state.mint(), dag.row.dag_id, run_ids=(run_id,), with_tasks=False
    )
    check_answer(answer)
    return f"{run_id}_{_suffix(run_key)}" if answer.runs else run_id


def _taken(state: State, dag: Dag, given_id: str, run_id: str, logical: Micros | None) -> Any:
    """Return the run that has the id or the date already; an id of our own making is new."""
    if given_id and run_id not in dag.runs:
        answer: Answered = yield AskRuns(
            state.mint(), dag.row.dag_id, run_ids=(run_id,), with_tasks=False
        )
        check_answer(answer)
        if answer.runs and run_id not in dag.runs:
            return answer.runs[0]
    if logical is not None and not _dated(dag, logical):
        answer = yield AskRuns(
            state.mint(),
            dag.row.dag_id,
            logical_from=logical,
            logical_to=logical,
            with_tasks=False,
        )
        check_answer(answer)
        if answer.runs and not _dated(dag, logical):
            return answer.runs[0]
    if run_id in dag.runs:
        return dag.runs[run_id].row
    if logical is not None:
        run = _dated(dag, logical)
        if run is not None:
            return run.row
    return None


def _dated(dag: Dag, logical: Micros) -> Run | None:
    return next((r for r in dag.runs.values() if r.row.logical_date == logical), None)


def warnings(state: State, dag: Dag, run: Run | None = None) -> list[str]:
    """Return what may keep a run of this DAG from running."""
    found: list[str] = []
    if dag.row.paused:
        found.append(f"DAG {dag.row.dag_id!r} is paused: the run waits until it is unpaused")
    online = [s for s in state.sessions.values() if takes_work(s)]
    if not online:
        found.append("no executor is online: tasks wait until one attaches")
    else:
        served = {q for s in online for q in s.row.queues}
        missing = sorted({t.queue for t in dag.spec.tasks if not t.empty} - served)
        if missing:
            found.append(f"no executor takes work from queue {', '.join(missing)}")
    cap = dag.spec.max_active_runs
    if run is not None and cap > 0 and dag.active > cap:
        found.append(f"{dag.active - 1} runs are queued or running and max_active_runs is {cap}")
    if run is not None and run.row.run_after > state.now:
        found.append(f"the run starts at {iso(run.row.run_after)}")
    return found
