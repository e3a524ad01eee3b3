"""What the engine cannot know it asks the shell for, and asks again when no answer comes in time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from boraflow.engine.commands import Ask
from boraflow.engine.events import Answered

if TYPE_CHECKING:
    from boraflow.engine.state import State

Process = Generator[Ask, Answered, Any]
"""A piece of work that may ask the shell: yields an Ask, is resumed with its answer."""


def ask_shell(state: State, ask: Ask, then: Callable[[Answered], None]) -> None:
    """Ask the shell; ``then`` is called with the answer, an error when there is none in time."""
    state.asks[ask.ask_id] = (ask, then, 0)
    state.asks_out.append(ask)
    state.later(state.settings.ask_timeout, _ask_again, ask.ask_id)


def spawn(state: State, process: Process, done: Callable[[Any], None] = lambda _: None) -> None:
    """Run a process to its end, asking the shell whenever it asks."""
    _resume(state, process, None, done)


def confine(state: State, process: Process, dag_id: str, failed: Callable[[], None]) -> Process:
    """Return a process that calls ``failed`` where ``process`` would raise."""
    try:
        return (yield from process)
    except Exception as err:  # noqa: BLE001 - whatever it is, only this DAG may suffer
        state.fault(err, None, dag_id)
        failed()
        return None


def _resume(state: State, process: Process, answer: Any, done: Callable[[Any], None]) -> None:
    try:
        question = next(process) if answer is None else process.send(answer)
    except StopIteration as end:
        done(end.value)
        return
    ask_shell(state, question, lambda got: _resume(state, process, got, done))


def _ask_again(state: State, ask_id: str) -> None:
    known = state.asks.get(ask_id)
    if known is None:
        return
    ask, then, tries = known
    if tries >= 2:
        del state.asks[ask_id]
        then(Answered(ask_id, error="the metastore did not answer in time"))
        return
    state.asks[ask_id] = (ask, then, tries + 1)
    state.asks_out.append(ask)
    state.later(state.settings.ask_timeout, _ask_again, ask_id)
