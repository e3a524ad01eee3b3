"""SQL operators: run statements on any database that a connection names, and branch on a query's answer.

The checks (``SQLCheckOperator`` and its kind) live in :mod:`boraflow.operators.sql_checks`; they are
named here too, where Airflow has them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from boraflow._operator import BaseOperator
from boraflow._skip import BranchMixIn
from boraflow.exceptions import AirflowException, AirflowFailException, BoraflowException
from boraflow.hooks.base import BaseHook
from boraflow.hooks.sql import DbApiHook, fetch_all_handler, return_single_query_results

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments, SqlArguments


def sql_hook(
    conn_id: str, hook_params: Mapping[str, Any] | None = None, *, task_id: str = ""
) -> DbApiHook:
    """Return the SQL hook of a connection.

    Raises:
        BoraflowException: the connection is not to a database.
    """
    hook = BaseHook.get_hook(conn_id, hook_params=dict(hook_params or {}))
    if not isinstance(hook, DbApiHook):
        whose = f"task '{task_id}': " if task_id else ""
        raise BoraflowException(
            f"{whose}connection '{conn_id}' is of type '{hook.conn_type}', which is not a database"
        )
    return hook


class BaseSQLOperator(BaseOperator):
    """Base of operators that use a database.

    Args:
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
        hook_params: more arguments of the hook.
        retry_on_failure: False fails the task at once, whatever its retries.
    """

    conn_id_field = "conn_id"
    template_fields: Any = ("conn_id", "database", "hook_params")

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        database: str | None = None,
        hook_params: dict[str, Any] | None = None,
        retry_on_failure: bool = True,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.database = database
        self.hook_params = hook_params or {}
        self.retry_on_failure = retry_on_failure

    @classmethod
    def get_hook(cls, conn_id: str, hook_params: dict[str, Any] | None = None) -> Any:
        """Return the hook of a connection."""
        return sql_hook(conn_id, hook_params)

    @cached_property
    def _hook(self) -> DbApiHook:
        params = dict(self.hook_params)
        if self.database:
            params.setdefault("schema", self.database)
        conn_id = getattr(self, self.conn_id_field) or "sql_default"
        return sql_hook(conn_id, params, task_id=self.task_id)

    def get_db_hook(self) -> DbApiHook:
        """Return the hook of the task's connection."""
        return self._hook

    def _raise_exception(self, message: str) -> NoReturn:
        raise (AirflowException if self.retry_on_failure else AirflowFailException)(message)


