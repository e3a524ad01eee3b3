"""What an XCom's JSON text holds, as people read it: tables, pictures, text, plain JSON. Pure, and runs no user code.

The text is the envelopes that :mod:`boraflow._serde` writes. They are read here by their form alone: decoding them
would import the classes that they name, and pandas with them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TYPE, DATA = "__type", "__data"
ROWS = 500
"""Rows of a table that are shown at most."""
COLUMNS = 60
TEXT = 256 * 1024
"""Characters of a text that are shown at most."""
PICTURE = 4 * 1024 * 1024
"""Bytes of a picture that is shown at most."""
_LINE = 80
"""Characters of JSON that stay on one line."""
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain values; ``count`` is how many there are, shown or not."""

    columns: list[str]
    rows: list[list[Any]]
    count: int
    what: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A value, in one of these forms; the first that is there counts."""

    picture: str = ""
    """A ``data:`` URL."""
    table: Table | None = None
    text: str = ""
    json: str = ""
    """Indented."""
    note: str = ""
    """What it is: ``pandas.DataFrame``, ``bytes``, ...; empty for what JSON has."""
    cut: bool = field(default=False)
    """Not all of it is shown."""


def show(text: str, pictures: Path | None = None) -> Shown:
    """Return how the JSON text of an XCom is shown.

    Args:
        text: what the metastore keeps.
        pictures: folder whose pictures are shown where a value is the path of one; none by default.
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError:
        return _text(text, "")
    name, data = _envelope(tree)
    if name in ("bytes", "bytearray") and isinstance(data, str):
        return _bytes(data, name)
    if isinstance(tree, str) or name == "path":
        value = str(data) if name else tree
        if pictures is not None and (found := _file(value, pictures)):
            return Shown(picture=found, note=value)
        if value.startswith("data:image/") and ";base64," in value[:64]:
            raw = value.partition(",")[2]
            shown = _bytes(raw, "")
            return shown if shown.picture else _text(value, "")
        return _text(value, name if name == "path" else "")
    table = _table(tree)
    if table is not None:
        return Shown(table=table, note=table.what, cut=table.count > len(table.rows))
    read = plain(tree)
    if isinstance(read, str):
        return _text(read, name)
    value = json.dumps(read, ensure_ascii=False)
    if len(value) > _LINE:
        value = json.dumps(read, indent=2, ensure_ascii=False)
    return Shown(json=value[:TEXT], note=name, cut=len(value) > TEXT)


def item(name: str, value: Shown, **more: Any) -> dict[str, Any]:
    """Return what ``assets/values.js`` draws of a value."""
    drawn: dict[str, Any] = {"name": name, "note": value.note, "cut": value.cut, **more}
    if value.picture:
        drawn["picture"] = value.picture
    elif value.table is not None:
        of = value.table
        drawn["table"] = {"columns": of.columns, "rows": of.rows, "count": of.count}
    else:
        drawn["text"] = value.text or value.json
    return drawn


def _text(value: str, note: str) -> Shown:
    return Shown(text=value[:TEXT], note=note, cut=len(value) > TEXT)


def _envelope(tree: Any) -> tuple[str, Any]:
    if isinstance(tree, dict) and len(tree) == 2 and isinstance(tree.get(TYPE), str):
        return tree[TYPE], tree.get(DATA)
    return "", None


# --- pictures and bytes ------------------------------------------------------------------------------


def picture(raw: bytes) -> str:
    """Return bytes as the ``data:`` URL of a picture; empty when they are none, or too many."""
    if len(raw) > PICTURE:
        return ""
    kind = next((k for start, k in _PICTURES if raw.startswith(start)), "")
    if not kind and raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        kind = "image/webp"
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}" if kind else ""


def _bytes(data: str, name: str) -> Shown:
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return _text(data, name)
    what = f"{name or 'picture'}, {len(raw):,} B"
    if found := picture(raw):
        return Shown(picture=found, note=what)
    with contextlib.suppress(UnicodeDecodeError):
        text = raw.decode()
        if not any(c < " " and c not in "\t\r\n" for c in text):
            return _text(text, what)
    lines = [
        f"{i:08x}  {part.hex(' ', 2):<39}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in part)}"
        for i in range(0, min(len(raw), 1024), 16)
        for part in (raw[i : i + 16],)
    ]
    return Shown(text="\n".join(lines), note=what, cut=len(raw) > 1024)


