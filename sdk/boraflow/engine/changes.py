"""What changed since the last commit, and becomes the next one.

Rows that change in place are only marked; :meth:`Changes.collect` copies them, since a commit must not change
once it is sent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from boraflow.engine.commands import (
    After,
    AssetConsumption,
    CloseAttempt,
    Commit,
    PartitionConsumption,
    Reply,
    StoryEntry,
)
from boraflow.model.rows import (
    AssetQueueRow,
    AttemptRow,
    ExecutorRow,
    PartitionEventRow,
    RunRow,
    TaskKey,
    TaskRow,
)

if TYPE_CHECKING:
    from boraflow.engine.records import Backfill, Dag, Run, Session, Task


class Changes:
    """The rows that the next commit writes, and what is done once it has landed."""

    def __init__(self) -> None:
        self.dirty_tasks: list[Task] = []
        self.dirty_runs: list[Run] = []
        self.dirty_dags: list[Dag] = []
        self.dirty_backfills: list[Backfill] = []
        self.dropped: list[TaskKey] = []
        self.new_attempts: list[AttemptRow] = []
        self.executors: dict[str, ExecutorRow] = {}
        self.handled: list[str] = []
        self.released: list[str] = []
        self.closes: list[CloseAttempt] = []
        self.replies: list[Reply] = []
        self.story: list[StoryEntry] = []
        self.handled_asset_events: list[int] = []
        self.asset_consumptions: list[AssetConsumption] = []
        self.asset_queue: dict[tuple[str, str, str], AssetQueueRow] = {}
        self.dropped_asset_queue: dict[tuple[str, str, str], None] = {}
        self.partition_events: dict[tuple[str, str, int], PartitionEventRow] = {}
        self.dropped_partition_events: dict[tuple[str, str, int], None] = {}
        self.partition_consumptions: list[PartitionConsumption] = []
        self.after: list[After] = []

    def touch(self, task: Task) -> None:
        """Have the task's row in the next commit."""
        if not task.dirty:
            task.dirty = True
            self.dirty_tasks.append(task)

    def touch_run(self, run: Run) -> None:
        """Have the run's row in the next commit."""
        if not run.dirty:
            run.dirty = True
            self.dirty_runs.append(run)

    def touch_dag(self, dag: Dag) -> None:
        """Have the DAG's row in the next commit."""
        if not dag.dirty:
            dag.dirty = True
            self.dirty_dags.append(dag)

    def touch_backfill(self, backfill: Backfill) -> None:
        """Have the backfill's row in the next commit."""
        if not backfill.dirty:
            backfill.dirty = True
            self.dirty_backfills.append(backfill)

    def touch_executor(self, session: Session) -> None:
        """Have the session's row, as it is now, in the next commit."""
        self.executors[session.row.executor_id] = replace(session.row)

    def touch_queued_asset(self, row: AssetQueueRow) -> None:
        """Have a row of the asset queue in the next commit."""
        self.asset_queue[row.key] = row

    def forget_queued_asset(self, row: AssetQueueRow) -> None:
        """A row of the asset queue became part of a run, whose commit deletes it."""
        self.asset_queue.pop(row.key, None)

    def drop_queued_asset(self, row: AssetQueueRow) -> None:
        """Have a row of the asset queue deleted by the next commit."""
        self.asset_queue.pop(row.key, None)
        self.dropped_asset_queue[row.key] = None

    def forget_partition_event(self, row: PartitionEventRow) -> None:
        """A pending event became part of a run, whose commit deletes it."""
        self.partition_events.pop(row.key, None)

    def drop_partition_event(self, row: PartitionEventRow) -> None:
        """Have a pending event deleted by the next commit."""
        self.forget_partition_event(row)
        self.dropped_partition_events[row.key] = None

    def tell_people(
        self, run: Run | None, task_id: str, actor: str, action: str, detail: str = ""
    ) -> None:
        """Write a line of the audit log."""
        row = run.row if run is not None else None
        self.story.append(
            StoryEntry(
                row.dag_id if row else "", row.run_id if row else "", task_id, actor, action, detail
            )
        )

    def collect_runs(self, sequence: int) -> tuple[list[RunRow], list[RunRow]]:
        """Copy changed runs, before work is handed out: assignments refer to the copies."""
        new: list[RunRow] = []
        changed: list[RunRow] = []
        for run in self.dirty_runs:
            run.dirty = False
            run.row.row_version += 1
            run.shared = replace(run.row)
            if run.finish_sequence is not None:
                run.finish_sequence = sequence
            if run.new:
                run.new = False
                new.append(run.shared)
            else:
                changed.append(run.shared)
        self.dirty_runs.clear()
        return new, changed

    def collect(self, sequence: int, new_runs: list[RunRow], runs: list[RunRow]) -> Commit:
        """Return the commit of everything noted, and begin anew."""
        commit = Commit(sequence, new_runs=new_runs, runs=runs)
        new_tasks = commit.new_tasks
        tasks = commit.tasks
        for task in self.dirty_tasks:
            task.dirty = False
            if task.dropped:
                continue
            row = task.row
            row.row_version += 1
            if task.run.finish_sequence is not None:
                task.run.finish_sequence = sequence
            if task.new:
                task.new = False
                new_tasks.append(copy_task(row))
            else:
                tasks.append(copy_task(row))
        self.dirty_tasks.clear()
        for dag in self.dirty_dags:
            dag.dirty = False
            dag.row.row_version += 1
            commit.dags.append(replace(dag.row))
        self.dirty_dags.clear()
        for backfill in self.dirty_backfills:
            backfill.dirty = False
            backfill.row.row_version += 1
            commit.backfills.append(replace(backfill.row))
        self.dirty_backfills.clear()
        commit.executors = list(self.executors.values())
        self.executors = {}
        commit.dropped_tasks, self.dropped = self.dropped, []
        commit.new_attempts, self.new_attempts = self.new_attempts, []
        commit.handled, self.handled = self.handled, []
        commit.released, self.released = self.released, []
        commit.closes, self.closes = self.closes, []
        commit.replies, self.replies = self.replies, []
        commit.story, self.story = self.story, []
        if self.handled_asset_events or self.dropped_asset_queue:
            commit.handled_asset_events, self.handled_asset_events = self.handled_asset_events, []
            commit.dropped_asset_queue = list(self.dropped_asset_queue)
            self.dropped_asset_queue = {}
        if self.asset_consumptions or self.asset_queue:
            commit.asset_consumptions, self.asset_consumptions = self.asset_consumptions, []
            commit.asset_queue = [replace(row) for row in self.asset_queue.values()]
            self.asset_queue = {}
        if self.partition_events or self.dropped_partition_events or self.partition_consumptions:
            commit.partition_events = list(self.partition_events.values())
            self.partition_events = {}
            commit.dropped_partition_events = list(self.dropped_partition_events)
            self.dropped_partition_events = {}
            commit.partition_consumptions = self.partition_consumptions
            self.partition_consumptions = []
        return commit


def copy_task(r: TaskRow) -> TaskRow:
    """Return a copy; commits must not change once sent. Spelled out because it is the hot path."""
    return TaskRow(
        r.run_key, r.task_id, r.map_index, r.state, r.try_number, r.max_tries, r.attempt_id,
        r.scheduled_at, r.queued_at, r.start_date, r.end_date, r.wake_at, r.deadline, r.reason,
        r.map_length, r.pushed, r.skip_json, r.next_json, r.rendered_map_index, r.poke_start,
        r.reschedules, r.row_version,
    )  # fmt: skip
