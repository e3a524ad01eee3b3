"""Dependence on the previous run: ``depends_on_past`` and ``wait_for_downstream``.

Which run is the previous one only the metastore knows (it may be long finished), so each run that has
such tasks asks once; when the answer is a run in memory, that one is watched from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from boraflow.engine.asking import ask_shell
from boraflow.engine.commands import AskPrevious
from boraflow.engine.records import Dag, Previous, Run, Task
from boraflow.engine.state import State
from boraflow.model.states import RUN_FINISHED, SUCCESS_STATES, TaskState

if TYPE_CHECKING:
    from boraflow.engine.events import Answered


def met(state: State, task: Task) -> bool:
    """Tell whether the instance's past dependencies hold; asks when it is not known yet."""
    if task.past:
        return True
    run = task.run
    if run.row.logical_date is None or run.row.reason.startswith("ending_"):
        return True  # A run without a past, or one that is ended by hand: teardowns run now.
    if run.prev is None:
        _ask(state, run)
        return False
    if run.prev.ask_id:
        return False
    task.past = not unmet(task)
    return task.past


def unmet(task: Task) -> str:
    """Return what is missing in the previous run, in words; empty when nothing is."""
    run = task.run
    prev = run.prev
    spec = task.node.spec
    if prev is None or prev.ask_id:
        return "the previous run is being looked up"
    if not prev.exists:
        return ""
    first = run.backfill
    if first is not None and prev.logical is not None and prev.logical < first.row.from_date:
        return ""
    states = states_in(prev, task.row.task_id)
    if not states:
        if spec.ignore_first_depends_on_past and not prev.any_earlier.get(task.row.task_id):
            return ""
        return "the previous run has no instance of this task"
    for found in states:
        if found not in SUCCESS_STATES:
            return f"in the previous run it is {found}"
    if spec.wait_for_downstream:
        for down in task.node.downstream:
            for found in states_in(prev, down.task_id):
                if found not in SUCCESS_STATES:
                    return f"in the previous run {down.task_id} is {found}"
    return ""


def states_in(prev: Previous, task_id: str) -> list[TaskState]:
    """Return the states of a task's instances in the previous run; removed ones do not count."""
    if prev.run is not None:
        node = prev.run.graph.by_id.get(task_id)
        found = [t.row.state for t in prev.run.nodes[node.index].tasks] if node is not None else []
    else:
        found = prev.states.get(task_id, [])
    return [s for s in found if s is not TaskState.REMOVED]


def _ask(state: State, run: Run) -> None:
    prev = run.prev = Previous()
    prev.ask_id = state.mint()
    assert run.row.logical_date is not None
    ask = AskPrevious(
        prev.ask_id,
        run.row.dag_id,
        run.row.logical_date,
        run.graph.past_tasks,
        run.graph.dag.catchup,
    )
    ask_shell(state, ask, lambda answer: _answered(state, run, prev, answer))


def _answered(state: State, run: Run, prev: Previous, answer: Answered) -> None:
    if run.prev is not prev or run.row.run_key not in state.runs:
        return
    if answer.error:
        run.prev = None
        state.later(state.settings.ask_timeout, _look_again, run)
        return
    prev.ask_id = ""
    value = answer.value if isinstance(answer.value, dict) else {}
    prev.any_earlier = value.get("any_earlier") or {}
    if answer.runs:
        row = answer.runs[0]
        prev.exists = True
        prev.run_key = row.run_key
        prev.logical = row.logical_date
        known = state.runs.get(row.run_key)
        if known is not None:
            prev.run = known
            known.successors.append(run)
        elif row.state not in RUN_FINISHED:
            # It ended while the answer was under way.
            run.prev = None
            _look_again(state, run)
            return
        else:
            for task in answer.tasks:
                prev.states.setdefault(task.task_id, []).append(task.state)
    _look_again(state, run)


def _look_again(state: State, run: Run) -> None:
    if state.runs.get(run.row.run_key) is not run:
        return
    for node in run.graph.nodes:
        if node.needs_past:
            state.to_judge.append((run.nodes[node.index], None))


def changed(state: State, task: Task) -> None:
    """A task of a run that others look back at changed its state."""
    node = task.node
    for run in task.run.successors:
        if state.runs.get(run.row.run_key) is not run:
            continue
        mine = run.graph.by_id.get(node.task_id)
        if mine is None:
            continue
        if mine.needs_past:
            state.to_judge.append((run.nodes[mine.index], None))
        for up in mine.upstream:
            if up.spec.wait_for_downstream:
                state.to_judge.append((run.nodes[up.index], None))


def created(state: State, dag: Dag, run: Run) -> None:
    """A run came to be: it may be the previous one of those after it."""
    date = run.row.logical_date
    if date is None or not run.graph.past_tasks:
        return
    for other in dag.runs.values():
        prev = other.prev
        later = other.row.logical_date
        if prev is None or later is None or later <= date:
            continue
        if prev.logical is None or prev.logical < date:
            unlink(other)
            for node in other.graph.nodes:
                if node.needs_past:
                    for task in other.nodes[node.index].tasks:
                        task.past = False
            _look_again(state, other)


def deleted(state: State, dag: Dag, run_id: str) -> None:
    """A run was deleted: those after it have another previous one."""
    for other in dag.runs.values():
        if other.prev is not None and other.row.run_id != run_id and not other.prev.ask_id:
            unlink(other)
            _look_again(state, other)


def loaded(dag: Dag, run: Run) -> None:
    """A finished run is back in memory: watch it where it is somebody's previous one."""
    for other in dag.runs.values():
        prev = other.prev
        if prev is not None and prev.run_key == run.row.run_key and prev.run is None:
            prev.run = run
            run.successors.append(other)


def forgotten(run: Run) -> None:
    """A run leaves memory: those that look at it keep what they saw."""
    for other in run.successors:
        prev = other.prev
        if prev is None or prev.run is not run:
            continue
        for task_id in other.graph.past_tasks:
            node = run.graph.by_id.get(task_id)
            if node is not None:
                prev.states[task_id] = [t.row.state for t in run.nodes[node.index].tasks]
        prev.run = None
    run.successors.clear()
    unlink(run)


def unlink(run: Run) -> None:
    """Forget which run is the previous one."""
    if run.prev is not None and run.prev.run is not None and run in run.prev.run.successors:
        run.prev.run.successors.remove(run)
    run.prev = None
