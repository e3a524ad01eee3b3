"""``XCom``: reading single values by the names of their task and run."""

from __future__ import annotations

from typing import Any

from boraflow._comms import need_comms
from boraflow._notset import XCOM_RETURN_KEY
from boraflow._serde import loads


class BaseXCom:
    """Reads XComs by DAG, run and task. Inside a task, ``ti.xcom_pull`` is shorter."""

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
        text = comms.get_xcom(dag_id, run_id, task_id, index, key)
        if text is None and include_prior_dates:
            found = comms.get_xcoms(dag_id, run_id, [task_id], [index], key, True)
            text = found[-1][2] if found else None
        return None if text is None else loads(text)

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
