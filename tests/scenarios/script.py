"""Scenario scripts: steps in words and the trace they leave, in one text file.

A file is a list of blocks. Each begins with a step, one line (``dag`` takes indented lines too), then
``----`` and the trace that was recorded, up to an empty line. Text after ``#`` is a comment. With
``BORAFLOW_TEST_REWRITE=1`` the traces are written anew.

Steps::

    dag NAME [key=value ...]          then one indented line per task: NAME [< up up] [key=value ...]
    executor NAME [slots=N] [queue=Q] | kill NAME | goodbye NAME | detach NAME | reattach NAME
    trigger RUN [day=N] [after=SECONDS]
    start|finish|fail|skip TASK... [@RUN] [key=value ...]
    branch TASK to TASK... | stop TASK (short circuit) | defer TASK [timeout=S] | fire TASK
    reschedule TASK SECONDS | lose TASK
    clear RUN TASK... [+up] [+down] [+latest] [+failed]
    mark RUN STATE TASK... | mark-run RUN STATE | cancel RUN | pause | unpause
    advance SECONDS | obey (executors stop what they were told to) | restart (a new leader)
    explain TASK [@RUN] | pool NAME SLOTS
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from boraflow.engine.events import (
    ClearTasks,
    Explain,
    MarkRun,
    MarkTasks,
    PoolsChanged,
    SetPaused,
    TriggerRun,
)
from boraflow.model.rows import Micros, PoolRow
from boraflow.model.spec import GroupSpec, TaskSpec
from boraflow.model.states import Outcome, RunState, TaskState
from tests.support.engine import (
    SECOND,
    T0,
    World,
    branch,
    dag,
    expand,
    literal,
    short_circuit,
    task,
    xcom,
)

DAY = 86_400 * SECOND
DEFERRAL = {"trigger": {"classpath": "t.T"}, "method": "done", "kwargs": {}}


class Scenario:
    """A world that writes down what happens in it."""

    def __init__(self) -> None:
        self.world = World(executor=False)
        self.lines: list[str] = []
        self.log_seen = 0
        self.assigned_seen = 0
        self.run_states: dict[str, str] = {}
        self.dag_id = "d"

    def step(self, lines: list[str]) -> list[str]:
        """Take a step and return its trace."""
        self.lines = []
        head = lines[0].split("#")[0].split()
        verb, words = head[0].replace("-", "_"), head[1:]
        flags = dict(w.split("=", 1) for w in words if "=" in w)
        words = [w for w in words if "=" not in w]
        if verb == "dag":
            self.do_dag(words[0], flags, lines[1:])
        else:
            getattr(self, f"do_{verb}")(words, flags)
        self.collect()
        return self.lines or ["ok"]

    # --- the trace ---------------------------------------------------------------------------

    def collect(self) -> None:
        w = self.world
        log = list(w.engine.state.log)
        for at, run_key, task_id, index, old, new, cause in log[self.log_seen :]:
            run = w.store.runs.get(run_key)
            name = f"{run.run_id if run else '?'}/{task_id}" + (f"[{index}]" if index >= 0 else "")
            self.lines.append(f"{(at - T0) / SECOND:>5.0f}  {name}: {old} -> {new}, {cause}")
        self.log_seen = len(log)
        for run in w.store.runs.values():
            text = f"{run.state}" + (f" ({run.reason})" if run.reason else "")
            if self.run_states.get(run.run_key) != text:
                self.lines.append(f"       run {run.run_id}: {text}")
                self.run_states[run.run_key] = text
        for name in w.order[self.assigned_seen :]:
            self.lines.append(f"       assigned {name or 'callback'}")
        self.assigned_seen = len(w.order)
        for executor in w.executors.values():
            for attempt_id in executor.cancelled:
                text = (
                    f"       {executor.name} told to stop {w.name_of(w.store.attempts[attempt_id])}"
                )
                if text not in self.lines:
                    self.lines.append(text)

    def ask(self, command: Any) -> None:
        reply = self.world.command(command)
        if reply.code != "OK":
            self.lines.append(f"{reply.code} {reply.reason}: {reply.message}")

    # --- steps -------------------------------------------------------------------------------

    def do_dag(self, name: str, flags: dict[str, str], body: list[str]) -> None:
        groups: list[GroupSpec] = []
        tasks: list[TaskSpec] = []
        for line in body:
            text = line.split("#")[0].strip()
            words = text.split()
            kw: dict[str, Any] = {}
            for word in [w for w in words if "=" in w]:
                key, value = word.split("=", 1)
                kw[key] = _value(value)
            words = [w for w in words if "=" not in w]
            if words[0] == "group":
                groups.append(GroupSpec(words[1], mapped=_mapping(str(kw["map"]))))
                continue
            if "map" in kw:
                kw["mapped"] = _mapping(str(kw.pop("map")))
            if "group" in kw:
                kw["group_id"] = kw.pop("group")
            rule = kw.pop("rule", "all_success")
            ups = words[2:] if "<" in words else []
            tasks.append(task(words[0], ups, rule, **kw))
        self.dag_id = name
        settings = {k: _value(v) for k, v in flags.items()}
        self.world.publish(dag(*tasks, dag_id=name, groups=groups, **settings))

    def do_executor(self, words: list[str], flags: dict[str, str]) -> None:
        queues = tuple(flags.get("queue", "default").split(","))
        self.world.attach(words[0], slots=int(flags.get("slots", "16")), queues=queues)
        self.world.pump()

    def executor(self, name: str) -> Any:
        return next(e for e in self.world.executors.values() if e.name == name)

    def do_kill(self, words: list[str], _: dict[str, str]) -> None:
        self.world.kill(self.executor(words[0]))

    def do_goodbye(self, words: list[str], _: dict[str, str]) -> None:
        self.world.goodbye(self.executor(words[0]))
        self.world.pump()

    def do_detach(self, words: list[str], _: dict[str, str]) -> None:
        self.world.detach(self.executor(words[0]))
        self.world.pump()

    def do_reattach(self, words: list[str], _: dict[str, str]) -> None:
        self.world.reattach(self.executor(words[0]))
        self.world.pump()

    def do_trigger(self, words: list[str], flags: dict[str, str]) -> None:
        logical = Micros(T0 + int(flags["day"]) * DAY) if "day" in flags else None
        after = Micros(T0 + int(flags["after"]) * SECOND) if "after" in flags else Micros(T0)
        self.ask(TriggerRun(self.dag_id, words[0], logical_date=logical, run_after=after))

    def each(self, words: list[str], flags: dict[str, str], outcome: Outcome, **kw: Any) -> None:
        run = next((w[1:] for w in words if w.startswith("@")), None)
        values = {k: _value(v) for k, v in flags.items()}
        for name in [w for w in words if not w.startswith("@")]:
            self.world.finish(name, outcome=outcome, run_id=run, **{**kw, **values})

    def do_start(self, words: list[str], _: dict[str, str]) -> None:
        run = next((w[1:] for w in words if w.startswith("@")), None)
        self.world.start(*[w for w in words if not w.startswith("@")], run_id=run)

    def do_finish(self, words: list[str], flags: dict[str, str]) -> None:
        self.each(words, flags, Outcome.SUCCESS)

    def do_fail(self, words: list[str], flags: dict[str, str]) -> None:
        self.each(words, flags, Outcome.FAILED, error="ValueError: boom")

    def do_skip(self, words: list[str], flags: dict[str, str]) -> None:
        self.each(words, flags, Outcome.SKIPPED)

    def do_lose(self, words: list[str], flags: dict[str, str]) -> None:
        self.each(words, flags, Outcome.LOST)

    def do_branch(self, words: list[str], _: dict[str, str]) -> None:
        self.world.finish(words[0], skip_json=branch(*words[2:]))

    def do_stop(self, words: list[str], _: dict[str, str]) -> None:
        self.world.finish(words[0], skip_json=short_circuit())

    def do_defer(self, words: list[str], flags: dict[str, str]) -> None:
        timeout = float(flags["timeout"]) if "timeout" in flags else None
        text = json.dumps({**DEFERRAL, "timeout": timeout})
        self.world.finish(words[0], outcome=Outcome.DEFERRED, deferral_json=text)

    def do_fire(self, words: list[str], flags: dict[str, str]) -> None:
        self.each(words, flags, Outcome.FIRED)

    def do_reschedule(self, words: list[str], _: dict[str, str]) -> None:
        wake = Micros(self.world.now + int(words[1]) * SECOND)
        self.world.finish(words[0], outcome=Outcome.RESCHEDULED, wake_at=wake)

    def do_clear(self, words: list[str], _: dict[str, str]) -> None:
        names = tuple(w for w in words[1:] if not w.startswith("+"))
        self.ask(
            ClearTasks(
                self.dag_id, (words[0],), names, upstream="+up" in words, downstream="+down" in words,
                only_failed="+failed" in words, run_on_latest_version="+latest" in words,
            )
        )  # fmt: skip

    def do_mark(self, words: list[str], _: dict[str, str]) -> None:
        self.ask(MarkTasks(self.dag_id, words[0], tuple(words[2:]), TaskState(words[1])))

    def do_mark_run(self, words: list[str], _: dict[str, str]) -> None:
        self.ask(MarkRun(self.dag_id, words[0], RunState(words[1])))

    def do_cancel(self, words: list[str], _: dict[str, str]) -> None:
        self.ask(MarkRun(self.dag_id, words[0], RunState.FAILED, "cancelled"))

    def do_pause(self, _words: list[str], _: dict[str, str]) -> None:
        self.ask(SetPaused(self.dag_id, True))

    def do_unpause(self, _words: list[str], _: dict[str, str]) -> None:
        self.ask(SetPaused(self.dag_id, False))

    def do_advance(self, words: list[str], _: dict[str, str]) -> None:
        self.world.advance(float(words[0]))

    def do_obey(self, _words: list[str], _: dict[str, str]) -> None:
        self.world.obey_cancels()

    def do_restart(self, _words: list[str], _: dict[str, str]) -> None:
        self.log_seen = 0
        self.world.lead()
        for executor in self.world.executors.values():
            self.world.reattach(executor)
        self.world.pump()

    def do_pool(self, words: list[str], _: dict[str, str]) -> None:
        self.world.step(PoolsChanged((PoolRow(words[0], int(words[1])),)))
        self.world.pump()

    def do_explain(self, words: list[str], _: dict[str, str]) -> None:
        run = next((w[1:] for w in words if w.startswith("@")), "r1")
        value = self.world.ok(Explain(self.dag_id, run, words[0]))
        self.lines.append(value["summary"])
        self.lines += [
            f"  {'+' if c['met'] else '-'} {c['name']}: {c['detail']}" for c in value["conditions"]
        ]


def _value(text: str) -> Any:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text


def _mapping(text: str) -> Any:
    """Return a map over a number (a literal) or a task (its XCom)."""
    return expand(x=literal(int(text)) if text.isdigit() else xcom(text))


def play(path: Path) -> tuple[str, str]:
    """Play a script; return its text as it is and as it should be."""
    text = path.read_text()
    scenario = Scenario()
    out: list[str] = []
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        line = lines[i]
        if not line.strip() or line.startswith("#"):
            out.append(line)
            i += 1
            continue
        step = [line]
        i += 1
        while i < len(lines) and lines[i].startswith(" "):
            step.append(lines[i])
            i += 1
        if i < len(lines) and lines[i] == "----":
            while i < len(lines) and lines[i].strip():
                i += 1
        out += [*step, "----", *scenario.step(step)]
        if i >= len(lines) or lines[i].strip():
            out.append("")
    return text, "\n".join(out).rstrip("\n") + "\n"
