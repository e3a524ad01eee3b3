"""Metrics: which phase of recent attempts took how long, how they ended, which DAGs take the time."""

from boraflow_ui import data
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, notice, panel, whole
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading

CHOICES = (50, 200, 1000)


def phases() -> dict[str, tuple[str, str]]:
    return {
        "wait": (
            _("Waited"),
            _("Dependencies met → decision committed: pools, limits, free slots"),
        ),
        "hand_over": (_("Handed over"), _("Decision committed → a worker has it")),
        "import": (_("Imported"), _("A worker has it → the DAG file is imported")),
        "prepare": (_("Prepared"), _("Imported → your code began")),
        "run": (_("Ran"), _("Your code")),
        "record": (_("Recorded"), _("Your code ended → outcome recorded")),
    }


def draw() -> None:
    count = whole("runs", 200)
    answer = data.source().records.performance(count)
    system = data.source().system_state()
    outcomes = dict(answer.outcome_counts)
    bad = sum(outcomes.get(o, 0) for o in ("failed", "lost", "timed_out"))
    mount(
        "header",
        "head",
        {
            "title": _("Metrics"),
            "text": _(
                "Measured from the attempts of the newest runs: where the time between ready and done goes."
            ),
            "facts": [
                {"label": _("Attempts"), "value": f"{answer.attempt_count:,}"},
                {"label": _("Since"), "value": {"at": milliseconds(answer, "from_time")}},
                {"label": _("Failed"), "value": f"{bad:,}"},
                {"label": _("Tasks running"), "value": system.task_counts.get("running", 0)},
                {"label": _("Runs now"), "value": system.run_counts.get("running", 0)},
            ],
        },
    )
    mount(
        "filters",
        "filters",
        {
            "choices": [
                {
                    "name": "runs",
                    "label": _("How far back"),
                    "options": [
                        {
                            "label": ngettext("Newest {n} run", "Newest {n} runs", n),
                            "value": None if n == 200 else str(n),
                        }
                        for n in CHOICES
                    ],
                }
            ]
        },
    )
    if not answer.attempt_count:
        notice(
            "none",
            _("Nothing ran yet"),
            _("As soon as a task ran, its phases are counted here."),
            tone="empty",
        )
        return
    names = phases()
    heading("h_phases", _("Phases of an attempt"))
    mount(
        "phases",
        "phases",
        {
            "rows": [
                {
                    "key": p.name,
                    "label": names[p.name][0],
                    "tip": names[p.name][1],
                    "count": p.count,
                    "p50": p.p50.ToMicroseconds() / 1000,
                    "p95": p.p95.ToMicroseconds() / 1000,
                    "max": p.max.ToMicroseconds() / 1000,
                    "run": p.name == "run",
                }
                for p in answer.phases
            ]
        },
    )
    heading("h_outcomes", _("How they ended"))
    mount(
        "table",
        "outcomes",
        {
            "columns": [
                {"id": "state", "label": _("Outcome"), "type": "state", "width": "180px"},
                {"id": "n", "label": _("Attempts"), "type": "meter"},
            ],
            "rows": [
                {
                    "key": outcome,
                    "cells": {
                        "state": outcome,
                        "n": {"value": n, "max": answer.attempt_count},
                    },
                }
                for outcome, n in sorted(outcomes.items(), key=lambda item: -item[1])
            ],
        },
    )
    heading("h_dags", _("DAGs by the time that their tasks ran"))
    mount(
        "table",
        "dags",
        {
            "columns": [
                {"id": "dag", "label": _("DAG"), "type": "link"},
                {"id": "run", "label": _("Ran"), "type": "span", "width": "160px"},
                {"id": "wait", "label": _("Waited"), "type": "span", "width": "160px"},
                {"id": "n", "label": _("Attempts"), "type": "number", "width": "120px"},
                {"id": "failed", "label": _("Failed"), "type": "number", "width": "120px"},
            ],
            "rows": [
                {
                    "key": d.dag_id,
                    "cells": {
                        "dag": {"text": d.dag_id, "href": link("dag", dag_id=d.dag_id)},
                        "run": d.run_time.ToMicroseconds() / 1000,
                        "wait": d.wait_time.ToMicroseconds() / 1000,
                        "n": d.attempt_count,
                        "failed": d.failed_count,
                    },
                }
                for d in answer.dags
            ],
        },
    )


panel(draw)
