"""How user code in a child process asks its agent: :class:`boraflow.model.attempt.Comms` over frames."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from boraflow.exceptions import BoraflowException
from boraflow.model.rows import Micros
from boraflow.runtime.protocol import Channel


class ChildComms:
    """Asks the agent, one question at a time, from any thread of the process that owns the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._next = 0
        self.attempt_id = ""
        """On whose behalf; empty while a DAG file is loaded."""

    def reset(self, attempt_id: str) -> None:
        """Speak for ``attempt_id`` from now on."""
        self.attempt_id = attempt_id
        self._pid = os.getpid()
        # A thread of the previous attempt may hold the old one for good.
        self._lock = threading.RLock()

    def _ask(self, what: str, **arguments: Any) -> Any:
        if os.getpid() != self._pid:
            raise BoraflowException(
                f"{what}: variables, connections and XComs are there only in the task's own process, not in a"
                " process that it forked; read them before and pass the values"
            )
        with self._lock:
            self._next += 1
            number = self._next
            self._channel.send(
                {"t": "ask", "id": number, "attempt_id": self.attempt_id, "what": what, **arguments}
            )
            answer = self._channel.recv_answer(number)
        if answer is None:
            raise BoraflowException(f"{what}: the executor is gone")
        if error := answer.get("error"):
            raise BoraflowException(error)
        return answer.get("value")

    def _tell(self, what: str, **arguments: Any) -> None:
        if os.getpid() == self._pid:
            with self._lock:
                self._channel.send(
                    {"t": "tell", "attempt_id": self.attempt_id, "what": what, **arguments}
                )

    def get_xcom(
        self, dag_id: str, run_id: str, task_id: str, map_index: int | None, key: str
    ) -> str | None:
        return self._ask(
            "get_xcom", dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, key=key
        )

    def get_xcoms(
        self,
        dag_id: str,
        run_id: str | None,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] | None,
        key: str,
        include_prior_dates: bool,
    ) -> list[tuple[str, int, str]]:
        found = self._ask(
            "get_xcoms",
            dag_id=dag_id,
            run_id=run_id,
            task_ids=list(task_ids),
            map_indexes=None if map_indexes is None else list(map_indexes),
            key=key,
            include_prior_dates=include_prior_dates,
        )
        return [(task_id, map_index, value) for task_id, map_index, value in found]

    def get_newest_xcoms(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] | None,
        include_prior_dates: bool,
        key: str | None = None,
    ) -> list[tuple[str, int, str, str]]:
        found = self._ask(
            "get_newest_xcoms",
            dag_id=dag_id,
            run_id=run_id,
            task_ids=list(task_ids),
            map_indexes=None if map_indexes is None else list(map_indexes),
            include_prior_dates=include_prior_dates,
            key=key,
        )
        return [(task_id, index, own, value) for task_id, index, own, value in found]

    def get_mapped_item(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int | None,
        key: str,
        position: int,
        batch: str,
    ) -> tuple[int, str | None] | None:
        found = self._ask(
            "get_mapped_item",
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            map_index=map_index,
            key=key,
            position=position,
            batch=batch,
        )
        return None if found is None else (found[0], found[1])

    def get_variable(self, key: str) -> str | None:
        return self._ask("get_variable", key=key)

    def set_variable(self, key: str, value: str, description: str | None = None) -> None:
        self._ask("set_variable", key=key, value=value, description=description)

    def delete_variable(self, key: str) -> None:
        self._ask("delete_variable", key=key)

    def get_connection(self, conn_id: str) -> dict[str, Any] | None:
        return self._ask("get_connection", conn_id=conn_id)

    def previous_success(self, dag_id: str, before: Micros) -> dict[str, Micros | None] | None:
        return self._ask("previous_success", dag_id=dag_id, before=before)

    def trigger_dag_run(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._ask("trigger_dag_run", request=request)

    def dag_exists(self, dag_id: str) -> bool:
        return bool(self._ask("dag_exists", dag_id=dag_id))

    def get_run_state(
        self, dag_id: str, run_id: str | None, logical_date: Micros | None
    ) -> str | None:
        return self._ask("get_run_state", dag_id=dag_id, run_id=run_id, logical_date=logical_date)

    def get_task_states(
        self,
        dag_id: str,
        logical_dates: Sequence[Micros],
        run_ids: Sequence[str],
        task_ids: Sequence[str] | None,
        group_id: str | None,
    ) -> list[dict[str, Any]]:
        return self._ask(
            "get_task_states",
            dag_id=dag_id,
            logical_dates=list(logical_dates),
            run_ids=list(run_ids),
            task_ids=None if task_ids is None else list(task_ids),
            group_id=group_id,
        )

    def asset_events(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        return self._ask("asset_events", query=query)

    def check_assets(self, assets: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self._ask("check_assets", assets=assets)

    def get_state(self, scope: dict[str, Any], key: str) -> str | None:
        return self._ask("get_state", scope=scope, key=key)

    def set_state(
        self, scope: dict[str, Any], key: str, value_json: str, retention_us: int | None
    ) -> str:
        return str(
            self._ask(
                "set_state", scope=scope, key=key, value_json=value_json, retention_us=retention_us
            )
        )

    def delete_state(self, scope: dict[str, Any], key: str | None) -> None:
        self._ask("delete_state", scope=scope, key=key)

    def set_rendered_fields(self, fields: dict[str, Any]) -> None:
        self._tell("rendered", fields=fields)

    def mask(self, secret: str) -> None:
        self._tell("mask", secret=secret)
