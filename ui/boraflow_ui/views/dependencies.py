"""Which pipelines depend on which, with the state of each one's newest run, and what an upstream failure holds up."""

from boraflow_ui import asset_data, dependencies
from boraflow_ui.components import link, mount
from boraflow_ui.dependencies import ASSET, DAG
from boraflow_ui.frame import milliseconds, notice, panel, param
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading

_NAMED = 8


def href(node: str) -> str:
    if node.startswith(DAG):
        return link("dag", dag_id=node.removeprefix(DAG))
    return link("assets", asset=node.removeprefix(ASSET))


def failed_at(node: str) -> int | None:
    """Return when the newest run of a DAG that failed had ended."""
    dag = next((d for d in asset_data.every_dag() if DAG + d.dag_id == node), None)
    return milliseconds(dag.latest_runs[0], "end_time") if dag and dag.latest_runs else None


def draw() -> None:
    whole = dependencies.find(asset_data.every_dag(), asset_data.every_asset())
    focus = param("of")
    shown = whole.around(DAG + focus) if focus and DAG + focus in whole.upstream else whole
    dags = [n for n in shown.upstream if n.startswith(DAG)]
    mount(
        "header",
        "head",
        {
            "crumbs": [{"label": _("All dependencies"), "href": link("dependencies")}]
            if focus
            else [],
            "title": _("Dependencies of {name}", name=focus) if focus else _("Dependencies"),
            "text": _(
                "DAGs that start each other, wait for each other or share assets. The colour is the state of the newest run."
            ),
            "facts": [
                {"label": _("DAGs"), "value": len(dags)},
                {"label": _("Assets"), "value": len(shown.upstream) - len(dags)},
            ],
        },
    )
    if not shown.upstream:
        notice(
            "none",
            _("No DAG depends on another"),
            _(
                "TriggerDagRunOperator, ExternalTaskSensor, ExternalTaskMarker and assets connect DAGs."
            ),
            tone="empty",
            actions=[{"label": _("All DAGs"), "href": link("dags")}],
        )
        return
    held = dependencies.waiting(shown)
    behind: dict[str, list[str]] = {}
    for node in held:
        # Assets too: they are as old as their producer's last success.
        for one in shown.downstream_of([node]):
            behind.setdefault(one, []).append(shown.labels[node])
    mount(
        "problems",
        "held",
        {
            "items": [
                {
                    "key": node,
                    "title": node.removeprefix(DAG),
                    "href": href(node),
                    "at": failed_at(node),
                    "text": (
                        ngettext(
                            "Its newest run failed; {n} DAG depends on it: {names}",
                            "Its newest run failed; {n} DAGs depend on it: {names}",
                            len(after),
                            names=", ".join(sorted(n.removeprefix(DAG) for n in after)[:_NAMED])
                            + ("…" if len(after) > _NAMED else ""),
                        )
                    ),
                }
                for node, after in sorted(held.items(), key=lambda i: -len(i[1]))
                if after
            ]
        },
    )
    mount(
        "graph",
        "graph",
        {
            "layout": link("graph", dependencies=shown.digest(), of=focus),
            "dag_id": "",
            "run_id": "",
            "states": {n: shown.state[n] for n in shown.upstream},
            "mapped": {},
            "hrefs": {n: href(n) for n in shown.upstream},
            "find": _("Find a DAG or an asset"),
            "held": {
                n: _("held up by {names}", names=", ".join(sorted(names)[:_NAMED]))
                for n, names in behind.items()
            },
        },
    )
    heading("h_table", _("As a table"))
    kinds = {"trigger": _("starts it"), "wait": _("it waits for this"), "asset": _("by an asset")}
    mount(
        "table",
        "edges",
        {
            "columns": [
                {"id": "before", "label": _("Upstream"), "type": "link"},
                {"id": "how", "label": _("How"), "type": "text", "width": "200px"},
                {"id": "after", "label": _("Downstream"), "type": "link"},
            ],
            "rows": [
                {
                    "key": f"{before}\n{after}",
                    "cells": {
                        "before": {"text": shown.labels[before], "href": href(before)},
                        "how": ", ".join(kinds[k] for k in sorted(shown.why[before, after])),
                        "after": {"text": shown.labels[after], "href": href(after)},
                    },
                }
                for after in sorted(shown.upstream)
                for before in sorted(shown.upstream[after])
            ][:500],
        },
    )


panel(draw)
