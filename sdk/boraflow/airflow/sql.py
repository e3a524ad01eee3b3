"""The SQL operators that Airflow 1.10 and 2 had for each database: they name their connection by an argument of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boraflow.operators.sql import SQLExecuteQueryOperator

if TYPE_CHECKING:
    from collections.abc import Mapping


class PostgresOperator(SQLExecuteQueryOperator):
    """Run SQL in PostgreSQL: ``SQLExecuteQueryOperator`` with ``postgres_conn_id``."""

    def __init__(
        self,
        *,
        postgres_conn_id: str = "postgres_default",
        runtime_parameters: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if runtime_parameters:
            settings = " ".join(f"-c {k}={v}" for k, v in runtime_parameters.items())
            kwargs["hook_params"] = {**(kwargs.get("hook_params") or {}), "options": settings}
        kwargs.setdefault("conn_id", postgres_conn_id)
        super().__init__(**kwargs)


class MySqlOperator(SQLExecuteQueryOperator):
    """Run SQL in MySQL: ``SQLExecuteQueryOperator`` with ``mysql_conn_id``."""

    def __init__(self, *, mysql_conn_id: str = "mysql_default", **kwargs: Any) -> None:
        kwargs.setdefault("conn_id", mysql_conn_id)
        super().__init__(**kwargs)


class SqliteOperator(SQLExecuteQueryOperator):
    """Run SQL in SQLite: ``SQLExecuteQueryOperator`` with ``sqlite_conn_id``."""

    def __init__(self, *, sqlite_conn_id: str = "sqlite_default", **kwargs: Any) -> None:
        kwargs.setdefault("conn_id", sqlite_conn_id)
        super().__init__(**kwargs)
