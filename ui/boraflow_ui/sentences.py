"""Sentences that the services say in English, said in the reader's language.

The API speaks English: why a task waits, why a run ended, a schedule in words. Here each such sentence stands once, as a
template; what fits one is translated with the values that it carries, which may be sentences themselves. What fits none is
shown as it came. ``tests/unit/ui/test_sentences.py`` fails when the engine learns a sentence that has no template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from boraflow.model.cron import describe
from boraflow_ui.messages import N_, catalogue, language

#: Values that are sentences, states, or lists of these, and are translated in their turn.
_SPOKEN = frozenset({"why", "cause", "state", "words", "time", "when", "was", "other"})

_EXPLAIN = (
    N_("Its task is not in the DAG version of this run."),
    N_("It is about to be scheduled."),
    N_("It has not been scheduled: {why}."),
    N_("Its dependencies are met, but it has not been handed out: {why}."),
    N_("Its dependencies are met; it is handed out next, by priority."),
    N_("{holder} has not reported its start; it is taken back at {at}"),
    N_("It was handed to {holder} at {at}."),
    N_("It has been running on {holder} since {at}."),
    N_("the process of its last attempt on {holder} must end first"),
    N_("the process of its last attempt on {holder} has not ended yet"),
    N_("It was cleared while it ran; it runs again when its process has ended."),
    N_("its next try starts at {at}"),
    N_("Try {n} failed ({why}); the next starts at {at}."),
    N_("it pokes again at {at}"),
    N_("Its condition did not hold yet; it pokes again at {at}."),
    N_("It waits for {words}, until {at}. Answer with: bora hitl respond."),
    N_("It waits for {words}. Answer with: bora hitl respond."),
    N_("it waits for {words}, until {at}"),
    N_("it waits for {words}"),
    N_("a person's answer: {subject}"),
    N_("{names} to answer: {subject}"),
    N_("It is finished ({state}) at {at}: {why}."),
    N_("It is finished ({state}) at {at}."),
    N_("It is finished ({state}): {why}."),
    N_("It is finished ({state})."),
    N_("It is deferred and waits for an async lane to take {name}."),
    N_("It is deferred: {name} on {holder} has not fired, until {at}."),
    N_("It is deferred: {name} on {holder} has not fired."),
    N_("{name} has not fired, until {at}"),
    N_("{name} has not fired"),
    N_("DAG {dag_id} is paused"),
    N_("DAG {dag_id} is not paused"),
    N_("its run is running"),
    N_("its run is queued"),
    N_("its run is finished ({state}: {why})"),
    N_("its run starts at {at}"),
    N_("its backfill is {state}, {n} of {most} runs run"),
    N_("{n} of {most} runs of the DAG run"),
    N_("it has no upstream tasks"),
    N_("its setups must have succeeded"),
    N_("all tasks between its setup and it must be finished"),
    N_("the previous run does not hold it back"),
    N_("its number of instances follows from {names}"),
    N_("there is no pool {pool}"),
    N_("pool {pool} has {n} of {most} slots in use, it needs {needed}"),
    N_("{n} of {most} are running"),
    N_("{n} of {most} tasks run at once"),
    N_("online: {names}"),
    N_("no executor is online"),
    N_("work from queue {queue} is taken by {names}"),
    N_("no executor that is online takes work from queue {queue}"),
    N_("{n} of {most} slots of these executors are in use"),
)
_REASONS = (
    N_("the task it is mapped over was skipped"),
    N_("the task it is mapped over failed"),
    N_("its setup failed"),
    N_("its setup was skipped"),
    N_("{task_id} ended the flow here"),
    N_("{task_id} did not choose it"),
    N_("an upstream task has fewer instances now"),
    N_("the value it is mapped over was not pushed"),
    N_("the value it is mapped over is empty"),
    N_("its index is beyond the mapped value's length"),
    N_("trigger rule {rule}"),
    N_("its attempt is unknown"),
    N_("handed back by its executor"),
    N_("marked by {actor}"),
    N_("answered by {actor}"),
    # What moved a task from state to state (Cause).
    N_("dependencies met"),
    N_("nothing to run"),
    N_("skipped by its trigger rule"),
    N_("failed by its trigger rule"),
    N_("no longer mapped"),
    N_("skipped by an upstream task"),
    N_("waiting time over"),
    N_("handed to an executor"),
    N_("process started"),
    N_("succeeded"),
    N_("failed"),
    N_("skipped itself"),
    N_("failed with tries left"),
    N_("pokes again later"),
    N_("waits for its trigger"),
    N_("trigger fired"),
    N_("trigger failed"),
    N_("waits for a person"),
    N_("answered"),
    N_("not answered in time"),
    N_("taken back from its executor"),
    N_("cleared"),
    N_("stopped, to run again"),
    N_("marked"),
    N_("marked success"),
    N_("marked failed"),
    N_("marked skipped"),
    N_("its run was marked success"),
    N_("its run ended"),
    N_("its run ended early"),
    N_("no longer in the DAG"),
    N_("in the DAG again"),
    N_("started"),
    N_("scheduled, try {n}"),
    N_("ended {state}: {why}"),
    N_("ended {state}"),
)
_REFUSALS = (
    N_("there is no DAG {name}"),
    N_("DAG {dag_id} has no run {run_id}"),
    N_("run {run_id} has no instance {name}"),
    N_("DAG {dag_id} has no task {name}"),
    N_("there is no asset {name}"),
    N_("no scheduler is leading"),
)
_SCHEDULES = (
    N_("Triggered by assets"),
    N_("Never, triggered by hand or by others only"),
    N_("Never"),
    N_("partitions are named by whoever triggers it, and by its tasks"),
    N_("Once, as soon as possible"),
    N_("As soon as the last run has finished"),
    N_("No events"),
    N_("{n} events between {first} and {last}"),
    N_("{time}, {when}"),
    N_("At {clocks}"),
    N_("Every minute"),
    N_("Every {n} minutes"),
    N_("Every hour"),
    N_("Every hour at minute {minute}"),
    N_("Every {n} hours"),
    N_("Every {n} hours at minute {minute}"),
    N_("Every {length}"),
    N_("every day"),
    N_("on the last day of the month"),
    N_("on day {days}"),
    N_("every {n} days"),
    N_("every {n} months"),
)
_WORDS = {
    name: name
    for name in (
        N_("Monday"),
        N_("Tuesday"),
        N_("Wednesday"),
        N_("Thursday"),
        N_("Friday"),
        N_("Saturday"),
        N_("Sunday"),
        N_("January"),
        N_("February"),
        N_("March"),
        N_("April"),
        N_("May"),
        N_("June"),
        N_("July"),
        N_("August"),
        N_("September"),
        N_("October"),
        N_("November"),
        N_("December"),
    )
}
_UNITS = {
    "day": N_("{n} day"),
    "hour": N_("{n} hour"),
    "minute": N_("{n} minute"),
    "second": N_("{n} second"),
    "week": N_("{n} week"),
    "month": N_("{n} month"),
    "year": N_("{n} year"),
}
#: What a value looks like, where that tells it from what follows.
_SHAPES = {"at": r"\S+", "state": r"\w+", "n": r"\S+", "most": r"\S+"}
_ARROW = re.compile(r"(?P<old>\w+) -> (?P<new>\w+): (?P<cause>.*?)(?: \((?P<why>.*)\))?", re.DOTALL)
_PLACE = re.compile(r"\\\{(\w+)\\\}")


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    # More of it fixed is the better fit: the rest is what values are.
    ordered = sorted(
        (*_EXPLAIN, *_REASONS, *_REFUSALS),
        key=lambda t: -len(re.sub(r"\{\w+\}", "", t)),
    )
    return tuple((_pattern(t), t) for t in ordered)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(
        _PLACE.sub(lambda m: f"(?P<{m[1]}>{_SHAPES.get(m[1], '.+?')})", re.escape(template)),
        re.DOTALL,
    )


def said(text: str) -> str:
    """Return what a service said, in the reader's language."""
    return put(text, catalogue(language()))


