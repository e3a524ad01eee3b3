"""Tables in files, CSV, JSON Lines and Parquet, read and written a batch of rows at a time."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Context as DecimalContext
from decimal import Decimal
from typing import Any

from boraflow import _extras
from boraflow.exceptions import AirflowException, InvalidArgument, suggest
from boraflow.hooks.object_storage import CountingWriter, Location

FORMATS = ("csv", "jsonl", "parquet")
_SUFFIXES = {
    "csv": "csv", "tsv": "csv", "txt": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet",
    "pq": "parquet",
}  # fmt: skip
_COMPRESSED = {"gz": "gzip", "bz2": "bz2", "xz": "xz", "zst": "zstd"}
#: Options by format, with their defaults.
OPTIONS: dict[str, dict[str, Any]] = {
    "csv": {"delimiter": None, "header": True, "encoding": "utf-8", "null": "", "quotechar": '"'},
    "jsonl": {"encoding": "utf-8"},
    "parquet": {"compression": "zstd", "schema": None, "row_group_size": None},
}

Batch = tuple[list[str], Sequence[Sequence[Any]]]


def format_of(path: str, given: str | None) -> str:
    """Return a file's format: as given, else by its name.

    Raises:
        InvalidArgument: it is not known.
    """
    if given is not None:
        if given not in FORMATS:
            raise InvalidArgument(
                f"file_format must be one of {', '.join(FORMATS)}; got {given!r}{suggest(given, FORMATS)}"
            )
        return given
    parts = path.lower().rpartition("/")[2].split(".")
    if parts[-1] in _COMPRESSED:
        parts.pop()
    found = _SUFFIXES.get(parts[-1]) if len(parts) > 1 else None
    if found is None:
        raise InvalidArgument(
            f"the name of '{path}' does not tell its format; give file_format: {', '.join(FORMATS)}"
        )
    return found


def check_options(file_format: str | None, options: Mapping[str, Any]) -> None:
    """Refuse options that the format does not have.

    Raises:
        InvalidArgument: one is unknown.
    """
    known = (
        OPTIONS[file_format]
        if file_format
        else {k: v for o in OPTIONS.values() for k, v in o.items()}
    )
    for name in options:
        if name not in known:
            raise InvalidArgument(
                f"format_options: '{name}' is not an option of {file_format or 'any format'};"
                f" known: {', '.join(known)}{suggest(name, list(known))}"
            )


def _delimiter(path: str, options: Mapping[str, Any]) -> str:
    given = options.get("delimiter")
    return given or ("\t" if ".tsv" in path.lower().rpartition("/")[2] else ",")


def _compression(path: str) -> str | None:
    return _COMPRESSED.get(path.lower().rpartition(".")[2])


def read_batches(
    location: Location, file_format: str, batch_size: int, options: Mapping[str, Any]
) -> Iterator[Batch]:
    """Yield (columns, rows) of a file.

    Raises:
        AirflowException: it is not what its format says; with file and line.
    """
    options = {**OPTIONS[file_format], **options}
    with location.open() as raw:
        if file_format == "parquet":
            yield from _read_parquet(location, raw, batch_size)
            return
        file = raw
        if name := _compression(location.path):
            compression = _extras.need(
                "fsspec.compression", "files", f"file '{location.url}'"
            ).compr
            if name not in compression:
                raise AirflowException(f"file '{location.url}': no package here reads {name}")
            file = compression[name](raw, mode="rb")
        with io.TextIOWrapper(file, encoding=options["encoding"], newline="") as text:
            read = _read_csv if file_format == "csv" else _read_jsonl
            try:
                yield from read(location, text, batch_size, options)
            except UnicodeDecodeError as err:
                raise AirflowException(
                    f"file '{location.url}' is not {options['encoding']}: {err.reason} at byte {err.start};"
                    " give format_options={'encoding': ...}"
                ) from None
            except (OSError, EOFError) as err:
                if not _compression(location.path):
                    raise
                raise AirflowException(f"file '{location.url}' cannot be unpacked: {err}") from None


def _read_csv(
    location: Location, text: Iterable[str], batch_size: int, options: Mapping[str, Any]
) -> Iterator[Batch]:
    null = options["null"]
    reader = csv.reader(
        text,
        delimiter=_delimiter(location.path, options),
        quotechar=options["quotechar"],
        strict=True,
    )
    header = options["header"]
    columns: list[str] = list(header) if isinstance(header, list | tuple) else []
    width = len(columns)
    rows: list[Sequence[Any]] = []
    try:
        for row in reader:
            if not row:
                continue
            if not columns and header is True:
                columns = [c.strip().removeprefix("\ufeff") for c in row]
                width = len(columns)
                if len(set(columns)) < width:
                    raise AirflowException(
                        f"file '{location.url}': a column's name occurs twice: {columns}"
                    )
                continue
            if width and len(row) != width:
                raise AirflowException(
                    f"file '{location.url}', line {reader.line_num}: {len(row)} fields, where {width} are expected"
                )
            width = width or len(row)
            rows.append([None if v == null else v for v in row])
            if len(rows) >= batch_size:
                yield columns, rows
                rows = []
    except csv.Error as err:
        raise AirflowException(f"file '{location.url}', line {reader.line_num}: {err}") from None
    yield columns, rows


def _read_jsonl(
    location: Location, text: Iterable[str], batch_size: int, options: Mapping[str, Any]
) -> Iterator[Batch]:
    columns: list[str] = []
    rows: list[Sequence[Any]] = []
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        where = f"file '{location.url}', line {number}"
        try:
            record = json.loads(line)
        except ValueError as err:
            raise AirflowException(f"{where}: not JSON: {err}") from None
        if not isinstance(record, dict):
            raise AirflowException(f"{where}: a JSON object is expected")
        columns = columns or list(record)
        if record.keys() - set(columns):
            new = sorted(record.keys() - set(columns))
            raise AirflowException(f"{where}: field '{new[0]}' was not in the first line")
        rows.append([record.get(c) for c in columns])
        if len(rows) >= batch_size:
            yield columns, rows
            rows = []
    yield columns, rows


def _read_parquet(location: Location, raw: Any, batch_size: int) -> Iterator[Batch]:
    parquet = _extras.need("pyarrow.parquet", "files", f"file '{location.url}'")
    try:
        file = parquet.ParquetFile(raw)
    except (ValueError, OSError) as err:
        raise AirflowException(f"file '{location.url}' is not Parquet: {err}") from None
    columns = list(file.schema_arrow.names)
    empty = True
    for batch in file.iter_batches(batch_size):
        empty = False
        values = [column.to_pylist() for column in batch.columns]
        yield columns, list(zip(*values, strict=True))
    if empty:
        yield columns, []


# --- writing -------------------------------------------------------------------------------------


class TableWriter:
    """Writes batches of rows to an open file. Use it as a context manager."""

    def __init__(
        self,
        file: CountingWriter,
        location: Location,
        file_format: str,
        options: Mapping[str, Any],
        types: Mapping[str, str],
    ) -> None:
        self._file = file
        self._location = location
        self._format = file_format
        self._options = {**OPTIONS[file_format], **options}
        self._types = {**types, **(self._options.get("schema") or {})}
        self._text: Any = None
        self._packed: Any = None
        self._csv: Any = None
        self._parquet: Any = None
        self._schema: Any = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> TableWriter:
        if self._format != "parquet":
            target: Any = self._file
            if name := _compression(self._location.path):
                what = f"file '{self._location.url}'"
                compression = _extras.need("fsspec.compression", "files", what).compr
                target = self._stack.enter_context(
                    contextlib.closing(compression[name](self._file, mode="wb"))
                )
            self._text = io.TextIOWrapper(target, encoding=self._options["encoding"], newline="")
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._text is not None:
            if kind is None:
                self._text.flush()
            with contextlib.suppress(ValueError):
                self._text.detach()
        if self._parquet is not None:
            if kind is None:
                self._parquet.close()
            else:
                with contextlib.suppress(Exception):
                    self._parquet.close()
        self._stack.close()

    def write(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write rows; the first call also writes the header."""
        if self._format == "parquet":
            self._write_parquet(columns, rows)
        elif self._format == "csv":
            self._write_csv(columns, rows)
        else:
            for row in rows:
                record = {c: _json_value(v) for c, v in zip(columns, row, strict=True)}
                self._text.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _write_csv(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if self._csv is None:
            self._csv = csv.writer(
                self._text,
                delimiter=_delimiter(self._location.path, self._options),
                quotechar=self._options["quotechar"],
                lineterminator="\n",
            )
            if self._options["header"]:
                self._csv.writerow(columns)
        null = self._options["null"]
        plain = {str, int, float}
        self._csv.writerows(
            [v if type(v) in plain else null if v is None else _text_value(v) for v in row]
            for row in rows
        )

    def _write_parquet(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        pa = _extras.need("pyarrow", "files", f"file '{self._location.url}'")
        values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
        if self._parquet is None:
            parquet = _extras.need("pyarrow.parquet", "files", f"file '{self._location.url}'")
            unknown = [c for c in self._types if c not in columns]
            if self._options["schema"] and (
                wrong := [c for c in self._options["schema"] if c in unknown]
            ):
                raise AirflowException(
                    f"schema names the column '{wrong[0]}', which the query does not have"
                    f"{suggest(wrong[0], list(columns))}"
                )
            self._schema = pa.schema(
                [(c, self._type(pa, c, v)) for c, v in zip(columns, values, strict=True)]
            )
            self._parquet = parquet.ParquetWriter(
                self._file, self._schema, compression=self._options["compression"]
            )
        arrays = []
        for field, column in zip(self._schema, values, strict=True):
            try:
                arrays.append(pa.array(_fit(pa, field.type, column), type=field.type))
            except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, TypeError) as err:
                raise AirflowException(
                    f"column '{field.name}' holds a value that does not fit its type {field.type}: {err}; "
                    f"name a type in format_options={{'schema': {{'{field.name}': 'string'}}}}"
                ) from None
        batch = pa.record_batch(arrays, schema=self._schema)
        self._parquet.write_batch(batch, row_group_size=self._options["row_group_size"])

    def _type(self, pa: Any, column: str, values: Sequence[Any]) -> Any:
        name = self._types.get(column)
        if name is not None:
            return arrow_type(pa, name)
        known = [v for v in values if v is not None]
        if not known or any(isinstance(v, dict | list) for v in known):
            return pa.string()
        if isinstance(known[0], Decimal):
            return pa.decimal128(38, 18)
        try:
            found = pa.array(known).type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.string()
        return pa.string() if pa.types.is_null(found) else found


def arrow_type(pa: Any, name: str) -> Any:
    """Return the Arrow type of a name such as ``int64``, ``timestamp[us, UTC]`` or ``decimal(12, 2)``.

    Raises:
        InvalidArgument: there is none.
    """
    if name.startswith("decimal"):
        inside = name.partition("(")[2].rstrip(")")
        parts = [p.strip() for p in inside.split(",")]
        if len(parts) == 2 and all(p.isdigit() for p in parts):
            return pa.decimal128(int(parts[0]), int(parts[1]))
    if name == "timestamp[us, UTC]":
        return pa.timestamp("us", tz="UTC")
    try:
        return pa.type_for_alias(name)
    except ValueError:
        raise InvalidArgument(
            f"'{name}' is no Arrow type; use string, int64, float64, bool, date32, timestamp[us], "
            "timestamp[us, UTC], binary or decimal(12, 2)"
        ) from None


_EXACT = DecimalContext(prec=76)


def _fit(pa: Any, kind: Any, column: Sequence[Any]) -> Sequence[Any]:
    if pa.types.is_string(kind):
        return [v if v is None or type(v) is str else _text_value(v) for v in column]
    if pa.types.is_decimal(kind):
        unit = Decimal(1).scaleb(-kind.scale)
        return [
            None
            if v is None
            else (v if isinstance(v, Decimal) else Decimal(str(v))).quantize(unit, context=_EXACT)
            for v in column
        ]
    if pa.types.is_binary(kind):
        return [bytes(v) if isinstance(v, memoryview) else v for v in column]
    return column


def _text_value(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value)


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool | dict | list):
        return value
    return _text_value(value)
