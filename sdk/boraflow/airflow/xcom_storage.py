"""XComObjectStorageBackend: large XComs go to a file system or object store, small ones to the metastore."""

from __future__ import annotations

import functools
import json
import os
import uuid
from typing import Any

from boraflow._object_path import ObjectStoragePath
from boraflow._serde import decode, encode
from boraflow.airflow.conf import conf
from boraflow.airflow.xcom import BaseXCom
from boraflow.exceptions import AirflowConfigException, BoraflowException


def _setting(own: str, key: str, fallback: str | None = None) -> str:
    value = os.environ.get(own, "").strip() or conf.get("common.io", key, fallback)
    if value is None:
        raise AirflowConfigException(
            f"XComObjectStorageBackend needs {own} (or AIRFLOW__COMMON_IO__{key.upper()}): where large XComs go"
        )
    return str(value)


@functools.cache
def _base(text: str) -> ObjectStoragePath:
    return ObjectStoragePath(text)


def _compression() -> tuple[str | None, str]:
    """Return the name of the compression, or None, and the suffix of its files.

    Raises:
        AirflowConfigException: fsspec does not know it.
    """
    name = _setting("BORAFLOW_XCOM_STORAGE_COMPRESSION", "xcom_objectstorage_compression", "")
    if not name:
        return None, ""
    from fsspec.utils import compressions

    for suffix, known in compressions.items():
        if known == name:
            return name, f".{suffix}"
    raise AirflowConfigException(
        f"BORAFLOW_XCOM_STORAGE_COMPRESSION={name}: fsspec knows {', '.join(sorted(set(compressions.values())))}"
    )


class XComObjectStorageBackend(BaseXCom):
    """Keeps values from a size on in files, and their paths as XComs.

    ``BORAFLOW_XCOM_STORAGE_URL``
        the folder, any URL that fsspec knows, with the account of a connection (``s3://conn_id@bucket/xcoms``).
    ``BORAFLOW_XCOM_STORAGE_THRESHOLD``
        from how many bytes of JSON on a value becomes a file; -1, the default, is never, 0 always.
    ``BORAFLOW_XCOM_STORAGE_COMPRESSION``
        ``gzip`` and the like.

    Airflow's names of them (``AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH`` and so on) count too. Each value has a
    file of its own, so that a try that is superseded overwrites none; files outlive their XComs: let the store's life
    cycle rules remove old ones.
    """

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
        """Return the value itself, or the path of the file that it is in now."""
        tree = encode(value, f"XCom '{key}' of task '{task_id}'")
        text = _setting("BORAFLOW_XCOM_STORAGE_THRESHOLD", "xcom_objectstorage_threshold", "-1")
        try:
            threshold = int(text)
        except ValueError:
            raise AirflowConfigException(
                f"BORAFLOW_XCOM_STORAGE_THRESHOLD must be a number of bytes, not {text!r}"
            ) from None
        if threshold < 0:
            return tree
        data = json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        if len(data) < threshold:
            return tree
        compression, suffix = _compression()
        folder = _base(_setting("BORAFLOW_XCOM_STORAGE_URL", "xcom_objectstorage_path")).joinpath(
            dag_id or "no_dag", run_id or "no_run", task_id or "no_task"
        )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid.uuid4()}.json{suffix}"
        with path.open("wb", compression=compression) as file:
            file.write(data)
        return str(path)

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        """Return a value, from its file if it has one.

        Raises:
            BoraflowException: the file is gone.
        """
        path = _path_of(result.value)
        if path is None:
            return BaseXCom.deserialize_value(result)
        try:
            with path.open("rb", compression="infer") as file:
                return decode(json.loads(file.read()))
        except FileNotFoundError:
            raise BoraflowException(
                f"XCom '{getattr(result, 'key', '')}' was stored in {path}, which is gone"
            ) from None

    @classmethod
    def purge(cls, xcom: Any, *args: Any) -> None:
        """Delete the file of a value, if it has one."""
        path = _path_of(xcom.value)
        if path is not None:
            path.unlink(missing_ok=True)


def _path_of(stored: Any) -> ObjectStoragePath | None:
    """Return the file that a stored value names; None for a value that is no path below the configured folder."""
    if not isinstance(stored, str):
        return None
    root = _setting("BORAFLOW_XCOM_STORAGE_URL", "xcom_objectstorage_path", "")
    if not root:
        return None
    base = str(_base(root)).rstrip("/") + "/"
    return ObjectStoragePath(stored) if stored.startswith(base) else None