def put(text: str, known: Mapping[str, str]) -> str:
    """Return what a service said, in the language of a catalogue."""
    if not known or not text:
        return text
    if move := _ARROW.fullmatch(text):
        why = move["why"]
        return (
            f"{_state(move['old'], known)} → {_state(move['new'], known)}: {put(move['cause'], known)}"
            + (f" ({put(why, known)})" if why else "")
        )
    for pattern, template in _patterns():
        if found := pattern.fullmatch(text):
            values = {name: _value(name, value, known) for name, value in found.groupdict().items()}
            return known.get(template, template).format(**values)
    return _upstream(text, known)


def _value(name: str, value: str, known: Mapping[str, str]) -> str:
    if name == "state":
        return _state(value, known)
    if name == "holder":
        return known.get("its executor", value) if value == N_("its executor") else value
    return put(value, known) if name in _SPOKEN else value


def _state(state: str, known: Mapping[str, str]) -> str:
    name = "no state yet" if state == "none" else state.replace("_", " ")
    return known.get(name, state)


def _upstream(text: str, known: Mapping[str, str]) -> str:
    """Say ``all_success over failed: a, b and 2 more; skipped: c``."""
    rule, over, groups = text.partition(" over ")
    if not over or not re.fullmatch(r"[a-z_]+", rule):
        return text
    parts = []
    for group in groups.split("; "):
        state, colon, names = group.partition(": ")
        if not colon:
            return text
        names = re.sub(
            r" and (\d+) more$",
            lambda m: known.get(N_(" and {n} more"), " and {n} more").format(n=m[1]),
            names,
        )
        parts.append(f"{_state(state, known)}: {names}")
    template = N_("{rule} over {tasks}")
    return known.get(template, template).format(rule=rule, tasks="; ".join(parts))


