"""Data quality checks in SQL: a task fails when a table is not as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from boraflow.exceptions import AirflowException, InvalidArgument, suggest
from boraflow.operators.sql import BaseSQLOperator, as_boolean

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SqlArguments


def _number(value: Any) -> float | None:
    """Return a number, or None for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _where(*clauses: Any) -> str:
    given = [str(c).strip() for c in clauses if c]
    # A clause may start with WHERE, as people write it.
    given = [c[6:].strip() if c[:6].upper() == "WHERE " else c for c in given]
    return f"WHERE {' AND '.join(given)}" if given else ""


class SQLCheckOperator(BaseSQLOperator):
    """Fail unless every value in a query's first row is true, as Python sees it.

    Args:
        sql: the query; ``SELECT COUNT(*) > 0, SUM(wrong) = 0 FROM ...``.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
        parameters: values for the placeholders.
    """

    template_fields: Any = ("sql", *BaseSQLOperator.template_fields)
    template_ext = (".hql", ".sql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#fff7e6"

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str | None = None,
        database: str | None = None,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.sql = sql
        self.parameters = parameters

    def execute(self, context: Context) -> None:
        """Check."""
        row = self.get_db_hook().get_first(self.sql, self.parameters)
        self.log.info("Record: %s", row)
        if not row:
            self._raise_exception(f"The following query returned zero rows: {self.sql}")
        values = list(row.values()) if isinstance(row, dict) else list(row)
        if not all(values):
            self._raise_exception(f"Test failed.\nQuery:\n{self.sql}\nResults:\n{row!s}")
        self.log.info("Success.")


class SQLValueCheckOperator(BaseSQLOperator):
    """Fail unless every value in a query's first row is the expected one.

    Args:
        sql: the query.
        pass_value: the expected value; compared as numbers when it is one, as text otherwise.
        tolerance: how far a number may be off, as a share: 0.1 is 10 %.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
        parameters: values for the placeholders.
    """

    template_fields: Any = ("sql", "pass_value", *BaseSQLOperator.template_fields)
    template_ext = (".hql", ".sql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#fff7e6"

    def __init__(
        self,
        *,
        sql: str,
        pass_value: Any,
        tolerance: Any = None,
        conn_id: str | None = None,
        database: str | None = None,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.sql = sql
        self.pass_value = str(pass_value)
        self.tol = _number(tolerance)
        self.has_tolerance = self.tol is not None
        self.parameters = parameters

    def execute(self, context: Context) -> None:
        """Check."""
        row = self.get_db_hook().get_first(self.sql, self.parameters)
        if not row:
            self._raise_exception(f"The following query returned zero rows: {self.sql}")
        values = list(row.values()) if isinstance(row, dict) else list(row)
        expected = _number(self.pass_value)
        shown = (
            f"Pass value:{self.pass_value if expected is None else expected}\n"
            f"Tolerance:{None if self.tol is None else f'{self.tol:.1%}'}\n"
            f"Query:\n{self.sql}\nResults:\n{row!s}"
        )
        if expected is None:
            passed = all(str(v) == self.pass_value for v in values)
        else:
            numbers = [_number(v) for v in values]
            if None in numbers:
                raise AirflowException(f"Converting a result to float failed.\n{shown}")
            margin = abs(expected) * (self.tol or 0.0)
            passed = all(
                expected - margin <= n <= expected + margin for n in numbers if n is not None
            )
        if not passed:
            self._raise_exception(f"Test failed.\n{shown}")
        self.log.info("Record: %s. Success.", row)


class SQLIntervalCheckOperator(BaseSQLOperator):
    """Fail when metrics of a day differ too much from those some days before.

    Args:
        table: the table.
        metrics_thresholds: SQL expressions, each with the ratio that it must stay below.
        date_filter_column: column that holds the day.
        days_back: how many days before.
        ratio_formula: ``max_over_min``, or ``relative_diff``: the difference as a share of the older value.
        ignore_zero: whether a metric that is 0 on either day passes.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
    """

    template_fields: Any = ("sql1", "sql2", *BaseSQLOperator.template_fields)
    template_ext = (".hql", ".sql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql1": "sql", "sql2": "sql"}
    ui_color = "#fff7e6"

    ratio_formulas: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {
        "max_over_min": lambda cur, ref: max(cur, ref) / min(cur, ref),
        "relative_diff": lambda cur, ref: abs(cur - ref) / ref,
    }

    def __init__(
        self,
        *,
        table: str,
        metrics_thresholds: dict[str, float],
        date_filter_column: str = "ds",
        days_back: int = -7,
        ratio_formula: str = "max_over_min",
        ignore_zero: bool = True,
        conn_id: str | None = None,
        database: str | None = None,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        if ratio_formula not in self.ratio_formulas:
            raise InvalidArgument(
                f"ratio_formula of task '{self.task_id}' must be one of {', '.join(self.ratio_formulas)}; "
                f"got {ratio_formula!r}{suggest(ratio_formula, list(self.ratio_formulas))}"
            )
        if not metrics_thresholds:
            raise InvalidArgument(f"metrics_thresholds of task '{self.task_id}' names no metric")
        self.ratio_formula = ratio_formula
        self.ignore_zero = ignore_zero
        self.table = table
        self.metrics_thresholds = metrics_thresholds
        self.metrics_sorted = sorted(metrics_thresholds)
        self.date_filter_column = date_filter_column
        self.days_back = -abs(days_back)
        query = f"SELECT {', '.join(self.metrics_sorted)} FROM {table} WHERE {date_filter_column}="
        self.sql1 = query + "'{{ ds }}'"
        self.sql2 = query + f"'{{{{ macros.ds_add(ds, {self.days_back}) }}}}'"

    def execute(self, context: Context) -> None:
        """Check."""
        hook = self.get_db_hook()
        before = hook.get_first(self.sql2)
        now = hook.get_first(self.sql1)
        for row, sql in ((before, self.sql2), (now, self.sql1)):
            if not row:
                self._raise_exception(f"The following query returned zero rows: {sql}")
        failed: list[str] = []
        for metric, cur, ref in zip(self.metrics_sorted, now, before, strict=True):
            threshold = self.metrics_thresholds[metric]
            if not cur or not ref:
                ratio, passed = None, self.ignore_zero
            else:
                ratio = self.ratio_formulas[self.ratio_formula](cur, ref)
                passed = ratio < threshold
            text = f"{metric}: {cur} now, {ref} before; ratio {ratio}, threshold {threshold}"
            self.log.info("%s", text)
            if not passed:
                failed.append(text)
        if failed:
            self._raise_exception("The following tests have failed:\n" + "\n".join(failed))
        self.log.info("All tests have passed")


class SQLThresholdCheckOperator(BaseSQLOperator):
    """Fail unless the first value of a query lies between two thresholds.

    Args:
        sql: the query.
        min_threshold: the least: a number, or a query that gives one.
        max_threshold: the most: a number, or a query that gives one.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
    """

    template_fields: Any = (
        "sql",
        "min_threshold",
        "max_threshold",
        *BaseSQLOperator.template_fields,
    )
    template_ext = (".hql", ".sql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}

    def __init__(
        self,
        *,
        sql: str,
        min_threshold: Any,
        max_threshold: Any,
        conn_id: str | None = None,
        database: str | None = None,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.sql = sql
        self.min_threshold = min_threshold
        self.max_threshold = max_threshold

    def _first(self, sql: str) -> Any:
        row = self.get_db_hook().get_first(sql)
        if not row:
            self._raise_exception(f"The following query returned zero rows: {sql}")
        return row[0]

    def _bound(self, threshold: Any) -> Any:
        number = _number(threshold)
        return self._first(str(threshold)) if number is None else number

    def execute(self, context: Context) -> None:
        """Check."""
        result = self._first(self.sql)
        least, most = self._bound(self.min_threshold), self._bound(self.max_threshold)
        within = result is not None and least <= result <= most
        self.push(
            {
                "result": result,
                "task_id": self.task_id,
                "min_threshold": least,
                "max_threshold": most,
                "within_threshold": within,
            }
        )
        if not within:
            self._raise_exception(
                f'Threshold Check: "{self.task_id}" failed.\nSQL: {self.sql}\n'
                f"Result: {'<None>' if result is None else result} is not within thresholds {least} and {most}"
            )

    def push(self, meta_data: dict[str, Any]) -> None:
        """Log what was found; override it to keep it elsewhere."""
        self.log.info("%s", ", ".join(f"{k}: {v}" for k, v in meta_data.items()))


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "equal_to": lambda found, wanted: found == wanted,
    "greater_than": lambda found, wanted: found > wanted,
    "geq_to": lambda found, wanted: found >= wanted,
    "less_than": lambda found, wanted: found < wanted,
    "leq_to": lambda found, wanted: found <= wanted,
}


class SQLColumnCheckOperator(BaseSQLOperator):
    """Check a table's columns: nulls, distinct values, duplicates, least and greatest value.

    Args:
        table: the table.
        column_mapping: for each column its checks, for each check (``null_check``, ``distinct_check``,
            ``unique_check``, ``min``, ``max``) what to compare with: ``equal_to``, ``greater_than``, ``geq_to``,
            ``less_than``, ``leq_to``; ``tolerance`` widens it by a share, ``partition_clause`` limits the rows.
        partition_clause: SQL condition that limits the rows of all checks.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
        accept_none: whether no value counts as 0.
    """

    template_fields: Any = ("table", "partition_clause", "sql", *BaseSQLOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#fff7e6"

    column_checks: ClassVar[dict[str, str]] = {
        "null_check": "SUM(CASE WHEN {column} IS NULL THEN 1 ELSE 0 END)",
        "distinct_check": "COUNT(DISTINCT({column}))",
        "unique_check": "COUNT({column}) - COUNT(DISTINCT({column}))",
        "min": "MIN({column})",
        "max": "MAX({column})",
    }

    def __init__(
        self,
        *,
        table: str,
        column_mapping: dict[str, dict[str, Any]],
        partition_clause: str | None = None,
        conn_id: str | None = None,
        database: str | None = None,
        accept_none: bool = True,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.table = table
        self.column_mapping = column_mapping
        self.partition_clause = partition_clause
        self.accept_none = accept_none
        self.checks = [
            (column, check, values)
            for column, checks in column_mapping.items()
            for check, values in checks.items()
        ]
        if not self.checks:
            raise InvalidArgument(f"column_mapping of task '{self.task_id}' holds no check")
        for column, check, values in self.checks:
            self._validate(column, check, values)
        # A query each: their results may be of different types, which no UNION takes.
        self.sql = [
            f"SELECT '{column}' AS col_name, '{check}' AS check_type,"
            f" {self.column_checks[check].format(column=column)} AS check_result"
            f" FROM {table} {_where(partition_clause, values.get('partition_clause'))}".rstrip()
            for column, check, values in self.checks
        ]

    def _validate(self, column: str, check: str, values: Mapping[str, Any]) -> None:
        where = f"column_mapping of task '{self.task_id}', column '{column}', check '{check}'"
        if check not in self.column_checks:
            raise InvalidArgument(
                f"{where}: there is no such check; known: {', '.join(self.column_checks)}"
                f"{suggest(check, list(self.column_checks))}"
            )
        known = [*_COMPARISONS, "tolerance", "partition_clause"]
        for key in values:
            if key not in known:
                raise InvalidArgument(f"{where}: '{key}' is not known{suggest(key, known)}")
        given = {k: values[k] for k in _COMPARISONS if k in values}
        if not given:
            raise InvalidArgument(f"{where}: give at least one of {', '.join(_COMPARISONS)}")
        if "equal_to" in given and len(given) > 1:
            raise InvalidArgument(f"{where}: equal_to excludes the other comparisons")
        if {"greater_than", "geq_to"} <= given.keys() or {"less_than", "leq_to"} <= given.keys():
            raise InvalidArgument(f"{where}: give only one lower and one upper bound")
        low = given.get("greater_than", given.get("geq_to"))
        high = given.get("less_than", given.get("leq_to"))
        if low is not None and high is not None:
            strict = "greater_than" in given or "less_than" in given
            if low > high or (strict and low == high):
                raise InvalidArgument(f"{where}: no value lies between {low!r} and {high!r}")

    def _passes(self, values: Mapping[str, Any], found: Any) -> bool:
        if found is None:
            if not self.accept_none:
                return False
            found = 0
        tolerance = values.get("tolerance")
        for name, compare in _COMPARISONS.items():
            if name not in values:
                continue
            wanted = values[name]
            if tolerance is None:
                if not compare(found, wanted):
                    return False
                continue
            margin = abs(wanted) * tolerance
            low, high = wanted - margin, wanted + margin
            if name == "equal_to":
                if not low <= found <= high:
                    return False
            elif not compare(found, low if name in ("greater_than", "geq_to") else high):
                return False
        return True

    def execute(self, context: Context) -> None:
        """Check."""
        hook = self.get_db_hook()
        failed: list[str] = []
        for (column, check, values), sql in zip(self.checks, self.sql, strict=True):
            row = hook.get_first(sql)
            if not row:
                self._raise_exception(f"The following query returned zero rows: {sql}")
            found = row[2]
            passed = self._passes(values, found)
            wanted = ", ".join(f"{k} {v}" for k, v in values.items())
            text = f"Column: {column}, check: {check}, result: {found}, wanted: {wanted}"
            self.log.info("%s: %s", text, "passed" if passed else "failed")
            if not passed:
                failed.append(text)
        if failed:
            self._raise_exception(
                f"Test failed.\nThe following tests have failed in {self.table}:\n"
                + "\n".join(failed)
            )
        self.log.info("All tests have passed")


class SQLTableCheckOperator(BaseSQLOperator):
    """Check statements about a table, each of which must be true, for every row where it names rows.

    Args:
        table: the table.
        checks: by name, each with a ``check_statement`` (``COUNT(*) = 1000``, ``a + b < c``) and perhaps a
            ``partition_clause`` that limits the rows.
        partition_clause: SQL condition that limits the rows of all checks.
        conn_id: connection to the database.
        database: another database, or schema, than the connection's.
        accept_none: whether a table without rows passes.
    """

    template_fields: Any = ("table", "partition_clause", "sql", *BaseSQLOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#fff7e6"

    def __init__(
        self,
        *,
        table: str,
        checks: dict[str, dict[str, Any]],
        partition_clause: str | None = None,
        conn_id: str | None = None,
        database: str | None = None,
        accept_none: bool = False,
        **kwargs: Unpack[SqlArguments],
    ) -> None:
        super().__init__(conn_id=conn_id, database=database, **kwargs)
        self.table = table
        self.checks = checks
        self.partition_clause = partition_clause
        self.accept_none = accept_none
        if not checks:
            raise InvalidArgument(f"checks of task '{self.task_id}' holds no check")
        for name, check in checks.items():
            if "check_statement" not in check:
                raise InvalidArgument(
                    f"checks of task '{self.task_id}': check '{name}' has no check_statement"
                )
        self.sql = " UNION ALL ".join(
            f"SELECT '{name}' AS check_name, MIN(passed) AS check_result"
            f" FROM (SELECT CASE WHEN {check['check_statement']} THEN 1 ELSE 0 END AS passed"
            f" FROM {table} {_where(partition_clause, check.get('partition_clause'))}) AS sq"
            for name, check in checks.items()
        )

    def execute(self, context: Context) -> None:
        """Check."""
        records = self.get_db_hook().get_records(self.sql)
        failed: list[str] = []
        for name, result in records or []:
            if result is None and self.accept_none:
                self.log.warning("No records found in %s for check '%s'", self.table, name)
                continue
            passed = result is not None and as_boolean(result) is True
            statement = self.checks[name]["check_statement"]
            self.log.info("%s (%s): %s", name, statement, "passed" if passed else "failed")
            if not passed:
                reason = "there are no rows" if result is None else "it is not true"
                failed.append(f"{name}: {statement} ({reason})")
        if not records and not self.accept_none:
            self._raise_exception(f"The following query returned zero rows: {self.sql}")
        if failed:
            self._raise_exception(
                f"Test failed.\nThe following tests have failed in {self.table}:\n"
                + "\n".join(failed)
            )
        self.log.info("All tests have passed")
