"""Triggers that wait for runs and tasks of other DAGs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from boraflow._clock import to_micros
from boraflow._comms import current_comms, lane_comms
from boraflow.triggers.base import BaseTrigger, TriggerEvent


async def _ask(method: str, *args: Any) -> Any:
    """Ask the lane's comms, or the process's in a thread."""
    comms = lane_comms.get()
    if comms is not None:
        return await getattr(comms, method)(*args)
    plain = current_comms()
    if plain is None:
        raise RuntimeError(f"nobody to ask for {method}")
    return await asyncio.to_thread(getattr(plain, method), *args)


class WorkflowTrigger(BaseTrigger):
    """Fires when tasks, a group or a whole run of another DAG have ended one way or the other.

    Its event is ``{"status": "success" | "failed" | "skipped", "message": str}``.
    """

    def __init__(
        self,
        external_dag_id: str,
        logical_dates: Sequence[datetime] | None = None,
        run_ids: Sequence[str] | None = None,
        external_task_ids: Sequence[str] | None = None,
        external_task_group_id: str | None = None,
        allowed_states: Sequence[str] | None = None,
        skipped_states: Sequence[str] | None = None,
        failed_states: Sequence[str] | None = None,
        poke_interval: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.external_dag_id = external_dag_id
        self.logical_dates = list(logical_dates or ())
        self.run_ids = list(run_ids or ())
        self.external_task_ids = list(external_task_ids) if external_task_ids else None
        self.external_task_group_id = external_task_group_id
        self.allowed_states = list(allowed_states or ["success"])
        self.skipped_states = list(skipped_states or ())
        self.failed_states = list(failed_states or ())
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "boraflow.triggers.external_task.WorkflowTrigger",
            {
                "external_dag_id": self.external_dag_id,
                "logical_dates": self.logical_dates,
                "run_ids": self.run_ids,
                "external_task_ids": self.external_task_ids,
                "external_task_group_id": self.external_task_group_id,
                "allowed_states": self.allowed_states,
                "skipped_states": self.skipped_states,
                "failed_states": self.failed_states,
                "poke_interval": self.poke_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask again and again."""
        while True:
            verdict = await self._look()
            if verdict is not None:
                status, message = verdict
                yield TriggerEvent({"status": status, "message": message})
                return
            await asyncio.sleep(self.poke_interval)

    async def _look(self) -> tuple[str, str] | None:
        dates = [to_micros(d) for d in self.logical_dates]
        if self.external_task_ids is None and self.external_task_group_id is None:
            states = [
                await _ask("get_run_state", self.external_dag_id, None, date) for date in dates
            ] + [
                await _ask("get_run_state", self.external_dag_id, run_id, None)
                for run_id in self.run_ids
            ]
            groups = [[s] if s else [] for s in states]
        else:
            rows = await _ask(
                "get_task_states",
                self.external_dag_id,
                dates,
                self.run_ids,
                self.external_task_ids,
                self.external_task_group_id,
            )
            groups = group_states(rows, dates, self.run_ids, self.external_task_ids)
        return verdict_of(groups, self.allowed_states, self.skipped_states, self.failed_states)


def group_states(
    rows: Sequence[dict[str, Any]],
    dates: Sequence[int],
    run_ids: Sequence[str],
    task_ids: Sequence[str] | None,
) -> list[list[str]]:
    """Return the states of each awaited thing: one task of one run, or one group of one run."""
    groups: list[list[str]] = []
    for name, values in (("logical_date", dates), ("run_id", run_ids)):
        for value in values:
            of_run = [r for r in rows if r.get(name) == value]
            if task_ids is None:
                groups.append([str(r["state"]) for r in of_run])
            else:
                groups += [
                    [str(r["state"]) for r in of_run if r["task_id"] == task_id]
                    for task_id in task_ids
                ]
    return groups


def verdict_of(
    groups: Sequence[Sequence[str]],
    allowed: Sequence[str],
    skipped: Sequence[str],
    failed: Sequence[str],
) -> tuple[str, str] | None:
    """Return (success, skipped or failed; in words), or None while it is not decided."""
    states = [s for group in groups for s in group]
    bad = [s for s in states if s in failed]
    if bad:
        return "failed", f"{len(bad)} of {len(states)} are {', '.join(sorted(set(bad)))}"
    passed = [s for s in states if s in skipped]
    if passed:
        return "skipped", f"{len(passed)} of {len(states)} are {', '.join(sorted(set(passed)))}"
    if groups and all(group and all(s in allowed for s in group) for group in groups):
        return "success", f"{len(states)} reached {', '.join(sorted(set(states)))}"
    return None


class DagStateTrigger(BaseTrigger):
    """Fires when a run reaches one of some states; its event is ``{"state": ..., "run_id": ...}``."""

    def __init__(
        self,
        dag_id: str,
        states: Sequence[str],
        logical_dates: Sequence[datetime] | None = None,
        run_ids: Sequence[str] | None = None,
        poll_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.dag_id = dag_id
        self.states = [str(s) for s in states]
        self.logical_dates = list(logical_dates or ())
        self.run_ids = list(run_ids or ())
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "boraflow.triggers.external_task.DagStateTrigger",
            {
                "dag_id": self.dag_id,
                "states": self.states,
                "logical_dates": self.logical_dates,
                "run_ids": self.run_ids,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask again and again."""
        while True:
            states: list[tuple[str, str]] = []
            for run_id in self.run_ids:
                state = await _ask("get_run_state", self.dag_id, run_id, None)
                states.append((run_id, str(state)))
            for date in self.logical_dates:
                state = await _ask("get_run_state", self.dag_id, None, to_micros(date))
                states.append((date.isoformat(), str(state)))
            if states and all(s in self.states for _, s in states):
                yield TriggerEvent(
                    {"state": states[0][1], "run_id": states[0][0], "states": dict(states)}
                )
                return
            await asyncio.sleep(self.poll_interval)
