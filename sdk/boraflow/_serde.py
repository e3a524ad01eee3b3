"""Values as JSON text and back, for XComs, deferred arguments and trigger events.

What JSON has is itself. Everything else is an envelope ``{"__type": NAME, "__data": ...}``; a dict that has
a key ``__type``, or keys that are not text, is an envelope too, so that nothing is ambiguous. Classes are
named by ``module:qualname`` and built only if they are dataclasses, enums, named tuples, attrs or pydantic
models, or have a ``deserialize`` method: a text never calls anything else.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import importlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from boraflow.exceptions import XComSerializationError, XComTooLarge

TYPE = "__type"
DATA = "__data"
DEFAULT_MAX_BYTES = 1 << 20
_MAX_DEPTH = 100


def max_bytes() -> int:
    """Return the size limit of one XCom: ``BORAFLOW_XCOM_MAX_BYTES``, by default 1 MiB."""
    text = os.environ.get("BORAFLOW_XCOM_MAX_BYTES", "")
    try:
        return int(text) if text else DEFAULT_MAX_BYTES
    except ValueError:
        return DEFAULT_MAX_BYTES


def dumps(value: Any, *, what: str = "value", limit: int | None = None) -> str:
    """Return ``value`` as JSON text.

    Args:
        value: what to store.
        what: how errors call it.
        limit: the most bytes it may have; the configured limit when None, 0 for none.

    Raises:
        XComSerializationError: it, or something in it, cannot be stored; the path is named.
        XComTooLarge: it is larger than the limit.
    """
    cls = value.__class__
    if cls is str or cls is int or cls is bool or value is None:
        tree = value
    else:
        tree = encode(value, what)
    return checked_text(tree, what, limit)


def checked_text(tree: Any, what: str, limit: int | None = None) -> str:
    """Return the JSON text of what JSON has.

    Raises:
        TypeError: it is not what JSON has.
        ValueError: so is a number in it.
        XComTooLarge: it is larger than the limit.
    """
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    most = max_bytes() if limit is None else limit
    if most and len(text) * 4 > most:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            size = len(text)
        if size > most:
            raise XComTooLarge(
                f"{what} is {size:,} bytes as JSON; the limit is {most:,} (BORAFLOW_XCOM_MAX_BYTES). "
                "Store large data in a file or object store and pass its path"
            )
    if not text.isascii() and _has_surrogate(text):
        text = json.dumps(tree, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def loads(text: str) -> Any:
    """Return the value that :func:`dumps` wrote."""
    tree = json.loads(text)
    cls = tree.__class__
    if (cls is dict or cls is list) and TYPE in text:
        return decode(tree)
    return tree


# --- encoding ------------------------------------------------------------------------------------


def encode(value: Any, what: str = "value") -> Any:
    """Return ``value`` as a tree of what JSON has."""
    return _encode(value, what, 0, ())


def _envelope(name: str, data: Any) -> dict[str, Any]:
    return {TYPE: name, DATA: data}


def _encode(value: Any, path: str, depth: int, parents: tuple[int, ...]) -> Any:
    cls = value.__class__
    if cls is str or cls is int or cls is bool or value is None:
        return value
    if cls is float:
        if math.isfinite(value):
            return value
        return _envelope("float", "nan" if value != value else "inf" if value > 0 else "-inf")
    if depth > _MAX_DEPTH:
        raise XComSerializationError(f"{path} is nested more than {_MAX_DEPTH} levels deep")
    oid = id(value)
    if oid in parents:
        raise XComSerializationError(f"{path} contains itself")
    inner = (*parents, oid)
    if cls is list:
        return [_encode(v, f"{path}[{i}]", depth + 1, inner) for i, v in enumerate(value)]
    if cls is dict:
        if TYPE not in value and all(k.__class__ is str for k in value):
            return {k: _encode(v, f"{path}[{k!r}]", depth + 1, inner) for k, v in value.items()}
        return _envelope(
            "dict",
            [
                [
                    _encode(k, f"{path} key", depth + 1, inner),
                    _encode(v, f"{path}[{k!r}]", depth + 1, inner),
                ]
                for k, v in value.items()
            ],
        )

    def sub(item: Any, where: str = "") -> Any:
        return _encode(item, path + where, depth + 1, inner)

    if cls is tuple:
        return _envelope("tuple", [sub(v, f"[{i}]") for i, v in enumerate(value)])
    if cls is set or cls is frozenset:
        items = [sub(v) for v in value]
        items.sort(key=lambda item: json.dumps(item, sort_keys=True, default=str))
        return _envelope(cls.__name__, items)
    plain = _PLAIN.get(cls)
    if plain is not None:
        name, to_data = plain
        return _envelope(name, to_data(value))
    return _encode_other(value, cls, path, sub)


_serializers: dict[str, Any] = {}
_deserializers: dict[str, Any] = {}


def register(module: Any) -> None:
    """Use a module that knows how to store classes which are not ours, in the manner of Airflow's.

    It has ``serializers`` and, if they differ, ``deserializers``: classes or their dotted names; ``serialize(value)``, which
    returns what can be stored, the class's name, a version and whether it could; and ``deserialize(cls, version, data)``.

    Raises:
        ValueError: it lacks one of them, or another module has one of its classes.
    """
    name = getattr(module, "__name__", repr(module))
    for function in ("serializers", "serialize", "deserialize"):
        if not hasattr(module, function):
            raise ValueError(f"the serializer {name} has no {function}")
    found = [_dotted(c) for c in module.serializers]
    for table, classes in (
        (_serializers, found),
        (_deserializers, [_dotted(c) for c in getattr(module, "deserializers", found)]),
    ):
        for one in classes:
            if table.setdefault(one, module) is not module:
                raise ValueError(f"both {name} and {table[one].__name__} store {one}")


def _dotted(cls: Any) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


def _decode_registered(data: Any) -> Any:
    name, version, tree = data
    module = _deserializers.get(name)
    if module is None:
        raise XComSerializationError(
            f"no plugin here reads a stored {name}; the one that stored it has a serializer for it"
        )
    owner, _, cls = name.rpartition(".")
    return module.deserialize(getattr(importlib.import_module(owner), cls), version, decode(tree))


def _encode_other(value: Any, cls: Any, path: str, sub: Callable[..., Any]) -> Any:
    if _serializers and (module := _serializers.get(_dotted(cls))) is not None:
        data, name, version, done = module.serialize(value)
        if done:
            return _envelope("registered", [name, version, sub(data)])
    if isinstance(value, enum.Enum):
        return _envelope("enum", [class_name(cls, path), sub(value.value)])
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return _envelope("namedtuple", [class_name(cls, path), [sub(v) for v in value]])
    if isinstance(value, dt.datetime):
        return _encode_datetime(value)
    if isinstance(value, dt.date):
        return _envelope("date", value.isoformat())
    if isinstance(value, dt.timedelta):
        return _encode_timedelta(value)
    if isinstance(value, dt.time):
        return _envelope("time", value.isoformat())
    if isinstance(value, dt.tzinfo):
        return _envelope("timezone", _zone_name(value))
    if isinstance(value, PurePath):
        return _envelope("path", str(value))
    uuid = sys.modules.get("uuid")
    if uuid is not None and isinstance(value, uuid.UUID):
        return _envelope("uuid", str(value))
    module = cls.__module__ or ""
    top = module.partition(".")[0]
    if top == "numpy":
        encoded = _encode_numpy(value, path, sub)
        if encoded is not None:
            return encoded
    if top == "pandas":
        encoded = _encode_pandas(value, path, sub)
        if encoded is not None:
            return encoded
    if top in ("polars", "pyarrow"):
        encoded = _encode_table(value, top)
        if encoded is not None:
            return encoded
    if hasattr(cls, "__pydantic_fields__") or hasattr(cls, "model_fields"):
        return _envelope("pydantic", [class_name(cls, path), sub(cls.model_dump(value))])
    serialize = getattr(value, "serialize", None)
    if callable(serialize) and callable(getattr(cls, "deserialize", None)):
        return _envelope(
            "object", [class_name(cls, path), int(getattr(cls, "__version__", 1)), sub(serialize())]
        )
    if dataclasses.is_dataclass(value):
        fields = {
            f.name: sub(getattr(value, f.name), f".{f.name}") for f in dataclasses.fields(value)
        }
        return _envelope("dataclass", [class_name(cls, path), fields])
    if hasattr(cls, "__attrs_attrs__"):
        fields = {a.name: sub(getattr(value, a.name), f".{a.name}") for a in cls.__attrs_attrs__}
        return _envelope("attrs", [class_name(cls, path), fields])
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return sub(float(value))
    if isinstance(value, Mapping):
        return sub(dict(value))
    if isinstance(value, (list, tuple)) or cls.__name__ in ("LazyXComSequence", "_Mapped"):
        return sub(list(value))
    if isinstance(value, (set, frozenset)):
        return sub(set(value))
    if isinstance(value, (dict().keys().__class__, dict().values().__class__, range)):
        return sub(list(value))
    raise XComSerializationError(
        f"{path} is a {module + '.' if module not in ('builtins', '') else ''}{cls.__qualname__}, which cannot "
        "be stored as an XCom. Return JSON values, dates, Decimal, sets, tuples, dataclasses, pydantic or attrs "
        "models, numpy or pandas objects; or store it in a file and return its path"
    )


def _zone_name(zone: dt.tzinfo | None) -> str | None:
    if zone is None:
        return None
    name = getattr(zone, "key", None) or getattr(zone, "name", None)
    if isinstance(name, str) and "/" in name:
        return name
    offset = zone.utcoffset(None)
    if offset is None:
        text = str(zone)
        return text if "/" in text else "UTC"
    return "UTC" if not offset else f"{int(offset.total_seconds())}s"


def _zone(name: str | None) -> dt.tzinfo | None:
    if name is None:
        return None
    if name == "UTC":
        return dt.UTC
    if name.endswith("s") and name[:-1].lstrip("-").isdigit():
        return dt.timezone(dt.timedelta(seconds=int(name[:-1])))
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _encode_datetime(value: dt.datetime) -> dict[str, Any]:
    kind = "pendulum" if (value.__class__.__module__ or "").startswith("pendulum") else "datetime"
    if value.__class__.__name__ == "Timestamp" and hasattr(value, "nanosecond"):
        return _envelope("pandas.Timestamp", [value.isoformat(), _zone_name(value.tzinfo)])
    return _envelope(kind, [value.isoformat(), _zone_name(value.tzinfo)])


def _decode_datetime(data: Any) -> dt.datetime:
    text, zone_name = data
    value = dt.datetime.fromisoformat(text)
    zone = _zone(zone_name)
    return value if zone is None or value.tzinfo is None else value.astimezone(zone)


def _decode_pendulum(data: Any) -> Any:
    import pendulum

    text, zone_name = data
    value = dt.datetime.fromisoformat(text)
    if value.tzinfo is None:
        return pendulum.instance(value, tz=None)
    zone: Any = zone_name or "UTC"
    if zone != "UTC" and "/" not in zone:
        zone = pendulum.FixedTimezone(int(zone[:-1]))
    return pendulum.instance(value).in_timezone(zone)


def _encode_timedelta(value: dt.timedelta) -> dict[str, Any]:
    return _envelope("timedelta", [value.days, value.seconds, value.microseconds])


_PLAIN: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", lambda v: base64.b64encode(v).decode()),
    bytearray: ("bytearray", lambda v: base64.b64encode(v).decode()),
    complex: ("complex", lambda v: [v.real, v.imag]),
    Decimal: ("decimal", str),
}


def class_name(cls: type, path: str) -> str:
    """Return ``module:qualname`` of a class that can be found again by it.

    Raises:
        XComSerializationError: it cannot: it is defined inside a function.
    """
    module = sys.modules.get(cls.__module__)
    found: Any = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        raise XComSerializationError(
            f"{path} is a {cls.__qualname__}, a class that cannot be found again by name; define it at the "
            "top level of a module"
        )
    return f"{cls.__module__}:{cls.__qualname__}"


# --- numpy, pandas, tables -----------------------------------------------------------------------


def _encode_numpy(value: Any, path: str, sub: Callable[..., Any]) -> Any:
    import numpy as np

    if isinstance(value, np.generic):
        if value.dtype.kind in "mM":
            return _envelope("numpy.scalar", [value.dtype.str, str(value.astype("int64"))])
        return _envelope("numpy.scalar", [value.dtype.str, sub(value.item())])
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return _envelope("numpy.objects", [list(value.shape), sub(value.ravel().tolist())])
        descr = value.dtype.str if value.dtype.names is None else sub(value.dtype.descr)
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return _envelope("numpy.array", [descr, list(value.shape), data])
    if isinstance(value, np.dtype):
        return _envelope("numpy.dtype", value.str)
    return None


def _decode_numpy_scalar(data: Any) -> Any:
    import numpy as np

    dtype = np.dtype(data[0])
    if dtype.kind in "mM":
        return np.int64(int(data[1])).astype(dtype)
    return dtype.type(decode(data[1]))


def _decode_numpy_array(data: Any) -> Any:
    import numpy as np

    descr = decode(data[0])
    dtype = np.dtype([tuple(d) for d in descr] if isinstance(descr, list) else descr)
    return np.frombuffer(base64.b64decode(data[2]), dtype=dtype).reshape(data[1]).copy()


def _decode_numpy_objects(data: Any) -> Any:
    import numpy as np

    out = np.empty(math.prod(data[0]), dtype=object)
    out[:] = decode(data[1])
    return out.reshape(data[0])


def _encode_pandas(value: Any, path: str, sub: Callable[..., Any]) -> Any:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return _envelope(
            "pandas.DataFrame",
            {
                "columns": _pandas_index(value.columns, sub),
                "index": _pandas_index(value.index, sub),
                "data": [_pandas_values(value.iloc[:, i], sub) for i in range(value.shape[1])],
            },
        )
    if isinstance(value, pd.Series):
        return _envelope(
            "pandas.Series",
            {
                "name": sub(value.name),
                "index": _pandas_index(value.index, sub),
                "data": _pandas_values(value, sub),
            },
        )
    if isinstance(value, pd.Index):
        return _envelope("pandas.Index", _pandas_index(value, sub))
    if isinstance(value, pd.Timedelta):
        return _envelope("pandas.Timedelta", value.isoformat())
    if value is pd.NA or value is pd.NaT:
        return _envelope("pandas.missing", "NA" if value is pd.NA else "NaT")
    return None


def _pandas_index(index: Any, sub: Callable[..., Any]) -> dict[str, Any]:
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], "name": sub(index.name)}
    if isinstance(index, pd.MultiIndex):
        return {"tuples": sub([tuple(t) for t in index]), "names": sub(list(index.names))}
    return {"values": _pandas_values(index, sub), "name": sub(index.name)}


def _pandas_values(values: Any, sub: Callable[..., Any]) -> dict[str, Any]:
    dtype = str(values.dtype)
    if values.dtype.kind in "iufb" and not hasattr(values.dtype, "na_value"):
        return {"dtype": dtype, "array": sub(values.to_numpy())}
    if values.dtype.kind in "iufb" and type(values.dtype).__module__.startswith("numpy"):
        return {"dtype": dtype, "array": sub(values.to_numpy())}
    import pandas as pd

    items = [None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in values.tolist()]
    if values.dtype.kind in "mM":
        items = [None if v is None else pd.Series([v]).iloc[0].isoformat() for v in items]
    return {"dtype": dtype, "items": sub(items)}


def _decode_pandas_values(data: Any) -> Any:
    import pandas as pd

    dtype = data["dtype"]
    if "array" in data:
        return pd.array(decode(data["array"]), dtype=dtype)
    items = decode(data["items"])
    if dtype.startswith("datetime64"):
        parsed = pd.to_datetime(pd.Series(items, dtype=object), utc="," in dtype, format="ISO8601")
        return parsed.astype(dtype).array
    if dtype.startswith("timedelta64"):
        return pd.to_timedelta(pd.Series(items, dtype=object)).astype(dtype).array
    return pd.Series(items, dtype=dtype).array


def _decode_pandas_index(data: Any) -> Any:
    import pandas as pd

    if "range" in data:
        return pd.RangeIndex(*data["range"], name=decode(data["name"]))
    if "tuples" in data:
        return pd.MultiIndex.from_tuples(decode(data["tuples"]), names=decode(data["names"]))
    return pd.Index(_decode_pandas_values(data["values"]), name=decode(data["name"]))


def _decode_frame(data: Any) -> Any:
    import pandas as pd

    index = _decode_pandas_index(data["index"])
    columns = [pd.Series(_decode_pandas_values(c), index=index) for c in data["data"]]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
    frame.columns = _decode_pandas_index(data["columns"])
    return frame


def _decode_series(data: Any) -> Any:
    import pandas as pd

    return pd.Series(
        _decode_pandas_values(data["data"]),
        index=_decode_pandas_index(data["index"]),
        name=decode(data["name"]),
    )


def _decode_pandas_missing(data: Any) -> Any:
    import pandas as pd

    return pd.NA if data == "NA" else pd.NaT


def _decode_timestamp(data: Any) -> Any:
    import pandas as pd

    value = pd.Timestamp(data[0])
    return (
        value
        if data[1] is None
        else value.tz_convert(data[1] if "/" in data[1] else _zone(data[1]))
    )


def _decode_pandas_timedelta(data: Any) -> Any:
    import pandas as pd

    return pd.Timedelta(data)


def _encode_table(value: Any, top: str) -> Any:
    """Return a polars frame or arrow table as Arrow IPC, base64."""
    import io

    buffer = io.BytesIO()
    if top == "polars" and value.__class__.__name__ == "DataFrame":
        value.write_ipc(buffer)
        return _envelope("polars.DataFrame", base64.b64encode(buffer.getvalue()).decode())
    if top == "pyarrow" and value.__class__.__name__ == "Table":
        import pyarrow as pa

        with pa.ipc.new_stream(buffer, value.schema) as writer:
            writer.write_table(value)
        return _envelope("pyarrow.Table", base64.b64encode(buffer.getvalue()).decode())
    return None


def _decode_polars(data: str) -> Any:
    import io

    import polars as pl  # type: ignore[import-not-found]

    return pl.read_ipc(io.BytesIO(base64.b64decode(data)))


def _decode_arrow(data: str) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(base64.b64decode(data)).read_all()


# --- decoding ------------------------------------------------------------------------------------


def decode(tree: Any) -> Any:
    """Return the value of a tree that :func:`encode` made."""
    cls = tree.__class__
    if cls is list:
        return [decode(v) for v in tree]
    if cls is dict:
        name = tree.get(TYPE)
        if name is None or DATA not in tree or len(tree) != 2:
            return {k: decode(v) for k, v in tree.items()}
        try:
            decoder = _DECODERS[name]
        except KeyError:
            raise XComSerializationError(
                f"a stored value is of type '{name}', which this version cannot read"
            ) from None
        return decoder(tree[DATA])
    return tree


@lru_cache(maxsize=512)
def load_class(name: str) -> Any:
    """Return a class by ``module:qualname``.

    Raises:
        XComSerializationError: there is none any more.
    """
    module_name, _, qualname = name.partition(":")
    module: Any = sys.modules.get(module_name)
    try:
        if module is None:
            module = importlib.import_module(module_name)
        found: Any = module
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as err:
        raise XComSerializationError(
            f"a stored value is a {qualname} of module {module_name}, which cannot be imported here: {err}"
        ) from None
    if not isinstance(found, type):
        raise XComSerializationError(f"a stored value names {name}, which is no class")
    return found


def _decode_dataclass(data: Any) -> Any:
    cls = load_class(data[0])
    if not dataclasses.is_dataclass(cls):
        raise XComSerializationError(f"{data[0]} is no dataclass any more")
    values = {k: decode(v) for k, v in data[1].items()}
    init = {f.name for f in dataclasses.fields(cls) if f.init}
    make: Any = cls
    value = make(**{k: v for k, v in values.items() if k in init})
    for key, item in values.items():
        if key not in init:
            object.__setattr__(value, key, item)
    return value


def _decode_attrs(data: Any) -> Any:
    cls = load_class(data[0])
    if not hasattr(cls, "__attrs_attrs__"):
        raise XComSerializationError(f"{data[0]} is no attrs class any more")
    return cls(**{k.lstrip("_"): decode(v) for k, v in data[1].items()})


def _decode_pydantic(data: Any) -> Any:
    cls = load_class(data[0])
    if not hasattr(cls, "model_validate"):
        raise XComSerializationError(f"{data[0]} is no pydantic model any more")
    return cls.model_validate(decode(data[1]))


def _decode_object(data: Any) -> Any:
    cls = load_class(data[0])
    deserialize = getattr(cls, "deserialize", None)
    if not callable(deserialize):
        raise XComSerializationError(f"{data[0]} has no method deserialize any more")
    return deserialize(decode(data[2]), data[1])


def _decode_enum(data: Any) -> Any:
    cls = load_class(data[0])
    if not issubclass(cls, enum.Enum):
        raise XComSerializationError(f"{data[0]} is no enum any more")
    return cls(decode(data[1]))


def _decode_namedtuple(data: Any) -> Any:
    cls = load_class(data[0])
    if not (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        raise XComSerializationError(f"{data[0]} is no named tuple any more")
    return cls(*(decode(v) for v in data[1]))


def _decode_numpy_dtype(data: Any) -> Any:
    import numpy as np

    return np.dtype(data)


def _decode_path(data: str) -> Any:
    from pathlib import Path

    return Path(data)


def _decode_uuid(data: str) -> Any:
    import uuid

    return uuid.UUID(data)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda d: tuple(decode(v) for v in d),
    "set": lambda d: {decode(v) for v in d},
    "frozenset": lambda d: frozenset(decode(v) for v in d),
    "dict": lambda d: {decode(k): decode(v) for k, v in d},
    "float": float,
    "bytes": base64.b64decode,
    "bytearray": lambda d: bytearray(base64.b64decode(d)),
    "complex": lambda d: complex(*d),
    "decimal": Decimal,
    "uuid": _decode_uuid,
    "path": _decode_path,
    "datetime": _decode_datetime,
    "pendulum": _decode_pendulum,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": lambda d: dt.timedelta(*d),
    "timezone": _zone,
    "enum": _decode_enum,
    "namedtuple": _decode_namedtuple,
    "dataclass": _decode_dataclass,
    "attrs": _decode_attrs,
    "pydantic": _decode_pydantic,
    "object": _decode_object,
    "registered": _decode_registered,
    "numpy.scalar": _decode_numpy_scalar,
    "numpy.array": _decode_numpy_array,
    "numpy.objects": _decode_numpy_objects,
    "numpy.dtype": _decode_numpy_dtype,
    "pandas.DataFrame": _decode_frame,
    "pandas.Series": _decode_series,
    "pandas.Index": _decode_pandas_index,
    "pandas.Timestamp": _decode_timestamp,
    "pandas.Timedelta": _decode_pandas_timedelta,
    "pandas.missing": _decode_pandas_missing,
    "polars.DataFrame": _decode_polars,
    "pyarrow.Table": _decode_arrow,
}
