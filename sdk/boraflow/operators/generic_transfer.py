"""GenericTransfer: rows from a query on one connection into a table of another, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from boraflow._operator import BaseOperator
from boraflow.exceptions import InvalidArgument
from boraflow.hooks.base import BaseHook

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments


class GenericTransfer(BaseOperator):
    """Copy the rows of a query into a table.

    Args:
        sql: the query, templated; ``.sql`` names a template file.
        destination_table: the table, templated.
        source_conn_id: connection to read from.
        destination_conn_id: connection to write to.
        source_hook_params: more arguments of the source's hook.
        destination_hook_params: more arguments of the destination's hook.
        preoperator: statement, or statements, run on the destination first: empty the run's slice there,
            and the transfer may run again without harm.
        insert_args: arguments of ``insert_rows``: ``target_fields``, ``replace``, ``commit_every``.
        page_size: rows per batch.
    """

    template_fields: Any = (
        "source_conn_id",
        "destination_conn_id",
        "sql",
        "destination_table",
        "preoperator",
        "insert_args",
    )
    template_ext = (".sql", ".hql")
    template_fields_renderers = {"sql": "sql", "preoperator": "sql"}
    ui_color = "#b0f07c"

    def __init__(
        self,
        *,
        sql: str,
        destination_table: str,
        source_conn_id: str,
        destination_conn_id: str,
        source_hook_params: dict[str, Any] | None = None,
        destination_hook_params: dict[str, Any] | None = None,
        preoperator: str | list[str] | None = None,
        insert_args: dict[str, Any] | None = None,
        page_size: int = 1000,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(page_size, int) or page_size < 1:
            raise InvalidArgument(
                f"page_size of task '{self.task_id}' must be at least 1, not {page_size!r}"
            )
        self.sql = sql
        self.destination_table = destination_table
        self.source_conn_id = source_conn_id
        self.destination_conn_id = destination_conn_id
        self.source_hook_params = source_hook_params
        self.destination_hook_params = destination_hook_params
        self.preoperator = preoperator
        self.insert_args = insert_args or {}
        self.page_size = page_size

    def execute(self, context: Context) -> int:
        """Copy, and return how many rows there were."""
        source = BaseHook.get_hook(self.source_conn_id, hook_params=self.source_hook_params)
        destination = BaseHook.get_hook(
            self.destination_conn_id, hook_params=self.destination_hook_params
        )
        if self.preoperator:
            self.log.info("Running preoperator")
            destination.run(self.preoperator, split_statements=isinstance(self.preoperator, str))
        self.log.info("Extracting data from %s: %s", self.source_conn_id, self.sql)

        def rows() -> Iterator[Any]:
            for _, batch in source.iter_batches(self.sql, batch_size=self.page_size):
                yield from batch

        arguments = {"commit_every": self.page_size, **self.insert_args}
        count: int = destination.insert_rows(table=self.destination_table, rows=rows(), **arguments)
        return count
