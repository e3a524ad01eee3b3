"""The dialogs of runs and tasks: clear, mark, cancel, note. Each asks once, with what it will do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from boraflow.api.model.v1.run_pb2 import TaskInstance
from boraflow.rpc.errors import ApiError
from boraflow_ui import data, states
from boraflow_ui.components import mount
from boraflow_ui.dialog_parts import buttons as _buttons
from boraflow_ui.frame import close_dialog, dialog, once, problem
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import affected_rows

_SHOWN = 200


def register() -> None:
    """Make the dialogs known (importing this module does)."""


# --- clear, mark, cancel -----------------------------------------------------------------------------


def _preview(
    what: Callable[[], list[TaskInstance]],
    verb: str,
    nothing: str,
    then: Callable[[TaskInstance], str] | None = None,
) -> list[TaskInstance] | None:
    """Show what an action would touch; ``then`` says what becomes of each where that differs."""
    try:
        affected = what()
    except ApiError as error:
        problem(error, "preview_problem")
        return None
    if not affected:
        st.info(nothing)
        return None
    runs = len({t.run_id for t in affected})
    rows = affected_rows(affected[:_SHOWN])
    if then is not None:
        for row, task in zip(rows, affected, strict=False):
            row["cells"]["then"] = then(task)
    n = len(affected)
    st.markdown(
        ngettext(
            "**{n} task instance** will be {verb}:",
            "**{n} task instances** will be {verb}:",
            n,
            verb=verb,
        )
        if runs == 1
        else _(
            "**{n} task instances** in {runs} runs will be {verb}:",
            n=f"{n:,}",
            runs=runs,
            verb=verb,
        )
    )
    with st.container(height=min(300, 46 + 34 * min(len(affected), 8)), border=False):
        mount(
            "table",
            "affected",
            {
                "columns": [
                    {"id": "state", "label": _("Now"), "type": "state", "width": "150px"},
                    {"id": "task", "label": _("Task"), "type": "text"},
                    *([{"id": "run", "label": _("Run"), "type": "text"}] if runs > 1 else []),
                    *([{"id": "then", "label": _("Then"), "type": "text"}] if then else []),
                ],
                "rows": rows,
                "foot": {"text": _("and {value} more", value=len(affected) - _SHOWN)}
                if len(affected) > _SHOWN
                else None,
            },
        )
    return affected


def _apply(action: Callable[[], Any], told: str, key: str) -> None:
    try:
        with st.spinner(_("Working …")):
            once(action, told)
    except ApiError as error:
        problem(error, f"{key}_refused")


def _reach(key: str) -> dict[str, bool]:
    """Ask which neighbours an action also touches."""
    with st.container(horizontal=True):
        return {
            "downstream": st.toggle(_("Tasks after it"), key=f"{key}_downstream"),
            "upstream": st.toggle(_("Tasks before it"), key=f"{key}_upstream"),
            "past": st.toggle(_("Earlier runs"), key=f"{key}_past"),
            "future": st.toggle(_("Later runs"), key=f"{key}_future"),
        }


@dialog("clear_task")
def clear_task(values: dict[str, Any]) -> None:
    """Ask how far a clear reaches; show what it would clear."""
    dag_id, run_id, task_id = values["dag_id"], values["run_id"], values["task_id"]
    indexes = [values["map_index"]] if values.get("map_index", -1) >= 0 else []

    @st.dialog(_("Clear {task_id}", task_id=task_id), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(_("Cleared tasks run again. Running ones are stopped first."))
        if "clear_downstream" not in st.session_state:
            st.session_state["clear_downstream"] = True
        reach = _reach("clear")
        with st.container(horizontal=True):
            only_failed = st.toggle(_("Only failed ones"), key="clear_only_failed")
            latest = st.toggle(_("Use the DAG's latest version"), key="clear_latest")

        def clear(*, dry_run: bool) -> list[TaskInstance]:
            return data.source().clear_tasks(
                dag_id,
                run_id,
                [task_id],
                indexes,
                only_failed=only_failed,
                latest_version=latest,
                dry_run=dry_run,
                **reach,
            )

        affected = _preview(
            lambda: clear(dry_run=True), _("cleared"), _("Nothing would be cleared.")
        )
        if _buttons(
            _("Clear {n}", n=len(affected or [])), disabled=not affected, key="clear_task_go"
        ):
            _apply(
                lambda: clear(dry_run=False),
                _("Cleared {n} tasks", n=len(affected or [])),
                "clear_task",
            )

    show()


@dialog("clear_run")
def clear_run(values: dict[str, Any]) -> None:
    """Show which tasks of a run would run again."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog(_("Clear this run"), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(run_id)
        with st.container(horizontal=True):
            only_failed = st.toggle(
                _("Only failed ones"),
                key="clear_run_failed",
                value=values.get("only_failed", False),
            )
            latest = st.toggle(_("Use the DAG's latest version"), key="clear_run_latest")

        def clear(*, dry_run: bool) -> list[TaskInstance]:
            return data.source().clear_run(
                dag_id, run_id, only_failed=only_failed, latest_version=latest, dry_run=dry_run
            )

        affected = _preview(
            lambda: clear(dry_run=True),
            _("cleared and run again"),
            _("Nothing would be cleared: no task of this run failed.")
            if only_failed
            else _("Nothing would be cleared."),
        )
        if _buttons(
            _("Clear {n}", n=len(affected or [])), disabled=not affected, key="clear_run_go"
        ):
            _apply(
                lambda: clear(dry_run=False),
                _("Cleared {n} tasks", n=len(affected or [])),
                "clear_run",
            )

    show()


