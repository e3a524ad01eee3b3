"""Transfers of tables: from database to database, from file to database and back.

Rows stream through in batches, so that memory does not grow with the data. A load is one transaction, and
all its modes but ``append`` give the same table when they are repeated.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from boraflow import _tabular
from boraflow._operator import BaseOperator
from boraflow.exceptions import AirflowException, InvalidArgument
from boraflow.hooks.object_storage import Location, ObjectStorageHook
from boraflow.hooks.sql_load import Progress, TableLoad, readable
from boraflow.operators.sql import sql_hook

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments


def _check_batch(batch_size: Any, task_id: str) -> int:
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise InvalidArgument(
            f"batch_size of task '{task_id}' must be at least 1, not {batch_size!r}"
        )
    return batch_size


class _LoadingOperator(BaseOperator):
    """What transfers into a table share."""

    destination_table: str
    mode: str
    partition: str | None
    key: Sequence[str]
    columns: Sequence[str] | Mapping[str, str] | None
    preoperator: str | Sequence[str] | None

    def _load(self) -> TableLoad:
        load = TableLoad(
            table=self.destination_table,
            mode=self.mode,
            partition=self.partition,
            key=self.key,
            columns=self.columns,
            preoperator=self.preoperator,
        )
        load.check(f"task '{self.task_id}'")
        return load


class SqlToSqlOperator(_LoadingOperator):
    """Copy the rows of a query into a table of the same or another database.

    The XCom is ``{"rows": ..., "bytes": ...}``; bytes are those of the values, estimated from a sample.

    Args:
        sql: the query, or the path of a ``.sql`` template.
        source_conn_id: connection to read from.
        destination_conn_id: connection to write to.
        destination_table: the table; it must exist, or ``preoperator`` creates it.
        mode: ``append``; ``replace``: the whole table; ``partition``: the rows that ``partition`` selects;
            ``upsert``: the rows of the same ``key``.
        partition: SQL condition for ``mode="partition"``, such as ``"day = '{{ ds }}'"``.
        key: columns of a unique key, for ``mode="upsert"``.
        columns: columns to load; a mapping renames them.
        preoperator: statements that run on the destination first, in the same transaction.
        parameters: values for the query's placeholders.
        batch_size: rows in memory at once.
        source_hook_params: more arguments of the source's hook.
        destination_hook_params: more arguments of the destination's hook.
    """

    template_fields: Any = (
        "sql", "source_conn_id", "destination_conn_id", "destination_table", "partition", "preoperator",
        "parameters",
    )  # fmt: skip
    template_ext = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "sql": "sql", "partition": "sql", "preoperator": "sql", "parameters": "json",
    }  # fmt: skip
    ui_color = "#b0f07c"

    def __init__(
        self,
        *,
        sql: str,
        source_conn_id: str,
        destination_conn_id: str,
        destination_table: str,
        mode: str,
        partition: str | None = None,
        key: Sequence[str] = (),
        columns: Sequence[str] | Mapping[str, str] | None = None,
        preoperator: str | Sequence[str] | None = None,
        parameters: Any = None,
        batch_size: int = 10_000,
        source_hook_params: dict[str, Any] | None = None,
        destination_hook_params: dict[str, Any] | None = None,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.source_conn_id = source_conn_id
        self.destination_conn_id = destination_conn_id
        self.destination_table = destination_table
        self.mode = mode
        self.partition = partition
        self.key = key
        self.columns = columns
        self.preoperator = preoperator
        self.parameters = parameters
        self.batch_size = _check_batch(batch_size, self.task_id)
        self.source_hook_params = source_hook_params
        self.destination_hook_params = destination_hook_params
        self._load()

    def execute(self, context: Context) -> dict[str, int]:
        """Copy."""
        source = sql_hook(self.source_conn_id, self.source_hook_params, task_id=self.task_id)
        target = sql_hook(
            self.destination_conn_id, self.destination_hook_params, task_id=self.task_id
        )
        self.log.info("Reading from %s: %s", self.source_conn_id, self.sql)
        progress = Progress(self.log, f"{self.source_conn_id} -> {self.destination_table}")
        # Closed at once if the load fails: what is read from holds locks until then.
        with closing(source.iter_batches(self.sql, self.parameters, self.batch_size)) as batches:
            self._load().run(target, batches, progress)
        progress.say("done")
        return {"rows": progress.rows, "bytes": progress.size}


class FileToSqlOperator(_LoadingOperator):
    """Load files (CSV, JSON Lines, Parquet; local, on a server or in an object store) into a table.

    The XCom is ``{"rows": ..., "bytes": ..., "files": ...}``; bytes are those of the files.

    Args:
        path: a file, a folder, a pattern such as ``s3://bucket/{{ ds }}/*.parquet``, or a list of these.
        conn_id: connection to write to.
        destination_table: the table; it must exist, or ``preoperator`` creates it.
        mode: see :class:`SqlToSqlOperator`.
        partition: see :class:`SqlToSqlOperator`.
        key: see :class:`SqlToSqlOperator`.
        columns: columns to load; a mapping renames them.
        preoperator: statements that run on the destination first, in the same transaction.
        file_conn_id: connection with the account for the files.
        file_format: ``csv``, ``jsonl`` or ``parquet``; by default what the files' names say. A suffix ``.gz``,
            ``.bz2``, ``.xz`` or ``.zst`` is unpacked.
        format_options: for CSV ``delimiter``, ``header`` (True, False or the columns' names), ``encoding``, ``null``
            and ``quotechar``; for JSON Lines ``encoding``.
        batch_size: rows in memory at once.
        hook_params: more arguments of the database's hook.
    """

    template_fields: Any = (
        "path", "conn_id", "file_conn_id", "destination_table", "partition", "preoperator",
        "format_options",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"partition": "sql", "preoperator": "sql"}
    ui_color = "#b0f07c"

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | Sequence[str],
        conn_id: str,
        destination_table: str,
        mode: str,
        partition: str | None = None,
        key: Sequence[str] = (),
        columns: Sequence[str] | Mapping[str, str] | None = None,
        preoperator: str | Sequence[str] | None = None,
        file_conn_id: str | None = None,
        file_format: str | None = None,
        format_options: dict[str, Any] | None = None,
        batch_size: int = 10_000,
        hook_params: dict[str, Any] | None = None,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.path = os.fspath(path) if isinstance(path, os.PathLike) else path
        self.conn_id = conn_id
        self.destination_table = destination_table
        self.mode = mode
        self.partition = partition
        self.key = key
        self.columns = columns
        self.preoperator = preoperator
        self.file_conn_id = file_conn_id
        self.file_format = file_format
        self.format_options = format_options or {}
        self.batch_size = _check_batch(batch_size, self.task_id)
        self.hook_params = hook_params
        if file_format is not None:
            _tabular.format_of("", file_format)
        _tabular.check_options(file_format, self.format_options)
        self._load()

    def execute(self, context: Context) -> dict[str, int]:
        """Load."""
        storage = ObjectStorageHook(self.file_conn_id)
        paths = [self.path] if isinstance(self.path, str) else list(self.path)
        files: list[Location] = []
        for path in paths:
            found = [f for f in storage.locate(path).files() if f.exists()]
            if not found:
                raise AirflowException(f"there is no file '{path}'")
            files += found
        # All formats are known before anything is read.
        formats = [_tabular.format_of(f.path, self.file_format) for f in files]
        size = sum(f.size() or 0 for f in files)
        self.log.info("Reading %d files, %s", len(files), readable(size))

        def batches() -> Generator[_tabular.Batch]:
            for file, kind in zip(files, formats, strict=True):
                self.log.info("Reading %s", file.url)
                yield from _tabular.read_batches(file, kind, self.batch_size, self.format_options)

        target = sql_hook(self.conn_id, self.hook_params, task_id=self.task_id)
        progress = Progress(self.log, f"-> {self.destination_table}")
        with closing(batches()) as read:
            self._load().run(target, read, progress)
        progress.say("done", size)
        return {"rows": progress.rows, "bytes": size, "files": len(files)}


class SqlToFileOperator(BaseOperator):
    """Write the rows of a query to a file (CSV, JSON Lines, Parquet; local, on a server or in an object store).

    The file appears, or is replaced, as a whole when all is written. The XCom is
    ``{"rows": ..., "bytes": ..., "path": ...}``.

    Args:
        sql: the query, or the path of a ``.sql`` template.
        conn_id: connection to read from.
        path: the file: a path, or a URL such as ``s3://bucket/{{ ds }}.parquet``.
        file_conn_id: connection with the account for the file.
        file_format: ``csv``, ``jsonl`` or ``parquet``; by default what the file's name says. A suffix ``.gz``,
            ``.bz2``, ``.xz`` or ``.zst`` packs it.
        format_options: for CSV ``delimiter``, ``header``, ``encoding``, ``null`` and ``quotechar``; for JSON Lines
            ``encoding``; for Parquet ``compression``, ``row_group_size`` and ``schema``, Arrow types by column.
        overwrite: False fails when the file is there.
        parameters: values for the query's placeholders.
        batch_size: rows in memory at once.
        hook_params: more arguments of the database's hook.
    """

    template_fields: Any = (
        "sql",
        "conn_id",
        "path",
        "file_conn_id",
        "parameters",
        "format_options",
    )
    template_ext = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#b0f07c"

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str,
        path: str | os.PathLike[str],
        file_conn_id: str | None = None,
        file_format: str | None = None,
        format_options: dict[str, Any] | None = None,
        overwrite: bool = True,
        parameters: Any = None,
        batch_size: int = 10_000,
        hook_params: dict[str, Any] | None = None,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.path = os.fspath(path)
        self.file_conn_id = file_conn_id
        self.file_format = file_format
        self.format_options = format_options or {}
        self.overwrite = overwrite
        self.parameters = parameters
        self.batch_size = _check_batch(batch_size, self.task_id)
        self.hook_params = hook_params
        if file_format is not None:
            _tabular.format_of("", file_format)
        _tabular.check_options(file_format, self.format_options)

    def execute(self, context: Context) -> dict[str, Any]:
        """Write."""
        location = ObjectStorageHook(self.file_conn_id).locate(self.path)
        kind = _tabular.format_of(location.path, self.file_format)
        if not self.overwrite and location.exists():
            raise AirflowException(
                f"the file '{location.url}' is there already, and overwrite is False"
            )
        source = sql_hook(self.conn_id, self.hook_params, task_id=self.task_id)
        self.log.info("Reading from %s: %s", self.conn_id, self.sql)
        progress = Progress(self.log, f"{self.conn_id} -> {location.url}")
        with (
            closing(source.iter_batches(self.sql, self.parameters, self.batch_size)) as batches,
            location.replacing() as file,
        ):
            first = next(batches)
            types = source.arrow_types(source.last_description)
            with _tabular.TableWriter(file, location, kind, self.format_options, types) as writer:
                for columns, rows in chain([first], batches):
                    writer.write(columns, rows)
                    progress.add(rows)
        progress.say("done", file.count)
        return {"rows": progress.rows, "bytes": file.count, "path": location.url}