def _file(value: str, folder: Path) -> str:
    if not value.lower().endswith(_SUFFIXES) or len(value) > 1000 or "\0" in value:
        return ""
    path = (folder / value.removeprefix("file://")).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return ""
    with path.open("rb") as file:
        return picture(file.read(PICTURE + 1))


# --- tables ------------------------------------------------------------------------------------------


def _table(tree: Any) -> Table | None:
    name, data = _envelope(tree)
    try:
        match name:
            case "pandas.DataFrame":
                return _frame(data)
            case "pandas.Series":
                count, values = _values(data["data"])
                index_name, _n, index = _index(data["index"])
                label = plain(data.get("name"))
                return _columns(
                    [[index_name, *index], ["value" if label is None else label, *values]],
                    count,
                    name,
                )
            case "numpy.array":
                return _array(data)
            case "pyarrow.Table" | "polars.DataFrame":
                return _arrow(name, data)
            case "tuple" | "set" | "frozenset":
                found = _records(data)
                return found and Table(found.columns, found.rows, found.count, name)
    except (KeyError, TypeError, ValueError, IndexError, struct.error, binascii.Error):
        # Not of the form that we know: shown as JSON.
        return None
    return _records(tree)


def _records(tree: Any) -> Table | None:
    """Return a list of flat objects, or of rows of equal length, as a table."""
    if not isinstance(tree, list) or not tree:
        return None
    items = [plain(i) for i in tree[:ROWS]]
    if all(isinstance(i, dict) and i for i in items):
        columns = list(dict.fromkeys(str(k) for i in items for k in i))
        rows = [[_cell(i.get(c)) for c in columns] for i in items]
    elif all(isinstance(i, list) and i for i in items) and len({len(i) for i in items}) == 1:
        columns = [str(n) for n in range(len(items[0]))]
        rows = [[_cell(v) for v in i] for i in items]
    else:
        return None
    if len(columns) > COLUMNS or (len(tree) < 2 and len(columns) < 2):
        return None
    return Table(columns, rows, len(tree))


def _frame(data: Any) -> Table:
    _name, _n, names = _index(data["columns"])
    index_name, _n, index = _index(data["index"])
    columns: list[list[Any]] = []
    count = 0
    for name, part in zip(names, data["data"][:COLUMNS], strict=False):
        count, values = _values(part)
        columns.append([name, *values])
    # A plain numbering says nothing.
    if "range" not in data["index"]:
        columns.insert(0, [index_name, *index])
    table = _columns(columns, count, "")
    return Table(
        table.columns,
        table.rows,
        count,
        f"pandas.DataFrame, {count:,} × {len(data['data']):,}",
    )


def _columns(columns: Sequence[Sequence[Any]], count: int, what: str) -> Table:
    rows = zip(*(c[1:] for c in columns), strict=False)
    return Table([str(c[0]) for c in columns], [[_cell(v) for v in r] for r in rows], count, what)


def _index(data: Any) -> tuple[str, int, list[Any]]:
    """Return an index's name, its length and its first values."""
    if "range" in data:
        numbers = range(*data["range"])
        return str(data.get("name") or ""), len(numbers), list(numbers[:ROWS])
    if "tuples" in data:
        tuples = [", ".join(str(v) for v in t) for t in plain(data["tuples"][:ROWS])]
        names = [str(n or "") for n in plain(data["names"])]
        return ", ".join(names).strip(", "), len(data["tuples"]), tuples
    count, values = _values(data["values"])
    return str(plain(data.get("name")) or ""), count, values


def _values(data: Any) -> tuple[int, list[Any]]:
    """Return how many values a column has, and the first of them."""
    if "array" not in data:
        return len(data["items"]), plain(data["items"][:ROWS])
    descr, shape, raw = data["array"][DATA]
    return int(shape[0]), _numbers(descr, raw, ROWS)


#: numpy's letters of kinds of numbers by struct's.
_LETTERS = {
    "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?",
}  # fmt: skip


