"""The dialogs of DAGs: what is done to many at once, backfills. Each says first what it will do."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import streamlit as st

from boraflow.model.timetables import CronPartitionTimetable
from boraflow.rpc.errors import ApiError
from boraflow_ui import dag_data, data, params, states
from boraflow_ui.components import mount
from boraflow_ui.dialog_parts import bullets, buttons, done, plain
from boraflow_ui.frame import close_dialog, dialog, once, problem
from boraflow_ui.messages import N_, _, ngettext

# --- many at once ------------------------------------------------------------------------------------

_BULK = {
    "pause": (
        N_("Pause"),
        N_("No new run of them is created and no task started; running tasks finish."),
    ),
    "unpause": (N_("Unpause"), N_("Their runs are created and their tasks started again.")),
    "trigger": (N_("Trigger"), N_("Each gets one new run with the defaults of its params.")),
    "clear": (
        N_("Clear failed"),
        N_("The failed tasks of each one's latest run, if it failed, run again."),
    ),
    "favorite": (N_("Make favorites"), N_("They get a star, for you alone.")),
}


@dialog("bulk")
def bulk(values: dict[str, Any]) -> None:
    """Do one thing to many DAGs, with progress; what failed is named, and pressed again only that is tried again."""
    action, dag_ids = values["action"], list(values["dag_ids"])
    verb, means = (_(text) for text in _BULK[action])
    # Whether each that is done has changed. A press that breaks in goes on where the first one was.
    of: dict[str, bool] = values.setdefault("of", {})
    token = values.setdefault("request_id", str(uuid.uuid4()))

    @st.dialog(
        _("{verb}: {n} DAGs", verb=verb, n=len(dag_ids)), width="medium", on_dismiss=close_dialog
    )
    def show() -> None:
        st.caption(means)
        with st.container(height=min(240, 30 + 30 * len(dag_ids)), border=True):
            st.markdown(bullets(dag_ids))
        if not buttons(verb, key="bulk_go"):
            return
        bar = st.progress(len(of) / len(dag_ids))
        failed = []
        for dag_id in dag_ids:
            if dag_id in of:
                continue
            bar.progress((len(of) + len(failed)) / len(dag_ids), text=plain(dag_id))
            try:
                of[dag_id] = _do(action, dag_id, token)
            except ApiError as error:
                failed.append(f"{dag_id}: {error.message}")
        if failed:
            st.error(_("Not done for {n}:\n{value}", n=len(failed), value=bullets(failed)))
            return
        once(
            lambda: None,
            _(
                "{verb}: {changed} of {n} DAGs changed",
                verb=verb,
                changed=sum(of.values()),
                n=len(dag_ids),
            ),
        )

    show()


def _do(action: str, dag_id: str, token: str) -> bool:
    source = data.source()
    if action == "favorite":
        dag_data.set_favorite(dag_id, True)
    elif action == "trigger":
        # The same press is the same run.
        one = str(uuid.uuid5(uuid.UUID(token), dag_id))
        source.trigger(dag_id, "{}", request_id=one)
    elif action == "clear":
        latest = source.dag(dag_id).latest_runs
        if not latest or states.RUN[latest[0].state] != "failed":
            return False
        source.clear_run(
            dag_id, latest[0].run_id, only_failed=True, latest_version=False, dry_run=False
        )
    else:
        source.set_paused(dag_id, action == "pause")
    return True


@dialog("handled")
def handled(values: dict[str, Any]) -> None:
    """Write a note on failed runs: they count as dealt with from then on."""
    dag_id, run_ids = values["dag_id"], list(values["run_ids"])

    @st.dialog(_("{dag_id}: dealt with", dag_id=dag_id), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(
            ngettext(
                "The note is kept on {n} failed run; Home does not show it any more. Its state does not change.",
                "The note is kept on {n} failed runs; Home does not show them any more. Their state does not change.",
                len(run_ids),
            )
        )
        text = st.text_area(
            _("What was done, or why it does not matter"),
            key=f"handled_{dag_id}",
            max_chars=1000,
            height=120,
        )
        written = (text or "").strip()
        if buttons(_("Keep the note"), key="handled_go"):
            if not written:
                st.error(_("A few words are needed: they tell the next one who looks."))
                return
            bar = st.progress(0.0)
            for i, run_id in enumerate(run_ids, 1):
                bar.progress(i / len(run_ids), text=plain(run_id))
                try:
                    data.source().set_note(dag_id, run_id, written)
                except ApiError as error:
                    problem(error, "handled_refused")
                    return
            done(_("{dag_id} is dealt with", dag_id=dag_id))

    show()


# --- backfills ---------------------------------------------------------------------------------------

_REPROCESS = {
    "none": N_("Only dates without a run"),
    "failed": N_("Also dates whose run failed"),
    "completed": N_("All dates, whatever their runs did"),
}


@dialog("backfill")
def backfill(values: dict[str, Any]) -> None:
    """Ask for a range of dates; show what would run before it does."""
    dag_id = values["dag_id"]

    @st.dialog(_("Backfill {dag_id}", dag_id=dag_id), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        try:
            table = dag_data.partitions(data.source().dag(dag_id)).table
        except ApiError as error:
            problem(error, "backfill_problem")
            return
        today = dt.datetime.now(dt.UTC).date()
        left, right = st.columns(2)
        first = left.date_input(
            _("First partition date (UTC)") if table else _("First logical date (UTC)"),
            value=today - dt.timedelta(days=7),
            key="backfill_first",
        )
        last = right.date_input(
            _("Last partition date (UTC)") if table else _("Last logical date (UTC)"),
            value=today - dt.timedelta(days=1),
            key="backfill_last",
        )
        reprocess = (
            st.segmented_control(
                _("Which dates"),
                list(_REPROCESS),
                default="none",
                format_func=lambda r: _(_REPROCESS[r]),
                key="backfill_reprocess",
            )
            or "none"
        )
        left, right = st.columns(2)
        limit = left.number_input(
            _("Runs at once"), min_value=1, max_value=1000, value=10, key="backfill_limit"
        )
        backwards = right.toggle(_("Newest date first"), key="backfill_backwards")
        with st.expander(_("Configuration of its runs")):
            text = st.text_area(_("A JSON object"), value="", key="backfill_conf", placeholder="{}")
        conf, complaint = params.parse_object(text or "")
        if complaint:
            st.error(plain(complaint))
        wanted = None
        if not complaint:
            wanted = _plan(
                dag_id, first, last, reprocess, int(limit), bool(backwards), conf or {}, table
            )
        if not buttons(
            _("Create the backfill"),
            disabled=wanted is None,
            key="backfill_go",
        ):
            return
        assert wanted is not None
        create = wanted
        request_id = values.setdefault("request_id", str(uuid.uuid4()))
        try:
            with st.spinner(_("Working …")):
                once(
                    lambda: create(dry_run=False, request_id=request_id),
                    _("Created the backfill"),
                )
        except ApiError as error:
            values.pop("request_id", None)
            problem(error, "backfill_refused")

    show()


def _plan(
    dag_id: str,
    first: dt.date,
    last: dt.date,
    reprocess: str,
    limit: int,
    backwards: bool,
    conf: dict[str, Any],
    table: CronPartitionTimetable | None,
) -> Callable[..., Any] | None:
    """Show what a backfill would do; return the call that makes it, or None when it would do nothing."""

    def create(**more: Any) -> Any:
        return dag_data.create_backfill(
            dag_id,
            dt.datetime.combine(first, dt.time.min, dt.UTC),
            # The last day counts whole.
            dt.datetime.combine(last, dt.time(23, 59, 59), dt.UTC),
            reprocess=reprocess,
            max_active_runs=limit,
            run_backwards=backwards,
            conf_json=json.dumps(conf) if conf else "",
            **more,
        )

    try:
        answer = create(dry_run=True)
    except ApiError as error:
        problem(error, "backfill_problem")
        return None
    dates = [t.ToDatetime(dt.UTC) for t in answer.logical_times]
    total, skipped = answer.backfill.total_count, len(answer.backfill.skipped_dates)
    if not dates:
        st.info(
            _("Nothing would run: all {total} dates of the range have a run already.", total=total)
            if total
            else _("Nothing would run: the schedule has no date in this range.")
        )
        return None
    st.markdown(
        ngettext("**{n} run** would be created", "**{n} runs** would be created", len(dates))
        + (
            _(
                "; {skipped} of {total} dates are left out, they have a run",
                skipped=skipped,
                total=total,
            )
            if skipped
            else ""
        )
        + ":"
    )
    mount(
        "dates",
        "backfill_dates",
        {"dates": [int(d.timestamp() * 1000) for d in dates], "backwards": backwards},
    )
    if table is not None:
        keys = list(dict.fromkeys(table.key_of(d) for d in (dates[0], dates[-1])))
        st.caption(_("Partitions: {keys}", keys=plain(" – ".join(keys))))
    return create


@dialog("cancel_backfill")
def cancel_backfill(values: dict[str, Any]) -> None:
    """Ask once before a backfill is ended."""

    @st.dialog(_("Cancel this backfill"), on_dismiss=close_dialog)
    def show() -> None:
        st.markdown(
            _(
                "It creates no more runs, and its queued runs fail. Runs that have begun finish. {value} dates are left.",
                value=values["left"],
            )
        )
        if buttons(_("Cancel the backfill"), key="cancel_backfill_go"):
            try:
                once(
                    lambda: dag_data.change_backfill(
                        values["dag_id"], values["backfill_id"], "cancel"
                    ),
                    _("Cancelled the backfill"),
                )
            except ApiError as error:
                problem(error, "cancel_backfill_refused")

    show()


def register() -> None:
    """Make the dialogs known (importing this module does)."""
