"""SqlSensor: wait until a query's answer is as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar

from boraflow.exceptions import AirflowException, InvalidArgument
from boraflow.operators.sql import sql_hook
from boraflow.sensors.base import BaseSensorOperator

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class SqlSensor(BaseSensorOperator):
    """Waits until the first cell of a query's first row is true: neither nothing, 0 nor empty.

    Args:
        conn_id: connection to the database.
        sql: the query.
        parameters: values for the placeholders.
        success: called with the cell, says whether the wait is over.
        failure: called with the cell first, says whether to fail.
        selector: takes the cell, or whatever it likes, from the row.
        fail_on_empty: whether to fail when there is no row.
        hook_params: more arguments of the hook.
    """

    template_fields: Any = ("sql", "hook_params", "parameters", "conn_id")
    template_ext = (".hql", ".sql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}
    ui_color = "#7c7287"

    def __init__(
        self,
        *,
        conn_id: str,
        sql: str,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        success: Callable[[Any], bool] | None = None,
        failure: Callable[[Any], bool] | None = None,
        selector: Callable[[Any], Any] = itemgetter(0),
        fail_on_empty: bool = False,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        for name, function in (("success", success), ("failure", failure), ("selector", selector)):
            if function is not None and not callable(function):
                raise InvalidArgument(
                    f"{name} of task '{self.task_id}' must be callable, not {function!r}"
                )
        self.conn_id = conn_id
        self.sql = sql
        self.parameters = parameters
        self.success = success
        self.failure = failure
        self.selector = selector
        self.fail_on_empty = fail_on_empty
        self.hook_params = hook_params

    def poke(self, context: Context) -> Any:
        """Ask."""
        hook = sql_hook(self.conn_id, self.hook_params, task_id=self.task_id)
        row = hook.get_first(self.sql, self.parameters)
        if not row:
            if self.fail_on_empty:
                raise AirflowException(f"the query returned no rows: {self.sql}")
            return False
        cell = self.selector(row)
        if self.failure is not None and self.failure(cell):
            raise AirflowException(f"the failure criterion is met by {cell!r}")
        if self.success is not None:
            return self.success(cell)
        # The text "0" is false as well: databases without booleans answer so.
        return bool(cell) and str(cell) != "0"
