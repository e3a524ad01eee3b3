"""XCom backends: what the metastore sees, what tasks get, and what is refused."""

from __future__ import annotations

import gzip
import json
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, _xcom_backend, task
from boraflow.exceptions import BoraflowException
from boraflow.testing import run_task

STORAGE = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BORAFLOW_XCOM_BACKEND", STORAGE)
    monkeypatch.setenv("BORAFLOW_XCOM_STORAGE_URL", f"file://{tmp_path}/xcoms")
    monkeypatch.setenv("BORAFLOW_XCOM_STORAGE_THRESHOLD", "1000")
    return tmp_path / "xcoms"


def make() -> DAG:
    with DAG("d") as dag:

        @task
        def small() -> dict[str, Any]:
            return {"day": date(2026, 1, 31)}

        @task
        def large() -> list[Any]:
            return [date(2026, 1, 31), "x" * 2_000_000]

        @task
        def mapped(item: Any) -> str:
            return str(item)[:10] * 200

        @task
        async def use(a: Any, b: Any, ti: Any) -> Any:
            await ti.axcom_push("own", "y" * 2000)
            again = await ti.axcom_pull(task_ids="large")
            own = await ti.axcom_pull(key="own")
            return [a["day"], b[0], len(b[1]), len(again[1]), len(own)]

        result = large()
        mapped.expand(item=result)
        use(small(), result)
    return dag


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_large_values_are_files(
    folder: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_COMPRESSION", compression)
    run = make().test()
    run.assert_success()
    # More than one XCom may hold, by way of a path.
    assert run.xcoms["use"] == [date(2026, 1, 31), date(2026, 1, 31), 2_000_000, 2_000_000, 2000]
    assert run.xcoms["mapped"] == ["2026-01-31" * 200, "xxxxxxxxxx" * 200]
    stored = {k[:2]: json.loads(v) for k, v in run.store.xcoms.items() if k[2] == "return_value"}
    assert stored["small", -1]["day"]["__type"] == "date"
    path = Path(stored["large", -1].removeprefix("file://"))
    assert path.is_relative_to(folder / "d" / run.run_id / "large")
    assert path.name.endswith(".json.gz" if compression else ".json")
    data = path.read_bytes()
    assert json.loads(gzip.decompress(data) if compression else data)[1] == "x" * 2_000_000
    assert len(list(folder.rglob("*.json*"))) == 4


def test_off_by_default_and_clear_about_mistakes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DAG("d"):

        @task
        def large() -> str:
            return "x" * 2000

        called = large()
    monkeypatch.setenv("BORAFLOW_XCOM_STORAGE_THRESHOLD", "-1")
    assert run_task(called).value == "x" * 2000
    assert not folder.exists()
    monkeypatch.setenv("BORAFLOW_XCOM_STORAGE_THRESHOLD", "many")
    assert "THRESHOLD must be a number of bytes, not 'many'" in run_task(called).error
    monkeypatch.setenv("BORAFLOW_XCOM_STORAGE_THRESHOLD", "1")
    monkeypatch.setenv("BORAFLOW_XCOM_STORAGE_COMPRESSION", "squeeze")
    assert "BORAFLOW_XCOM_STORAGE_COMPRESSION=squeeze: fsspec knows" in run_task(called).error
    monkeypatch.delenv("BORAFLOW_XCOM_STORAGE_COMPRESSION")
    monkeypatch.delenv("BORAFLOW_XCOM_STORAGE_URL")
    assert "needs BORAFLOW_XCOM_STORAGE_URL" in run_task(called).error
    monkeypatch.setenv("BORAFLOW_XCOM_BACKEND", "nowhere.Backend")
    assert "BORAFLOW_XCOM_BACKEND=nowhere.Backend" in run_task(called).error
    monkeypatch.setenv("BORAFLOW_XCOM_BACKEND", "pathlib.Path")
    with pytest.raises(BoraflowException, match="it is no subclass of BaseXCom"):
        _xcom_backend.backend()


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    with DAG("d") as dag:

        @task
        def large() -> str:
            return "x" * 2000

        @task
        def remove() -> None:
            for path in folder.rglob("*.json"):
                path.unlink()

        @task
        def use(value: str) -> None: ...

        made = large()
        made >> remove() >> use(made)
    run = dag.test()
    assert run.task_states["use"] == "failed"
    assert "which is gone" in run.get_task_instance("use").reason


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_backend.py").write_text(
        textwrap.dedent(
            """
            import json
            from airflow.sdk.bases.xcom import BaseXCom

            class Upper(BaseXCom):
                @staticmethod
                def serialize_value(value, *, key=None, task_id=None, dag_id=None, run_id=None, map_index=None):
                    return BaseXCom.serialize_value(f"{dag_id}/{task_id}/{map_index}/{key}:{value}")

                @staticmethod
                def deserialize_value(result):
                    return BaseXCom.deserialize_value(result).upper()

            class Old(BaseXCom):
                @staticmethod
                def serialize_value(value, **kwargs):
                    return json.dumps({"kept": value}).encode()

                @staticmethod
                def deserialize_value(result):
                    return result.value["kept"]

            class Wrong(BaseXCom):
                @staticmethod
                def serialize_value(value, **kwargs):
                    return object()
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_backend", None)
    _xcom_backend._class.cache_clear()


def test_a_backend_of_ones_own(own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "own_backend.Upper")
    with DAG("d") as dag:

        @task
        def make() -> str:
            return "a"

        @task
        def use(value: str) -> str:
            return value

        use(make())
    run = dag.test()
    assert json.loads(run.store.xcoms["make", -1, "return_value"]) == "d/make/-1/return_value:a"
    assert run.xcoms["use"] == "D/USE/-1/RETURN_VALUE:D/MAKE/-1/RETURN_VALUE:A"
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "own_backend.Old")
    assert dag.test().xcoms == {"make": "a", "use": "a"}
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "own_backend.Wrong")
    reason = dag.test().get_task_instance("make").reason
    assert "Wrong.serialize_value() must return what JSON has" in reason
