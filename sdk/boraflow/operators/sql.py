"""SQLExecuteQueryOperator: run SQL on a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from boraflow._operator import BaseOperator
from boraflow.hooks.base import BaseHook
from boraflow.hooks.sql import fetch_all_handler

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments


class SQLExecuteQueryOperator(BaseOperator):
    """Run one statement or several; the rows of the last are the XCom.

    Args:
        sql: a statement, a list of them, or a ``.sql`` template file.
        conn_id: the connection.
        autocommit: accepted for Airflow's sake; statements run in one transaction.
        parameters: parameters of the statements.
        handler: what becomes of the cursor.
        split_statements: run a text of several statements one after another.
        return_last: return the last result only.
        hook_params: more arguments of the hook.
        database: the database, where the connection's is not meant.
    """

    template_fields: Any = ("sql", "parameters", "conn_id", "database", "hook_params")
    template_ext = (".sql", ".json")
    template_fields_renderers = {"sql": "sql", "parameters": "json"}
    ui_color = "#cdaaed"

    def __init__(
        self,
        *,
        sql: str | list[str],
        conn_id: str | None = None,
        autocommit: bool = False,
        parameters: Mapping[str, Any] | Iterable[Any] | None = None,
        handler: Callable[[Any], Any] | None = fetch_all_handler,
        split_statements: bool | None = None,
        return_last: bool = True,
        show_return_value_in_logs: bool = False,
        hook_params: dict[str, Any] | None = None,
        database: str | None = None,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id or "sql_default"
        self.autocommit = autocommit
        self.parameters = parameters
        self.handler = handler
        self.split_statements = split_statements
        self.return_last = return_last
        self.show_return_value_in_logs = show_return_value_in_logs
        self.hook_params = hook_params
        self.database = database

    def execute(self, context: Context) -> Any:
        """Run it."""
        params = dict(self.hook_params or {})
        if self.database:
            params.setdefault("schema", self.database)
        hook = BaseHook.get_hook(self.conn_id, hook_params=params)
        output = hook.run(
            self.sql,
            autocommit=self.autocommit,
            parameters=self.parameters,
            handler=self.handler if self.do_xcom_push else None,
            split_statements=bool(self.split_statements),
            return_last=self.return_last,
        )
        if self.show_return_value_in_logs:
            self.log.info("result: %s", output)
        return output
