"""What XComs look like: made by the code that stores them, shown without it."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from boraflow._serde import dumps
from boraflow_ui import xcom_values
from boraflow_ui.xcom_values import Shown, Table

PNG = b"\x89PNG\r\n\x1a\n" + bytes(30)


class Color(enum.Enum):
    RED = "red"


def shown(value: Any) -> Shown:
    return xcom_values.show(dumps(value, limit=0))


def table(value: Any) -> Table:
    found = shown(value).table
    assert found is not None
    # What the browser gets is JSON.
    json.dumps(found.rows, allow_nan=False)
    return found


def test_frames_are_tables() -> None:
    frame = pd.DataFrame({"city": ["Seattle", None], "orders": [3, 5], "share": [0.25, np.nan]})
    found = table(frame)
    assert found.columns == ["city", "orders", "share"]
    assert found.rows == [["Seattle", 3, 0.25], [None, 5, "nan"]]
    assert found.what == "pandas.DataFrame, 2 × 3"
    by_day = frame.set_index(pd.to_datetime(["2026-01-01", "2026-01-02"]).rename("day"))
    found = table(by_day[["orders"]])
    assert found.columns == ["day", "orders"]
    assert found.rows[0] == ["2026-01-01T00:00:00", 3]
    pairs = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"])
    found = table(pd.Series([True, False], index=pairs, name="ok"))
    assert (found.columns, found.rows) == (["x, y", "ok"], [["a, 1", True], ["b, 2", False]])
    assert shown(pd.DataFrame()).picture == ""


@pytest.mark.parametrize(
    "kind", ["f2", "f4", "f8", ">f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "bool"]
)
def test_arrays_of_any_kind(kind: str) -> None:
    array = np.arange(12).astype(kind).reshape(3, 4)
    assert table(array).rows == array.tolist()
    assert [r[0] for r in table(array[0]).rows] == array[0].tolist()


def test_tables_of_others() -> None:
    found = table(pa.table({"a": [1, 2], "b": ["x", None]}))
    assert (found.columns, found.rows) == (["a", "b"], [[1, "x"], [2, None]])
    assert found.what == "pyarrow.Table, 2 × 2"
    assert table([{"a": 1}, {"b": [1, 2]}]).rows == [[1, None], [None, "[1, 2]"]]
    assert table([[1, 2], [3, 4]]).columns == ["0", "1"]
    assert shown([1, 2]).table is None
    assert shown([{}, {}]).table is None
    assert shown([[1], [2, 3]]).table is None


def test_a_long_table_says_how_long_it_is() -> None:
    for value in (pd.DataFrame({"n": range(10_000)}), [{"n": i} for i in range(10_000)]):
        found = shown(value)
        assert found.cut
        assert found.table is not None
        assert (len(found.table.rows), found.table.count) == (xcom_values.ROWS, 10_000)
        assert found.table.rows[499] == [499]


def test_pictures_are_known_by_their_bytes() -> None:
    assert shown(PNG).picture == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert shown("data:image/png;base64," + base64.b64encode(PNG).decode()).picture
    assert shown(b"\xff\xd8\xff\xe0rest").picture.startswith("data:image/jpeg")
    # What only says that it is one is none, nor is what scripts can stand in.
    script = base64.b64encode(b"<svg onload='alert(1)'>").decode()
    assert not shown(f"data:image/svg+xml;base64,{script}").picture
    assert shown(b"two\nlines").text == "two\nlines"
    assert shown(b"\x00\xff").text.startswith("00000000  00ff")
    assert shown(b"\x00a").text.startswith("00000000  0061")


def test_paths_of_pictures_only_below_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "charts"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG)
    (folder / "fake.png").write_text("no picture")
    (tmp_path / "b.png").write_bytes(PNG)
    (folder / "out.png").symlink_to(tmp_path / "b.png")

    def picture(value: Any, of: Path | None = folder) -> str:
        return xcom_values.show(dumps(value), of).picture

    assert picture("a.png")
    assert picture(folder / "a.png")
    assert picture(f"file://{folder}/a.png")
    for value in (
        "../b.png",
        str(tmp_path / "b.png"),
        "out.png",
        "fake.png",
        "none.png",
        "a.png\0",
    ):
        assert not picture(value), value
    assert not picture("a.png", None)


def test_other_values_read_as_json() -> None:
    value = {
        "when": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "price": Decimal("1.10"),
        "pair": (1, 2),
        "some": {3},
        "took": dt.timedelta(minutes=1),
        "red": Color.RED,
        "frame": pd.DataFrame({"n": [1]}),
        "raw": b"123",
    }
    assert json.loads(shown(value).json) == {
        "when": "2026-01-01T00:00:00+00:00",
        "price": "1.10",
        "pair": [1, 2],
        "some": [3],
        "took": "60 s",
        "red": "red",
        "frame": [{"n": 1}],
        "raw": "bytes, 3 B",
    }
    assert json.loads(shown({1: "a", "__type": "b"}).json) == {"1": "a", "__type": "b"}
    assert shown(Decimal("1.10")) == Shown(text="1.10", note="decimal")
    assert shown([1, 2, 3]).json == "[1, 2, 3]"
    assert "\n" in shown([1] * 80).json
    assert shown("text").text == "text"
    assert shown("x" * 300_000).cut
    # Names of classes are read, never imported.
    strange = '{"__type": "dataclass", "__data": ["no.such:Thing", {"n": 1}]}'
    assert json.loads(xcom_values.show(strange).json) == {"n": 1}
    assert xcom_values.show("{no json").text == "{no json"
    broken = '{"__type": "pandas.DataFrame", "__data": {"columns": 1}}'
    assert json.loads(xcom_values.show(broken).json) == json.loads(broken)
