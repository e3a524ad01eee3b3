"""What ``dag.test()`` returns: the finished run, its task instances and what they pushed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from boraflow._xcom_backend import from_text
from boraflow.exceptions import BoraflowException
from boraflow.model.rows import RunRow
from boraflow.model.states import RunState, TaskState
from boraflow.runtime.memory_store import MemoryStore

if TYPE_CHECKING:
    from boraflow._asset_events import AssetEvent

_RETURN = "return_value"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How one task instance of the run ended."""

    run: DagTestRun = field(repr=False)
    task_id: str
    map_index: int
    state: TaskState
    try_number: int
    start_date: datetime | None
    end_date: datetime | None
    reason: str = ""
    """Why, where the state alone does not say so: the error of a failed task."""

    def xcom_pull(self, key: str = _RETURN, default: Any = None) -> Any:
        """Return what this instance pushed."""
        text = self.run.store.xcoms.get((self.task_id, self.map_index, key))
        return default if text is None else from_text(text, key)


class DagTestRun:
    """The finished run that ``dag.test()`` returns."""

    def __init__(self, store: MemoryStore, run_key: str) -> None:
        self.store = store
        self._key = run_key

    @property
    def _row(self) -> RunRow:
        return self.store.runs[self._key]

    @property
    def dag_id(self) -> str:
        return self._row.dag_id

    @property
    def run_id(self) -> str:
        return self._row.run_id

    @property
    def state(self) -> RunState:
        """``success`` or ``failed``."""
        return self._row.state

    @property
    def reason(self) -> str:
        """Why it has that state."""
        return self._row.reason

    @property
    def conf(self) -> dict[str, Any]:
        conf: dict[str, Any] = json.loads(self._row.conf_json or "{}")
        return conf

    @property
    def logical_date(self) -> datetime | None:
        return _date(self._row.logical_date)

    @property
    def start_date(self) -> datetime | None:
        return _date(self._row.start_date)

    @property
    def end_date(self) -> datetime | None:
        return _date(self._row.end_date)

    @property
    def task_instances(self) -> list[TaskResult]:
        """All task instances, by the order of the tasks in the DAG and by map index."""
        order = {task_id: i for i, task_id in enumerate(self.store.task_order)}
        rows = sorted(
            self.store.tasks.values(), key=lambda r: (order.get(r.task_id, 0), r.map_index)
        )
        return [
            TaskResult(
                self,
                r.task_id,
                r.map_index,
                r.state,
                r.try_number,
                _date(r.start_date),
                _date(r.end_date),
                self.store.errors.get((r.task_id, r.map_index), "") or r.reason,
            )
            for r in rows
        ]

    @property
    def task_states(self) -> dict[str, str]:
        """States by task id; a mapped task's instances are ``task_id[0]`` and so on."""
        return {
            t.task_id if t.map_index < 0 else f"{t.task_id}[{t.map_index}]": str(t.state)
            for t in self.task_instances
        }

    @property
    def xcoms(self) -> dict[str, Any]:
        """Return values by task id; a mapped task's is the list of them."""
        out: dict[str, Any] = {}
        for (task_id, map_index, key), text in sorted(self.store.xcoms.items()):
            if key != _RETURN:
                continue
            if map_index < 0:
                out[task_id] = from_text(text)
            else:
                out.setdefault(task_id, []).append(from_text(text))
        return out

    @property
    def result(self) -> dict[str, Any]:
        """Return values of the tasks that are marked with ``@result``, by task id."""
        return {k: v for k, v in self.xcoms.items() if k in self.store.results}

    @property
    def asset_events(self) -> list[AssetEvent]:
        """The events of assets that its tasks emitted, in order."""
        from boraflow._asset_events import event_from

        return [event_from(e) for e in self.store.asset_events_emitted]

    def xcom(
        self, task_id: str, key: str = _RETURN, map_index: int = -1, default: Any = None
    ) -> Any:
        """Return one XCom."""
        text = self.store.xcoms.get((task_id, map_index, key))
        return default if text is None else from_text(text, key)

    def get_task_instance(self, task_id: str, map_index: int = -1) -> TaskResult:
        """Return one task instance.

        Raises:
            BoraflowException: the run has none of that id and index.
        """
        for one in self.task_instances:
            if one.task_id == task_id and one.map_index == map_index:
                return one
        raise BoraflowException(
            f"the run has no task instance '{task_id}' with map index {map_index}"
        )

    def get_task_instances(self) -> list[TaskResult]:
        """Return all task instances."""
        return self.task_instances

    # --- for tests ---

    def assert_state(self, state: str) -> None:
        """Check how the run ended: ``success`` or ``failed``.

        Raises:
            AssertionError: it ended otherwise; names every task instance with its state and error.
        """
        if self.state != state:
            raise AssertionError(
                f"the run of '{self.dag_id}' is {self.state}, not {state}:\n{self._story()}"
            )

    def assert_success(self) -> None:
        """Check that the run succeeded; see :meth:`assert_state`."""
        self.assert_state("success")

    def assert_states(self, expected: Mapping[str, str]) -> None:
        """Check the states of task instances; those that are not named may have any.

        Args:
            expected: state by task id; by ``task_id[0]`` for one instance of a mapped task, by the plain id
                for all of them.

        Raises:
            AssertionError: one has another state, or does not exist.
        """
        wrong = []
        for name, state in expected.items():
            found = {
                label: one
                for label, one in self.task_states.items()
                if label == name or label.startswith(f"{name}[")
            }
            if not found:
                wrong.append(f"{name}: there is no such task instance")
            wrong += [f"{n}: {s}, not {state}" for n, s in found.items() if s != state]
        if wrong:
            raise AssertionError(
                f"the run of '{self.dag_id}' differs:\n  "
                + "\n  ".join(wrong)
                + f"\n{self._story()}"
            )

    def _story(self) -> str:
        lines = [f"  {self.run_id}: {self.state}" + (f" ({self.reason})" if self.reason else "")]
        for t in self.task_instances:
            label = t.task_id if t.map_index < 0 else f"{t.task_id}[{t.map_index}]"
            lines.append(f"  {label}: {t.state}" + (f" ({t.reason})" if t.reason else ""))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<DagTestRun {self.dag_id} {self.run_id}: {self.state}>"


def _date(value: int | None) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value / 1e6, UTC)
