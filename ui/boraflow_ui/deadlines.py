"""Deadlines of runs: what was missed and needs somebody, what a run missed, the list of a DAG's or a run's."""

from __future__ import annotations

from typing import Any

from boraflow.api.model.v1.run_pb2 import Deadline
from boraflow.rpc.errors import ApiError
from boraflow_ui import dag_data, data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, param
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading, strip

_SHOWN = 12


def name(of: Deadline) -> str:
    """Return what people call a deadline."""
    return of.name or _("deadline {n}", n=of.number + 1)


def items(since: int, failed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Missed deadlines, an item for each DAG; of a DAG that stands there as failed, a fact of that item."""
    of_dag: dict[str, list[Deadline]] = {}
    for one in dag_data.deadlines(
        missed=True, since=since, without_note=True, page_size=200
    ).deadlines:
        of_dag.setdefault(one.dag_id, []).append(one)
    known = {i["key"]: i for i in failed}
    out = []
    for dag_id, missed in list(of_dag.items())[:_SHOWN]:
        newest, first = missed[0], missed[-1]
        if item := known.get(f"failed/{dag_id}"):
            item["facts"].append(
                ngettext("missed {n} deadline", "missed {n} deadlines", len(missed))
            )
            continue
        try:
            dag = data.source().dag(dag_id)
        except ApiError:
            continue
        ended = newest.HasField("run_end_time")
        state = states.words(states.RUN[newest.run_state])
        runs = list(dict.fromkeys(d.run_id for d in missed))
        href = link("run", dag_id=dag_id, run_id=newest.run_id)
        out.append(
            {
                "key": f"deadline/{dag_id}",
                "tone": "late",
                "chip": _("deadline missed"),
                "title": dag.display_name or dag_id,
                "href": link("dag", dag_id=dag_id),
                "since": milliseconds(first, "deadline_time"),
                "task": name(newest),
                "whyHref": href,
                "why": _("its run ended too late: {state}", state=state)
                if ended
                else _("its run has not succeeded yet: {state}", state=state),
                "facts": [
                    newest.run_id if len(runs) == 1 else ngettext("{n} run", "{n} runs", len(runs))
                ],
                "strip": strip(dag_id, list(dag.latest_runs)[:14]),
                "actions": [
                    {"label": _("Run"), "icon": "group", "href": href},
                    {
                        "id": "handled",
                        "label": _("Dealt with"),
                        "icon": "check",
                        "with": {"dag_id": dag_id, "run_ids": runs},
                    },
                ],
            }
        )
    return out


def missed(run: data.Run) -> None:
    """Say which of its deadlines the run missed."""
    ended = run.HasField("end_time")
    found = [d for d in dag_data.deadlines(run.dag_id, run.run_id).deadlines if d.missed]
    if not found:
        return
    mount(
        "problems",
        "deadlines",
        {
            "items": [
                {
                    "key": str(d.number),
                    "title": _("Deadline missed: {name}", name=name(d)),
                    "text": _("The run ended after this deadline")
                    if ended
                    else _("The run should have succeeded by this deadline"),
                    "at": milliseconds(d, "deadline_time"),
                    "tone": "warning",
                }
                for d in found
            ]
        },
    )


def table(dag_id: str, run_id: str = "") -> None:
    """List the deadlines of a DAG's runs, or of one run; nothing where there are none."""
    after = param("after_deadline")
    answer = dag_data.deadlines(dag_id, run_id, page_size=25, page_token=after)
    if not answer.deadlines and not after:
        return
    heading("h_deadlines", _("Deadlines"))
    columns = [
        {"id": "is", "label": _("State"), "type": "state", "width": "120px"},
        {"id": "name", "label": _("Deadline"), "type": "text"},
        {"id": "at", "label": _("Due"), "type": "moment", "width": "200px"},
        {"id": "run", "label": _("Run"), "type": "link"},
        {"id": "state", "label": _("Run is"), "type": "state", "width": "120px"},
        {"id": "ended", "label": _("Run ended"), "type": "moment", "width": "200px"},
    ]
    mount(
        "table",
        "deadlines_table",
        {
            "columns": [c for c in columns if not run_id or c["id"] not in ("run", "state")],
            "rows": [_row(d) for d in answer.deadlines],
            "foot": {
                "text": _("Latest first"),
                "name": "after_deadline",
                "next": answer.next_page_token or None,
                "first": bool(after),
            }
            if answer.next_page_token or after
            else None,
        },
    )


def _row(of: Deadline) -> dict[str, Any]:
    is_ = (
        ("failed", _("missed"))
        if of.missed
        else ("success", _("met"))
        if of.met
        else ("none", _("to come"))
    )
    return {
        "key": f"{of.run_id}/{of.number}",
        "cells": {
            "is": dict(zip(("state", "text"), is_, strict=True)),
            "name": name(of),
            "at": milliseconds(of, "deadline_time"),
            "run": {"text": of.run_id, "href": link("run", dag_id=of.dag_id, run_id=of.run_id)},
            "state": states.RUN[of.run_state],
            "ended": milliseconds(of, "run_end_time"),
        },
    }
