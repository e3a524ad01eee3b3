"""XCom values as JSON text and back."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import json
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pandas as pd
import pendulum
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boraflow._serde import dumps, loads
from boraflow.exceptions import XComSerializationError, XComTooLarge


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    when: dt.datetime
    derived: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "derived", self.when.year)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    a: int
    b: str


class Model(pydantic.BaseModel):
    name: str
    when: dt.datetime
    tags: set[str] = set()


@attrs.define
class Attrs:
    a: int
    _hidden: str = "h"


class Own:
    __version__ = 2

    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        # Names a test; workers of pytest-xdist must agree on it.
        return f"Own({self.value})"

    def serialize(self) -> dict[str, int]:
        return {"value": self.value}

    @classmethod
    def deserialize(cls, data: dict[str, int], version: int) -> Own:
        assert version == 2
        return cls(data["value"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other.value == self.value


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        1.5,
        math.inf,
        -math.inf,
        "",
        "žluťoučký \U0001f40e \x00 \ud800",
        [1, [2, "x"], None],
        {"a": {"b": [1]}},
        {},
        {"__type": "tuple", "__data": [1]},
        {1: "a", (2, 3): "b", None: "c"},
        (1, (2,), "x"),
        {1, 2},
        frozenset({"a"}),
        b"\x00\xff",
        bytearray(b"ab"),
        1 + 2j,
        Decimal("12.340"),
        uuid.UUID(int=7),
        Path("/tmp/x"),
        dt.date(2026, 1, 31),
        dt.time(12, 30, 1, 5),
        dt.timedelta(days=-1, seconds=5, microseconds=7),
        dt.datetime(2026, 1, 1, 12),
        dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC),
        dt.datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=BERLIN),
        dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
        dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3))),
        pendulum.datetime(2026, 1, 1, tz="Europe/Berlin"),
        pendulum.datetime(2026, 1, 1),
        Point(1, Point(2, {3})),
        Frozen(dt.datetime(2026, 1, 1)),
        Colour.RED,
        Level.LOW,
        Pair(1, "b"),
        Model(name="n", when=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), tags={"a"}),
        Attrs(1, "x"),
        Own(5),
        [Own(1), {"k": (Colour.RED, Point(1))}],
    ],
    ids=repr,
)
def test_round_trip(value: Any) -> None:
    text = dumps(value)
    json.loads(text)
    text.encode()
    back = loads(text)
    assert back == value
    assert type(back) is type(value)
    if isinstance(value, dt.datetime):
        assert back.utcoffset() == value.utcoffset()
        assert str(back.tzinfo) == str(value.tzinfo)


def test_nan_is_valid_json() -> None:
    text = dumps({"x": math.nan})
    assert "NaN" not in text
    assert math.isnan(loads(text)["x"])


def test_plain_values_stay_plain_json() -> None:
    assert dumps({"a": [1, "x", None, True, 1.5]}) == '{"a":[1,"x",null,true,1.5]}'


def test_sets_are_stored_in_one_order() -> None:
    assert dumps({"b", "a", "c"}) == dumps({"c", "b", "a"})


@pytest.mark.parametrize(
    "value",
    [
        np.int64(5),
        np.float32(1.5),
        np.bool_(True),
        np.str_("x"),
        np.datetime64("2026-01-01"),
        np.array([[1, 2], [3, 4]], dtype="int16"),
        np.array(["a", None], dtype=object),
        np.array([1.0, np.nan]),
        np.array([], dtype="float64"),
    ],
    ids=repr,
)
def test_numpy(value: Any) -> None:
    back = loads(dumps(value))
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


def frames() -> list[Any]:
    index = pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin", name="day")
    return [
        pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [1.5, np.nan, 3]}),
        pd.DataFrame({"t": index, "d": pd.to_timedelta([1, 2, 3], unit="s")}, index=index),
        pd.DataFrame({"i": pd.array([1, None, 3], dtype="Int64"), "g": [True, False, True]}),
        pd.DataFrame({("x", 1): [1], ("y", 2): [2]}),
        pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame({"a": [1, 2]}, index=["dup", "dup"]),
        pd.Series([1, 2], name="s", index=["p", "q"]),
        pd.Series(pd.to_datetime(["2026-01-01", None])),
        pd.Index([1, 2], name="n"),
    ]


@pytest.mark.parametrize("number", range(9))
def test_pandas(number: int) -> None:
    value = frames()[number]
    back = loads(dumps(value))
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(back, value, check_freq=False)
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(back, value)
    else:
        pd.testing.assert_index_equal(back, value)
    assert loads(dumps(pd.Timestamp("2026-01-01", tz="Europe/Berlin"))) == pd.Timestamp(
        "2026-01-01", tz="Europe/Berlin"
    )


def test_what_cannot_be_stored_is_named() -> None:
    class Local:
        pass

    @dataclasses.dataclass
    class LocalData:
        x: int

    with pytest.raises(
        XComSerializationError, match=r"XCom 'k'\['a'\]\[1\] is a .*Local, which cannot"
    ):
        dumps({"a": [1, Local()]}, what="XCom 'k'")
    with pytest.raises(XComSerializationError, match="define it at the top level"):
        dumps(LocalData(1))
    with pytest.raises(XComSerializationError, match="function"):
        dumps(lambda: 1)
    with (
        Path(__file__).open() as file,
        pytest.raises(XComSerializationError, match="TextIOWrapper"),
    ):
        dumps(file)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(XComSerializationError, match="contains itself"):
        dumps(loop)
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(XComSerializationError, match="nested"):
        dumps(deep)


def test_other_containers_become_plain_ones() -> None:
    assert loads(dumps(collections.OrderedDict(a=1))) == {"a": 1}
    assert loads(dumps({"a": 1}.keys())) == ["a"]
    assert loads(dumps(range(3))) == [0, 1, 2]


def test_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        XComTooLarge,
        match=r"XCom 'k' is 10,000,002 bytes.*limit is 1,048,576.*BORAFLOW_XCOM_MAX_BYTES",
    ):
        dumps("x" * 10_000_000, what="XCom 'k'")
    dumps("x" * 10_000_000, limit=0)
    monkeypatch.setenv("BORAFLOW_XCOM_MAX_BYTES", "10")
    dumps("x" * 8)
    with pytest.raises(XComTooLarge):
        dumps("x" * 9)
    with pytest.raises(XComTooLarge):
        dumps("ž" * 5)


def test_a_text_builds_only_value_classes() -> None:
    for text in (
        '{"__type":"dataclass","__data":["subprocess:Popen",{"args":"true"}]}',
        '{"__type":"enum","__data":["os:system","true"]}',
        '{"__type":"object","__data":["builtins:exec",1,"1"]}',
        '{"__type":"pydantic","__data":["builtins:int","1"]}',
        '{"__type":"attrs","__data":["pathlib:Path",{}]}',
        '{"__type":"namedtuple","__data":["builtins:tuple",[1]]}',
        '{"__type":"nothing like it","__data":1}',
        '{"__type":"dataclass","__data":["no.such.module:X",{}]}',
    ):
        with pytest.raises(XComSerializationError):
            loads(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.datetimes() | st.decimals(allow_nan=False) | st.binary() | st.uuids() | st.dates() | st.timedeltas(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


@given(plain)
def test_round_trip_of_anything(value: Any) -> None:
    back = loads(dumps(value, limit=0))
    assert back == value
    assert type(back) is type(value)