# --- schedules ---------------------------------------------------------------------------------------


@cache
def _schedule_patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((_pattern(t), t) for t in _SCHEDULES)


def schedule(words: str, written: str) -> str:
    """Return a schedule's words in the reader's language; as it is written where they cannot be told."""
    known = catalogue(language())
    return schedule_in(words, written, known)


def schedule_in(words: str, written: str, known: Mapping[str, str]) -> str:
    """Return a schedule's words in the language of a catalogue."""
    if not known or not words:
        return words or written
    try:
        return "; ".join(_schedule(part, known) for part in words.split("; "))
    except LookupError:
        # The words of a timetable of one's own stay as they are; an expression says more than half a sentence.
        return words if not written or words != _described(written) else written


def _described(written: str) -> str:
    try:
        return describe(written)
    except ValueError:
        return ""


def _schedule(text: str, known: Mapping[str, str]) -> str:
    for pattern, template in _schedule_patterns():
        found = pattern.fullmatch(text)
        if not found:
            continue
        values = found.groupdict()
        try:
            put_in = {name: _piece(name, value, known) for name, value in values.items()}
        except LookupError:
            continue
        return known.get(template, template).format(**put_in)
    raise LookupError(text)


def _piece(name: str, value: str, known: Mapping[str, str]) -> str:
    match name:
        case "n" | "minute":
            if not value.isdigit():
                raise LookupError(value)
            return value
        case "time":
            return _schedule(value, known)
        case "when":
            return _when(value, known)
        case "clocks" | "days":
            if re.search(r"[A-Za-z]{3,}", value.replace(" and ", " ")):
                raise LookupError(value)
            return value.replace(" and ", ", ").replace(" to ", "~")
        case "length":
            return _length(value, known)
        case _:
            return value


def _length(value: str, known: Mapping[str, str]) -> str:
    pieces = re.findall(r"([\d.]+) ([a-z]+?)s?(?= |$)", value)
    if " ".join(f"{n} {u}" for n, u in pieces) != re.sub(r"([a-z])s\b", r"\1", value):
        raise LookupError(value)
    return " ".join(known.get(_UNITS[unit], _UNITS[unit]).format(n=n) for n, unit in pieces)


def _when(value: str, known: Mapping[str, str]) -> str:
    """Say which days: weekdays, days of a month, months, or several of these."""
    text, month = value, ""
    if found := re.search(r"(?:^| )in ([A-Z].*)$", text):
        month, text = _list(found[1], known), text[: found.start()]
    if not text:
        return month
    if month and (found := re.fullmatch(r"on day ([\d, and~to]+)", text)):
        template = N_("on day {days} of {months}")
        days = _piece("days", found[1], known)
        return known.get(template, template).format(days=days, months=month)
    text, either, weekday = text.partition(" or ")
    day = _list(text, known) if text.split(" ")[0].rstrip(",") in _WORDS else _schedule(text, known)
    if either:
        template = N_("{day} or {weekday}")
        day = known.get(template, template).format(day=day, weekday=_list(weekday, known))
    return f"{month} {day}".strip()


def _list(text: str, known: Mapping[str, str]) -> str:
    parts = []
    for part in re.split(r", | and ", text):
        ends = [known.get(_WORDS[end], end) for end in part.split(" to ")]
        parts.append("~".join(ends))
    return ", ".join(parts)
