"""Skipping what follows: what branch and short-circuit operators tell the scheduler.

A directive is left on the running task instance; the scheduler applies it, and applies it again after
a clear (see ``AttemptResult.skip_json``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from boraflow.exceptions import BoraflowException, suggest

if TYPE_CHECKING:
    from boraflow._context import Context


class SkipMixin:
    """For operators that skip some of what follows them."""

    def skip_all_except(self, ti: Any, branch_task_ids: str | Iterable[str] | None) -> list[str]:
        """Follow these direct downstream tasks or groups; skip the other direct downstreams.

        Returns the ids of the tasks followed.

        Raises:
            BoraflowException: an id is unknown, or not directly downstream.
        """
        if branch_task_ids is None:
            ids: list[str] = []
        elif isinstance(branch_task_ids, str):
            ids = [branch_task_ids]
        elif isinstance(branch_task_ids, Iterable):
            ids = list(branch_task_ids)
            for one in ids:
                if not isinstance(one, str):
                    raise BoraflowException(
                        "'branch_task_ids' expected all task IDs are strings. "
                        f"Invalid tasks found: {one!r} of type {type(one).__name__}"
                    )
        else:
            raise BoraflowException(
                "'branch_task_ids' must be either None, a task ID, or an Iterable of IDs, "
                f"but got {type(branch_task_ids).__name__!r}"
            )
        task = ti.task
        dag = task.dag
        groups = dag.task_group_dict
        follow: list[str] = []
        for one in ids:
            if dag.has_task(one):
                follow.append(one)
            elif one in groups:
                follow.extend(t.task_id for t in groups[one].get_roots())
            else:
                known = [*dag.task_ids, *(g for g in groups if g)]
                raise BoraflowException(
                    "'branch_task_ids' must contain only valid task_ids or task group ids of the DAG. "
                    f"Invalid tasks found: {one!r}{suggest(one, known)}"
                )
        direct = task.downstream_task_ids
        wrong = [one for one in follow if one not in direct]
        if wrong:
            raise BoraflowException(
                f"Branch callable must return task ids directly downstream of '{task.task_id}' "
                f"({', '.join(sorted(direct)) or 'there are none'}); got '{wrong[0]}'"
            )
        ti.skip_directive = {"kind": "branch", "follow": sorted(set(follow))}
        return follow

    def skip(self, ti: Any, tasks: Sequence[Any]) -> None:
        """Skip these direct downstream tasks."""
        skipped = {t if isinstance(t, str) else t.task_id for t in tasks}
        if not skipped:
            return
        task = ti.task
        direct: set[str] = task.downstream_task_ids
        beyond = skipped - direct
        if beyond and skipped >= task.get_flat_relative_ids(upstream=False) - {
            t.task_id for t in task.dag.tasks if t.is_teardown
        }:
            ti.skip_directive = {"kind": "short_circuit", "all": True}
            return
        if beyond:
            raise BoraflowException(
                f"skip() reaches only tasks directly downstream of '{task.task_id}'; "
                f"'{min(beyond)}' is not"
            )
        ti.skip_directive = {"kind": "branch", "follow": sorted(direct - skipped)}

    def short_circuit(self, ti: Any, *, everything: bool) -> None:
        """Skip what follows: the whole subtree, or the direct downstreams only."""
        ti.skip_directive = {"kind": "short_circuit", "all": bool(everything)}


class BranchMixIn(SkipMixin):
    """For operators that follow some of their downstreams."""

    def do_branch(self, context: Context, branches_to_execute: str | Iterable[str] | None) -> Any:
        """Follow these branches and return them, as Airflow does."""
        log: Any = getattr(self, "log", None)
        if log is not None:
            log.info("Branch into %s", branches_to_execute)
        self.skip_all_except(context["ti"], branches_to_execute)
        return branches_to_execute
