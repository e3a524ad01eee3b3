"""Watchers of assets: triggers that run as long as a DAG waits for the asset they feed.

A *watch* is one trigger, by class and arguments, whatever assets and DAGs name it: two of them would fight over one
message. It is handed to one executor's async lane as an attempt of kind WATCH, and again when that is over: at once
when the executor was lost or went away, later and later when the trigger fails. Its events are written by the
metastore while it runs; here they arrive as any asset event does.

A watch is wanted while an active DAG that is not paused is scheduled on one of its assets. It runs the code of the
first such DAG, and begins anew when that DAG, its version or the assets change.
"""

from __future__ import annotations

import json
from typing import Any

from boraflow.engine.commands import StoryEntry
from boraflow.engine.records import Attempt, Dag, Watch
from boraflow.engine.settings import micros
from boraflow.engine.state import State
from boraflow.model.asset_conditions import watches as watches_of
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import AttemptKind, Outcome

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 300.0
_STABLE = micros(600)
"""One that ran for so long begins its delays anew."""


def published(state: State, dag: Dag) -> None:
    """A version arrived, or a leader took the DAG over: its schedule may name watched assets."""
    watches = (
        tuple(watches_of(dag.spec.asset_condition)) if '"watchers":' in dag.row.spec_json else ()
    )
    if watches:
        state.watching[dag.row.dag_id] = watches
    elif state.watching.pop(dag.row.dag_id, None) is None:
        return
    state.to_watch = True


def moved(state: State, dag_id: str) -> None:
    """A DAG was paused, unpaused or removed."""
    if dag_id in state.watching:
        state.to_watch = True


def forgotten(state: State, dag: Dag) -> None:
    """A DAG is deleted."""
    if state.watching.pop(dag.row.dag_id, None) is not None:
        state.to_watch = True


def restored(state: State, attempt: Attempt) -> None:
    """An attempt of the last term: it still watches, or was lost meanwhile."""
    about = json.loads(attempt.row.payload_json or "{}").get("watch") or {}
    key = str(about.get("key", ""))
    watch = state.watches.get(key)
    if watch is None:
        watch = state.watches[key] = Watch(key)
    watch.payload = {name: about.get(name) for name in ("trigger", "assets", "dag_id", "version")}
    watch.attempt = attempt
    attempt.watch = watch
    state.to_watch = True


def settle(state: State) -> None:
    """Begin what is wanted, end what is not, and hand out again what is over."""
    wanted = _wanted(state)
    for key, payload in wanted.items():
        watch = state.watches.get(key)
        if watch is None:
            watch = state.watches[key] = Watch(key)
        if watch.payload != payload:
            watch.payload = payload
            watch.failures, watch.due = 0, None
            _stop(state, watch, "it is begun anew: its DAG or its assets changed")
    for key, watch in list(state.watches.items()):
        attempt = watch.attempt
        if attempt is not None and attempt.released and attempt.result is not None:
            watch.attempt = attempt = None
        if key not in wanted:
            state.waiting_watches.pop(key, None)
            watch.payload = {}
            if attempt is None:
                del state.watches[key]
            else:
                _stop(state, watch, "no DAG waits for what it watches")
        elif attempt is None:
            if watch.due is not None and watch.due > state.now:
                state.at(watch.due, _due, watch)
            else:
                state.waiting_watches[key] = watch


def _wanted(state: State) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for dag_id, named in sorted(state.watching.items()):
        dag = state.dags.get(dag_id)
        if dag is None or not dag.row.active or dag.row.paused:
            continue
        for key, trigger, asset in named:
            payload = out.setdefault(
                key,
                {"trigger": trigger, "assets": [], "dag_id": dag_id, "version": dag.row.version},
            )
            if not any(
                a["name"] == asset["name"] and a["uri"] == asset["uri"] for a in payload["assets"]
            ):
                payload["assets"].append(asset)
    return out


def _due(state: State, watch: Watch) -> None:
    state.to_watch = True


def _stop(state: State, watch: Watch, why: str) -> None:
    attempt = watch.attempt
    if attempt is not None and attempt.result is None and attempt.closing is None:
        # Attempts end by way of this module too.
        from boraflow.engine.attempts import close

        close(state, attempt, Outcome.CANCELLED, why)


def ended(state: State, attempt: Attempt, result: AttemptResult) -> None:
    """A watch's attempt was closed: it is handed out again once it is gone."""
    watch = attempt.watch
    state.to_watch = True
    if watch is None or watch.attempt is not attempt:
        return
    if result.outcome not in (Outcome.FAILED, Outcome.SUCCESS):
        watch.due = None
        return
    if state.now - attempt.row.opened_at > _STABLE:
        watch.failures = 0
    delay = min(_FIRST_DELAY * 2**watch.failures, _LONGEST_DELAY)
    watch.failures = min(watch.failures + 1, 20)
    watch.due = Micros(state.now + micros(delay))
    names = ", ".join(a["watcher"] for a in watch.payload.get("assets") or ())
    state.changes.story.append(
        StoryEntry(
            str(watch.payload.get("dag_id") or ""),
            "",
            "",
            "scheduler",
            "watcher_failed",
            f"{names}: {result.error or 'its trigger ended'}; it is begun again in {delay:g} s",
        )
    )


def is_watch(attempt: Attempt) -> bool:
    """Tell whether an attempt is a watch's."""
    return attempt.row.kind is AttemptKind.WATCH
