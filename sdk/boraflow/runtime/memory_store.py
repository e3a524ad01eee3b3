"""Rows and values of one run in memory, and the answers to what its tasks ask; for ``dag.test()``."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from boraflow import _clock
from boraflow.engine.commands import Commit, Reply
from boraflow.exceptions import BoraflowException
from boraflow.model.attempt import PushedXcom
from boraflow.model.rows import AttemptResult, AttemptRow, Micros, RunRow, TaskRow
from boraflow.model.states import Outcome, RunState, TaskState

log = logging.getLogger("boraflow.dagtest")


class MemoryStore:
    """Rows and values of one test run, and the answers to what its tasks ask."""

    def __init__(
        self,
        variables: Mapping[str, str] | None = None,
        connections: Mapping[str, Any] | None = None,
    ) -> None:
        self.runs: dict[str, RunRow] = {}
        self.tasks: dict[tuple[str, str, int], TaskRow] = {}
        self.attempts: dict[str, AttemptRow] = {}
        self.replies: dict[str, Reply] = {}
        self.xcoms: dict[tuple[str, int, str], str] = {}
        self.errors: dict[tuple[str, int], str] = {}
        self.rendered: dict[str, Any] = {}
        self.triggered: list[dict[str, Any]] = []
        self.asset_events_emitted: list[dict[str, Any]] = []
        self.triggering_asset_events: list[dict[str, Any]] = []
        self.variables = dict(variables or {})
        self.connections = dict(connections or {})
        self.states: dict[tuple[str, str], tuple[str, float | None]] = {}
        """Entries of state stores by scope (JSON) and key: JSON text, and when it goes (seconds)."""
        self.task_order: tuple[str, ...] = ()
        self.results: frozenset[str] = frozenset()
        self.groups: dict[str, set[str]] = {}

    # --- commits ---

    def apply(self, commit: Commit) -> list[AttemptResult]:
        """Take a commit's rows; return the results of the attempts that it closes."""
        for run in (*commit.new_runs, *commit.runs):
            self.runs[run.run_key] = replace(run)
        for key in commit.dropped_tasks:
            self.tasks.pop(key, None)
        for task in (*commit.new_tasks, *commit.tasks):
            former = self.tasks.get(task.key)
            if former is None or former.state != task.state:
                _say(task)
            self.tasks[task.key] = replace(task)
        for attempt in commit.new_attempts:
            self.attempts[attempt.attempt_id] = replace(attempt)
        closed: list[AttemptResult] = []
        for close in commit.closes:
            row = self.attempts[close.attempt_id]
            if row.result is None:
                row.result = AttemptResult(close.attempt_id, close.outcome, error=close.error)
            closed.append(row.result)
        for reply in commit.replies:
            self.replies[reply.command_id] = reply
        return closed

    def begin_try(self, task_id: str, map_index: int) -> None:
        """Forget the XComs of the try before."""
        for key in [k for k in self.xcoms if k[:2] == (task_id, map_index)]:
            del self.xcoms[key]

    def keep_xcoms(self, task_id: str, map_index: int, xcoms: Sequence[PushedXcom]) -> None:
        """Keep what an attempt pushed."""
        for xcom in xcoms:
            # The newest is last.
            self.xcoms.pop((task_id, map_index, xcom.key), None)
            self.xcoms[task_id, map_index, xcom.key] = xcom.value_json

    # --- Comms ---

    def _here(self, dag_id: str, run_id: str | None) -> bool:
        return any(
            r.dag_id == dag_id and (run_id is None or r.run_id == run_id)
            for r in self.runs.values()
        )

    def get_xcom(
        self, dag_id: str, run_id: str, task_id: str, map_index: int | None, key: str
    ) -> str | None:
        if not self._here(dag_id, run_id):
            return None
        return self.xcoms.get((task_id, -1 if map_index is None else map_index, key))

    def get_xcoms(
        self,
        dag_id: str,
        run_id: str | None,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] | None,
        key: str,
        include_prior_dates: bool,
    ) -> list[tuple[str, int, str]]:
        if not self._here(dag_id, run_id):
            return []
        return [
            (task_id, index, text)
            for (task_id, index, one), text in sorted(self.xcoms.items())
            if one == key
            and (not task_ids or task_id in task_ids)
            and (map_indexes is None or index in map_indexes)
        ]

    def get_newest_xcoms(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] | None,
        include_prior_dates: bool,
        key: str | None = None,
    ) -> list[tuple[str, int, str, str]]:
        if not self._here(dag_id, run_id):
            return []
        newest: dict[tuple[str, int], tuple[str, int, str, str]] = {}
        for (task_id, index, one), text in reversed(self.xcoms.items()):
            if (
                key in (None, one)
                and (not task_ids or task_id in task_ids)
                and (map_indexes is None or index in map_indexes)
            ):
                newest.setdefault((task_id, index), (task_id, index, one, text))
        return list(newest.values())

    def get_mapped_item(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int | None,
        key: str,
        position: int,
        batch: str,
    ) -> tuple[int, str | None] | None:
        if map_index is None:
            rows = self.get_xcoms(dag_id, run_id, [task_id], None, key, False)
            texts: Sequence[str] = [text for _, _, text in rows]
            return len(texts), texts[position] if position < len(texts) else None
        items = json.loads(self.get_xcom(dag_id, run_id, task_id, map_index, key) or "null")
        if not isinstance(items, list):
            return None
        return len(items), json.dumps(items[position]) if position < len(items) else None

    def get_variable(self, key: str) -> str | None:
        return self.variables.get(key)

    def set_variable(self, key: str, value: str, description: str | None = None) -> None:
        self.variables[key] = value

    def delete_variable(self, key: str) -> None:
        self.variables.pop(key, None)

    def get_connection(self, conn_id: str) -> dict[str, Any] | None:
        value = self.connections.get(conn_id)
        return None if value is None else dict(value)

    def previous_success(self, dag_id: str, before: Micros) -> dict[str, Micros | None] | None:
        return None

    def trigger_dag_run(self, request: dict[str, Any]) -> dict[str, Any]:
        run_id = str(request.get("run_id") or f"operator_triggered__test_{len(self.triggered)}")
        self.triggered.append({**request, "run_id": run_id})
        log.warning(
            "dag.test() does not run the triggered DAG %s (%s)", request.get("dag_id"), run_id
        )
        return {"run_id": run_id, "created": True}

    def dag_exists(self, dag_id: str) -> bool:
        return self._here(dag_id, None) or any(t["dag_id"] == dag_id for t in self.triggered)

    def get_run_state(
        self, dag_id: str, run_id: str | None, logical_date: Micros | None
    ) -> str | None:
        for run in self.runs.values():
            if run.dag_id == dag_id and (
                run.run_id == run_id or (run_id is None and run.logical_date == logical_date)
            ):
                return run.state.value
        if any(t["dag_id"] == dag_id and t["run_id"] == run_id for t in self.triggered):
            return RunState.SUCCESS.value
        return None

    def get_task_states(
        self,
        dag_id: str,
        logical_dates: Sequence[Micros],
        run_ids: Sequence[str],
        task_ids: Sequence[str] | None,
        group_id: str | None,
    ) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        members = self.groups.get(group_id, set()) if group_id is not None else None
        for task in self.tasks.values():
            run = self.runs[task.run_key]
            if run.dag_id != dag_id:
                continue
            if run.run_id not in run_ids and run.logical_date not in logical_dates:
                continue
            if task_ids is not None and task.task_id not in task_ids:
                continue
            if members is not None and task.task_id not in members:
                continue
            out.append(
                {
                    "run_id": run.run_id,
                    "logical_date": run.logical_date,
                    "task_id": task.task_id,
                    "map_index": task.map_index,
                    "state": task.state.value,
                }
            )
        return out

    def asset_events(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        events = self.asset_events_emitted
        if "triggered_run_id" in query:
            events = self.triggering_asset_events
        found = [
            e
            for e in events
            if query.get("name") in (None, e["name"])
            and query.get("uri") in (None, e["uri"])
            and (query.get("alias") is None or query["alias"] in e["aliases"])
            and query.get("after", 0) <= e["time"] <= query.get("before", e["time"])
        ]
        if query.get("descending"):
            found.reverse()
        return found[: query.get("limit") or len(found)]

    def check_assets(self, assets: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return []

    def keep_asset_events(self, run: RunRow, row: AttemptRow, result: AttemptResult) -> None:
        """Keep what an attempt that succeeded says of its outlets."""
        if result.outcome is not Outcome.SUCCESS or not result.asset_events_json:
            return
        for event in json.loads(result.asset_events_json):
            name, uri = event.get("name"), event.get("uri")
            self.asset_events_emitted.append(
                {
                    "id": len(self.asset_events_emitted) + 1,
                    "name": name if name is not None else uri,
                    "uri": uri if uri is not None else name,
                    "time": result.end_date or 0,
                    "extra": event.get("extra") or {},
                    "dag_id": run.dag_id,
                    "run_id": run.run_id,
                    "task_id": row.task_id,
                    "map_index": row.map_index,
                    "aliases": event.get("aliases") or [],
                    "partition_key": event.get("partition_key") or "",
                    "logical_date": run.logical_date,
                    "interval_start": run.interval_start,
                    "interval_end": run.interval_end,
                }
            )

    def get_state(self, scope: dict[str, Any], key: str) -> str | None:
        text, until = self.states.get((json.dumps(scope), key), (None, None))
        return None if until is not None and until <= _clock.micros() else text

    def set_state(
        self, scope: dict[str, Any], key: str, value_json: str, retention_us: int | None
    ) -> str:
        until = _clock.micros() + retention_us if retention_us else None
        self.states[json.dumps(scope), key] = (value_json, until)
        return ""

    def delete_state(self, scope: dict[str, Any], key: str | None) -> None:
        whose = json.dumps(scope)
        for known in [k for k in self.states if k[0] == whose and key in (None, k[1])]:
            del self.states[known]

    def set_rendered_fields(self, fields: dict[str, Any]) -> None:
        self.rendered.update(fields)

    def mask(self, secret: str) -> None:
        """There is no stored log to mask."""


_SHOWN = {
    TaskState.UP_FOR_RETRY: "will be tried again",
    TaskState.UP_FOR_RESCHEDULE: "will be poked again",
    TaskState.DEFERRED: "waits for its trigger",
    TaskState.AWAITING_INPUT: "waits for a person",
}


def _say(task: TaskRow) -> None:
    name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
    if task.state in (
        TaskState.SUCCESS,
        TaskState.FAILED,
        TaskState.SKIPPED,
        TaskState.UPSTREAM_FAILED,
        TaskState.REMOVED,
    ):
        log.info("--- %s: %s%s", name, task.state, f" ({task.reason})" if task.reason else "")
    elif task.state in _SHOWN:
        log.info("--- %s: %s (%s)", name, task.state, _SHOWN[task.state])


# --- files with connections and variables --------------------------------------------------------


def read_secrets(path: str | Path | None) -> dict[str, Any]:
    """Return the names and values of a JSON, YAML or ``.env`` file.

    Raises:
        BoraflowException: it cannot be read, or is none of these.
    """
    if path is None:
        return {}
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as err:
        raise BoraflowException(f"cannot read {file}: {err.strerror}") from None
    try:
        match file.suffix:
            case ".json":
                data = json.loads(text)
            case ".yaml" | ".yml":
                import yaml

                data = yaml.safe_load(text)
            case ".env":
                data = dict(env_lines(file, text))
            case _:
                raise BoraflowException(f"{file}: a .json, .yaml or .env file is expected")
    except ValueError as err:
        raise BoraflowException(f"{file} cannot be read: {err}") from None
    except ImportError:
        raise BoraflowException(f"{file}: reading YAML needs the package pyyaml") from None
    if not isinstance(data, dict):
        raise BoraflowException(f"{file} must hold names and values")
    return {str(k): v for k, v in data.items()}


def env_lines(file: Path | str, text: str) -> Iterator[tuple[str, str]]:
    """Yield names and values of an environment file.

    Raises:
        BoraflowException: a line is none; with file and line.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, sign, value = line.partition("=")
        if not sign:
            raise BoraflowException(f"{file}:{number}: NAME=value is expected")
        value = value.strip()
        if value[:1] in ("'", '"'):
            try:
                value = "".join(shlex.split(value))
            except ValueError as err:
                raise BoraflowException(f"{file}:{number}: {err}") from None
        yield name.strip().removeprefix("export "), value


def as_connection(conn_id: str, value: Any) -> dict[str, Any]:
    """Return a connection's fields, given as a URI or as a dict of fields."""
    from boraflow._connection import Connection

    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        text = value.strip()
        connection = (
            Connection.from_json(text, conn_id)
            if text.startswith("{")
            else Connection(conn_id, uri=text)
        )
    elif isinstance(value, dict):
        connection = Connection.from_json(json.dumps(value), conn_id)
    else:
        raise BoraflowException(f"connection '{conn_id}' must be a URI or a dict of fields")
    return connection.as_dict()
