"""``XCom``: reading single values by the names of their task and run."""

from __future__ import annotations

from typing import Any

from boraflow._comms import need_comms
from boraflow._context import get_current_context
from boraflow._notset import XCOM_RETURN_KEY
from boraflow._serde import decode, encode
from boraflow._xcom_backend import from_text


class BaseXCom:
    """Reads XComs by DAG, run and task. Inside a task, ``ti.xcom_pull`` is shorter.

    A backend is a subclass with its own :meth:`serialize_value` and :meth:`deserialize_value`, named by
    ``BORAFLOW_XCOM_BACKEND``.
    """

    XCOM_RETURN_KEY = XCOM_RETURN_KEY

    @classmethod
    def get_one(
        cls,
        *,
        key: str = XCOM_RETURN_KEY,
        dag_id: str,
        task_id: str,
        run_id: str,
        map_index: int | None = None,
        include_prior_dates: bool = False,
        session: Any = None,
    ) -> Any:
        """Return a value, or None."""
        comms = need_comms(f"reading the XCom '{key}' of task '{task_id}'")
        index = -1 if map_index is None else map_index
        own = _pushed_now(dag_id, task_id, run_id, index, key)
        if own is not None:
            return from_text(own, key)
        text = comms.get_xcom(dag_id, run_id, task_id, index, key)
        if text is None and include_prior_dates:
            found = comms.get_xcoms(dag_id, run_id, [task_id], [index], key, True)
            text = found[-1][2] if found else None
        return None if text is None else from_text(text, key)

    @classmethod
    def get_value(cls, *, ti_key: Any, key: str = XCOM_RETURN_KEY, session: Any = None) -> Any:
        """Return a value by the key of its task instance, or None."""
        return cls.get_one(
            key=key,
            dag_id=ti_key.dag_id,
            task_id=ti_key.task_id,
            run_id=ti_key.run_id,
            map_index=ti_key.map_index,
        )

    @staticmethod
    def serialize_value(
        value: Any,
        *,
        key: str | None = None,
        task_id: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> Any:
        """Return a value as what JSON has."""
        return encode(value, f"XCom '{key}'")

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        """Return the value of ``result.value``, which :meth:`serialize_value` returned."""
        return decode(result.value)

    @classmethod
    def purge(cls, xcom: Any, *args: Any) -> None:
        """Remove what a backend keeps of an XCom elsewhere; nothing here."""


def _pushed_now(dag_id: str, task_id: str, run_id: str, map_index: int, key: str) -> str | None:
    """Return what the running attempt itself pushed: it is stored when the attempt ends."""
    try:
        ti = get_current_context()["ti"]
    except RuntimeError:
        return None
    if (ti.dag_id, ti.task_id, ti.run_id, ti.map_index) != (dag_id, task_id, run_id, map_index):
        return None
    found = ti.pushed.get(key)
    return None if found is None else found.value_json
