"""The XCom backend: what becomes of a value between a task and the metastore; JSON text, or what a class makes of it.

``BORAFLOW_XCOM_BACKEND`` (or ``AIRFLOW__CORE__XCOM_BACKEND``) names the class. It is user code and runs in worker
processes and ``dag.test()`` only: the services see what it stored, such as a path.
"""

from __future__ import annotations

import functools
import json
import os
from typing import Any, NamedTuple

from boraflow._serde import checked_text, dumps, loads
from boraflow.exceptions import BoraflowException, XComSerializationError

VARIABLES = ("BORAFLOW_XCOM_BACKEND", "AIRFLOW__CORE__XCOM_BACKEND")


class XComResult(NamedTuple):
    """A stored XCom, as a backend's ``deserialize_value`` gets it."""

    key: str
    value: Any
    """What ``serialize_value`` returned, after its way through JSON."""


def backend() -> Any:
    """Return the class that is configured, or None.

    Raises:
        BoraflowException: it cannot be imported, or is no XCom backend.
    """
    for variable in VARIABLES:
        if path := os.environ.get(variable, "").strip():
            return _class(variable, path)
    return None


@functools.cache
def _class(variable: str, path: str) -> Any:
    from boraflow.airflow import hook
    from boraflow.airflow.loading import import_string
    from boraflow.airflow.xcom import BaseXCom

    try:
        with hook.active():
            found = import_string(path)
    except ImportError as error:
        raise BoraflowException(f"{variable}={path}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, BaseXCom)):
        raise BoraflowException(f"{variable}={path}: it is no subclass of BaseXCom")
    return None if found is BaseXCom else found


def to_text(value: Any, key: str, *, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return what the metastore keeps of a value.

    Raises:
        XComSerializationError: it cannot be stored.
        XComTooLarge: what is to be stored is larger than the limit.
    """
    what = f"XCom '{key}' of task '{task_id}'"
    configured = backend()
    if configured is None:
        return dumps(value, what=what)
    tree = configured.serialize_value(
        value, key=key, task_id=task_id, dag_id=dag_id, run_id=run_id, map_index=map_index
    )
    try:
        if isinstance(tree, bytes):  # JSON text, as backends of Airflow 2 return it
            tree = json.loads(tree)
        return checked_text(tree, what)
    except (TypeError, ValueError) as error:
        raise XComSerializationError(
            f"{what}: {configured.__name__}.serialize_value() must return what JSON has: {error}"
        ) from None


def from_text(text: str, key: str = "return_value") -> Any:
    """Return the value that :func:`to_text` was given."""
    configured = backend()
    if configured is None:
        return loads(text)
    return configured.deserialize_value(XComResult(key, json.loads(text)))
