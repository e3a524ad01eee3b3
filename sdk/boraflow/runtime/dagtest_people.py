"""The people of ``dag.test()``: those who answer what its tasks ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from boraflow.engine.events import RespondHitl
from boraflow.exceptions import BoraflowException
from boraflow.model.rows import RunRow, TaskRow
from boraflow.model.states import TaskState


class People:
    """Answers given beforehand, by task id, and whoever sits at the terminal."""

    def __init__(self, given: Mapping[str, Any] | None) -> None:
        self._given = dict(given or {})
        self._count = 0

    def answers(
        self, tasks: Iterable[TaskRow], runs: Mapping[str, RunRow], alone: bool
    ) -> list[tuple[str, RespondHitl]]:
        """Return commands, with their ids, that answer what these tasks ask.

        Args:
            tasks: task instances, of which some ask.
            runs: their runs by key.
            alone: nothing but an answer can move the run on.

        Raises:
            BoraflowException: nobody is there to answer, and nothing else can move the run on.
        """
        out = []
        for task in tasks:
            if task.state is not TaskState.AWAITING_INPUT:
                continue
            name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
            answer = self._given.get(name, self._given.get(task.task_id))
            if answer is None and alone:
                answer = self._ask(name, json.loads(task.next_json or "{}").get("input") or {})
            if answer is None:
                continue
            chosen, values = _read(name, answer)
            run = runs[task.run_key]
            self._count += 1
            command = RespondHitl(
                run.dag_id, run.run_id, task.task_id, task.map_index, chosen, json.dumps(values)
            )
            out.append((f"hitl{self._count}", command))
        return out

    @staticmethod
    def _ask(name: str, asked: dict[str, Any]) -> dict[str, Any]:
        if not sys.stdin.isatty():
            raise BoraflowException(
                f"task '{name}' asks {asked.get('subject')!r} and nobody is there to answer: pass "
                f"hitl_responses={{'{name}': {(asked.get('options') or [''])[0]!r}}} to dag.test()"
            )
        options = asked.get("options") or []
        sys.stdout.write(f"\n{name} asks: {asked.get('subject')}\n{asked.get('body') or ''}\n")
        many = " (several, with commas)" if asked.get("multiple") else ""
        text = input(f"Choose{many} {' / '.join(options)}: ")
        chosen = [t.strip() for t in text.split(",")] if asked.get("multiple") else [text.strip()]
        values: dict[str, Any] = {}
        for field, param in (asked.get("params") or {}).items():
            value = input(
                f"{param.get('description') or field} [{param.get('value', '')}]: "
            ).strip()
            if value:
                try:
                    values[field] = json.loads(value)
                except ValueError:
                    values[field] = value
        return {"chosen_options": chosen, "params_input": values}


def _read(name: str, answer: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    if isinstance(answer, str):
        return (answer,), {}
    if isinstance(answer, (list, tuple)):
        return tuple(str(o) for o in answer), {}
    if isinstance(answer, Mapping):
        chosen = answer.get("chosen_options") or ()
        chosen = (chosen,) if isinstance(chosen, str) else tuple(str(o) for o in chosen)
        return chosen, dict(answer.get("params_input") or {})
    raise BoraflowException(
        f"hitl_responses of '{name}' must be an option, a list of options, or"
        f" {{'chosen_options': [...], 'params_input': {{...}}}}, not {answer!r}"
    )