def _numbers(descr: str, raw: str, most: int) -> list[Any]:
    letter = _LETTERS[descr[1:]]
    size = struct.calcsize("=" + letter)
    # Four letters of base64 hold three bytes.
    part = base64.b64decode(raw[: -(-most * size // 3) * 4])
    n = min(most, len(part) // size)
    order = ">" if descr[0] == ">" else "<"
    return list(struct.unpack(f"{order}{n}{letter}", part[: n * size]))


def _array(data: Any) -> Table | None:
    descr, shape, raw = data
    what = f"numpy.ndarray {'×'.join(str(n) for n in shape)} {descr}"
    if len(shape) == 1:
        numbers = _numbers(descr, raw, ROWS)
        return Table(["value"], [[_cell(v)] for v in numbers], shape[0], what)
    if len(shape) != 2 or not 0 < shape[1] <= COLUMNS:
        return None
    numbers = [_cell(v) for v in _numbers(descr, raw, ROWS * shape[1])]
    rows = [numbers[i : i + shape[1]] for i in range(0, len(numbers), shape[1])]
    return Table([str(n) for n in range(shape[1])], rows, shape[0], what)


def _arrow(name: str, data: str) -> Table | None:
    # Comes with Streamlit; loaded when such a value is looked at, not before.
    import pyarrow as pa

    raw = pa.BufferReader(base64.b64decode(data))
    try:
        table = (
            pa.ipc.open_stream(raw) if name == "pyarrow.Table" else pa.ipc.open_file(raw)
        ).read_all()
    except pa.ArrowException:
        return None
    names = [str(n) for n in table.column_names[:COLUMNS]]
    part = table.slice(0, ROWS)
    columns = [[n, *part.column(i).to_pylist()] for i, n in enumerate(names)]
    count = int(table.num_rows)
    return Table(
        names,
        _columns(columns, count, "").rows,
        count,
        f"{name}, {count:,} × {table.num_columns:,}",
    )


def _cell(value: Any) -> Any:
    """Return what stands in a cell: text, a number, a truth value or nothing."""
    if isinstance(value, float):
        # JSON has neither.
        return value if value - value == 0 else str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


# --- everything else ---------------------------------------------------------------------------------


def plain(tree: Any) -> Any:
    """Return a tree without envelopes: what they hold, as JSON that people can read."""
    if isinstance(tree, list):
        return [plain(v) for v in tree]
    if not isinstance(tree, dict):
        return tree
    name, data = _envelope(tree)
    if not name:
        return {k: plain(v) for k, v in tree.items()}
    simplify = _SIMPLE.get(name)
    try:
        if simplify is not None:
            return simplify(data)
        if table := _table(tree):
            return [dict(zip(table.columns, r, strict=False)) for r in table.rows]
    except (KeyError, TypeError, ValueError, IndexError):
        pass
    return {k: plain(v) for k, v in tree.items()}


def _length(data: Any) -> str:
    days, seconds, micros = data
    total = days * 86_400 + seconds + micros / 1e6
    return f"{total:g} s"


def _first(data: Any) -> Any:
    return data[0] if isinstance(data, list) else data


_SIMPLE: dict[str, Callable[[Any], Any]] = {
    "tuple": plain,
    "set": plain,
    "frozenset": plain,
    "dict": lambda d: {str(plain(k)): plain(v) for k, v in d},
    "float": str,
    "bytes": lambda d: f"bytes, {len(base64.b64decode(d)):,} B",
    "bytearray": lambda d: f"bytearray, {len(base64.b64decode(d)):,} B",
    "complex": lambda d: str(complex(*d)),
    "decimal": str,
    "uuid": str,
    "path": str,
    "datetime": _first,
    "pendulum": _first,
    "date": str,
    "time": str,
    "timedelta": _length,
    "timezone": str,
    "enum": lambda d: plain(d[1]),
    "namedtuple": lambda d: plain(d[1]),
    "dataclass": lambda d: plain(d[1]),
    "attrs": lambda d: plain(d[1]),
    "pydantic": lambda d: plain(d[1]),
    "object": lambda d: plain(d[2]),
    "numpy.scalar": lambda d: plain(d[1]),
    "numpy.objects": lambda d: plain(d[1]),
    "numpy.dtype": str,
    "pandas.Timestamp": _first,
    "pandas.Timedelta": str,
    "pandas.missing": lambda _d: None,
    "pandas.Index": lambda d: _index(d)[2],
}