def _reached(
    dag_id: str, run_id: str, task_id: str, *, upstream: bool, downstream: bool, **_: bool
) -> set[str]:
    """Return the tasks that are marked themselves; failed ones after them are cleared."""
    try:
        run = data.source().run(dag_id, run_id)
        tasks = data.source().spec(dag_id, run.dag_version).tasks
    except ApiError:
        return {task_id}
    up = {t.task_id: set(t.upstream) for t in tasks}
    found = {task_id}
    if upstream:
        queue = [task_id]
        while queue:
            new = up.get(queue.pop(), set()) - found
            found |= new
            queue += new
    if downstream:
        after = {task_id}
        # Tasks come in topological order: one pass reaches all.
        for task in tasks:
            if after & set(task.upstream):
                after.add(task.task_id)
        found |= after
    return found


@dialog("mark_task")
def mark_task(values: dict[str, Any]) -> None:
    """Ask for a state and its reach; show what it would set."""
    dag_id, run_id, task_id = values["dag_id"], values["run_id"], values["task_id"]
    indexes = [values["map_index"]] if values.get("map_index", -1) >= 0 else []

    @st.dialog(_("Mark {task_id}", task_id=task_id), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        state = (
            st.segmented_control(
                _("State"),
                ["success", "failed", "skipped"],
                default="success",
                key="mark_state",
                format_func=states.words,
            )
            or "success"
        )
        reach = _reach("mark")

        def mark(*, dry_run: bool) -> list[TaskInstance]:
            return data.source().mark_tasks(
                dag_id, run_id, [task_id], indexes, state=state, dry_run=dry_run, **reach
            )

        marked = _reached(dag_id, run_id, task_id, **reach)
        affected = _preview(
            lambda: mark(dry_run=True),
            _("changed"),
            _("Nothing would change: it is {words} already.", words=states.words(state)),
            lambda t: states.words(state) if t.task_id in marked else _("runs again"),
        )
        if _buttons(
            _("Mark {words}", words=states.words(state)),
            disabled=not affected,
            key="mark_task_go",
        ):
            _apply(
                lambda: mark(dry_run=False),
                _("Marked {task_id} {words}", task_id=task_id, words=states.words(state)),
                "mark_task",
            )

    show()


@dialog("mark_run")
def mark_run(values: dict[str, Any]) -> None:
    """Ask for a run's state; show which unfinished tasks would get it too."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog(_("Mark this run"), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(run_id)
        state: Any = (
            st.segmented_control(
                _("State"),
                ["success", "failed"],
                default="success",
                key="mark_run_state",
                format_func=states.words,
            )
            or "success"
        )
        try:
            affected = data.source().mark_run(dag_id, run_id, state, dry_run=True)
        except ApiError as error:
            problem(error, "mark_run_problem")
            affected = None
        if affected:
            _preview(lambda: affected, _("set with it"), "")
        elif affected is not None:
            st.markdown(_("Only the run's own state changes."))
        if _buttons(
            _("Mark {words}", words=states.words(state)),
            disabled=affected is None,
            key="mark_run_go",
        ):
            _apply(
                lambda: data.source().mark_run(dag_id, run_id, state, dry_run=False),
                _("Marked the run {state}", state=states.words(state)),
                "mark_run",
            )

    show()


@dialog("cancel_run")
def cancel_run(values: dict[str, Any]) -> None:
    """Ask once before a run is stopped; show what is stopped."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog(_("Cancel this run"), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(run_id)
        # The preview of a run marked failed is what a cancel does.
        _preview(
            lambda: data.source().mark_run(dag_id, run_id, "failed", dry_run=True),
            _("stopped or skipped; the run fails"),
            _("No task is left to stop; the run fails."),
        )
        if _buttons(_("Cancel the run"), key="cancel_run_go"):
            _apply(
                lambda: data.source().cancel_run(dag_id, run_id),
                _("Cancelled the run"),
                "cancel_run",
            )

    show()


@dialog("note")
def note(values: dict[str, Any]) -> None:
    """Ask for a run's note."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog(_("Note"), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        text = st.text_area(
            _("What others should know of this run"),
            value=values.get("note", ""),
            max_chars=1000,
            height=160,
            key=f"note_{run_id}",
        )
        if _buttons(_("Save"), key="note_go"):
            _apply(
                lambda: data.source().set_note(dag_id, run_id, text or ""),
                _("Saved the note"),
                "note",
            )

    show()


__all__ = ["register"]