class SQLExecuteQueryOperator(BaseSQLOperator):
    """Run SQL; a query's rows become the XCom.

    Args:
        sql: a statement, several in a list, or the path of a ``.sql`` template.
        autocommit: each statement is its own transaction; all are one otherwise.
        parameters: values for the placeholders.
        handler: makes the result of the cursor; None drops it.
        output_processor: makes the XCom of the results and the columns' descriptions.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
        split_statements: whether to split a script into its statements.
        return_last: whether a script returns only its last result.
        show_return_value_in_logs: whether to log the result.
        requires_result_fetch: fetch the rows even if nothing is pushed as XCom.
    """

    template_fields: Any = ("sql", "parameters", *BaseSQLOperator.template_fields)
    template_ext = (".sql", ".json")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#cdaaed"

    def __init__(
        self,
        *,
        sql: str | list[str],
        autocommit: bool = False,
        parameters: Mapping[str, Any] | Iterable[Any] | None = None,
        handler: Callable[[Any], Any] | None = fetch_all_handler,
        output_processor: Callable[[list[Any], list[Any]], Any] | None = None,
        conn_id: str | None = None,
        database: str | None = None,
        split_statements: bool | None = None,
        return_last: bool = True,
        show_return_value_in_logs: bool = False,
        requires_result_fetch: bool = False,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.sql = sql
        self.autocommit = autocommit
        self.parameters = parameters
        self.handler = handler
        self.output_processor = output_processor
        self.split_statements = split_statements
        self.return_last = return_last
        self.show_return_value_in_logs = show_return_value_in_logs
        self.requires_result_fetch = requires_result_fetch

    def _process_output(self, results: list[Any], descriptions: list[Any]) -> Any:
        if self.show_return_value_in_logs:
            self.log.info("Operator output is: %s", results)
        if self.output_processor is not None:
            return self.output_processor(results, descriptions)
        return results

    def execute(self, context: Context) -> Any:
        """Run it."""
        hook = self.get_db_hook()
        split = hook.split_by_default if self.split_statements is None else self.split_statements
        output = hook.run(
            self.sql,
            autocommit=self.autocommit,
            parameters=self.parameters,
            handler=self.handler if self.do_xcom_push or self.requires_result_fetch else None,
            split_statements=split,
            return_last=self.return_last,
        )
        if not self.do_xcom_push or self.handler is None:
            return None
        if return_single_query_results(self.sql, self.return_last, split):
            return self._process_output([output], hook.descriptions)[-1]
        return self._process_output(output, hook.descriptions)

    def prepare_template(self) -> None:
        """Read parameters that are written as text."""
        if isinstance(self.parameters, str):
            self.parameters = ast.literal_eval(self.parameters)


class SQLInsertRowsOperator(BaseSQLOperator):
    """Insert rows into a table, such as those that another task returned.

    Args:
        table_name: the table.
        rows: the rows, or the XCom of a task that returned them.
        conn_id: connection to the database.
        schema: the table's schema.
        database: another database than the connection's.
        columns: column names; all of the table's in order if not given.
        ignored_columns: of ``columns``, those that the rows do not have.
        rows_processor: called with the rows and the context, returns the rows to insert.
        preoperator: statements that run first.
        postoperator: statements that run last.
        insert_args: arguments of ``insert_rows``: ``commit_every``, ``replace``, ``replace_index``.
    """

    template_fields: Any = (
        "table_name", "schema", "columns", "rows", "preoperator", "postoperator", "insert_args",
        *BaseSQLOperator.template_fields,
    )  # fmt: skip
    template_ext = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "preoperator": "sql", "postoperator": "sql", "insert_args": "json",
    }  # fmt: skip
    ui_color = "#b0f07c"

    def __init__(
        self,
        *,
        table_name: str,
        rows: Any,
        conn_id: str | None = None,
        schema: str | None = None,
        database: str | None = None,
        columns: Iterable[str] | None = None,
        ignored_columns: Iterable[str] | None = None,
        rows_processor: Callable[..., Any] | None = None,
        preoperator: str | list[str] | None = None,
        postoperator: str | list[str] | None = None,
        insert_args: dict[str, Any] | None = None,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.table_name = table_name
        self.rows = rows
        self.schema = schema
        self.columns = list(columns) if columns is not None else None
        self.ignored_columns = set(ignored_columns or ())
        self.rows_processor = rows_processor
        self.preoperator = preoperator
        self.postoperator = postoperator
        self.insert_args = insert_args or {}

    def execute(self, context: Context) -> int:
        """Insert, and return how many rows there were."""
        hook = self.get_db_hook()
        rows = (
            self.rows
            if self.rows_processor is None
            else self.rows_processor(self.rows, context=context)
        )
        columns = [c for c in self.columns or () if c not in self.ignored_columns]
        if self.preoperator:
            hook.run(self.preoperator, split_statements=True)
        table = f"{self.schema}.{self.table_name}" if self.schema else self.table_name
        done = hook.insert_rows(table, rows or [], target_fields=columns, **self.insert_args)
        if self.postoperator:
            hook.run(self.postoperator, split_statements=True)
        return done


_TRUE = frozenset({"true", "t", "y", "yes", "1", "on"})
_FALSE = frozenset({"false", "f", "n", "no", "0", "off"})


def as_boolean(value: Any) -> bool | None:
    """Return what a cell means as true or false; None when it is neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value)
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


class BranchSQLOperator(BaseSQLOperator, BranchMixIn):
    """Follow one set of tasks or another, by the first cell of a query's answer.

    Args:
        sql: a query whose first cell is a boolean, a number (0 is false) or a word such as ``yes`` or ``off``.
        follow_task_ids_if_true: what to follow if it is true.
        follow_task_ids_if_false: what to follow if it is false.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
        parameters: values for the placeholders.
    """

    template_fields: Any = ("sql", *BaseSQLOperator.template_fields)
    template_ext = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#a22034"
    ui_fgcolor = "#F7F7F7"

    def __init__(
        self,
        *,
        sql: str,
        follow_task_ids_if_true: str | Sequence[str],
        follow_task_ids_if_false: str | Sequence[str],
        conn_id: str = "sql_default",
        database: str | None = None,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.sql = sql
        self.parameters = parameters
        self.follow_task_ids_if_true = follow_task_ids_if_true
        self.follow_task_ids_if_false = follow_task_ids_if_false

    def execute(self, context: Context) -> Any:
        """Ask, and follow."""
        row = self.get_db_hook().get_first(self.sql, self.parameters)
        if not row:
            self._raise_exception(f"No rows returned from sql query: {self.sql}")
        cell = row if isinstance(row, bool | int | float | str) else next(iter(row))
        answer = as_boolean(cell)
        if answer is None:
            raise AirflowException(
                f"task '{self.task_id}': the query's first cell is {cell!r}, which is neither true nor false: "
                f"{self.sql}"
            )
        follow = self.follow_task_ids_if_true if answer else self.follow_task_ids_if_false
        return self.do_branch(context, follow)


def __getattr__(name: str) -> Any:
    from boraflow.operators import sql_checks

    if name.startswith("SQL") and hasattr(sql_checks, name):
        return getattr(sql_checks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if TYPE_CHECKING:
    from boraflow.operators.sql_checks import (
        SQLCheckOperator,
        SQLColumnCheckOperator,
        SQLIntervalCheckOperator,
        SQLTableCheckOperator,
        SQLThresholdCheckOperator,
        SQLValueCheckOperator,
    )

__all__ = [
    "BaseSQLOperator",
    "BranchSQLOperator",
    "SQLCheckOperator",
    "SQLColumnCheckOperator",
    "SQLExecuteQueryOperator",
    "SQLInsertRowsOperator",
    "SQLIntervalCheckOperator",
    "SQLTableCheckOperator",
    "SQLThresholdCheckOperator",
    "SQLValueCheckOperator",
]
