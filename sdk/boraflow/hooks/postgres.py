"""PostgresHook: PostgreSQL through psycopg."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from boraflow.hooks.sql import DbApiHook

#: Arrow types by PostgreSQL's type numbers.
_ARROW = {
    16: "bool", 20: "int64", 21: "int64", 23: "int64", 26: "int64", 700: "float64", 701: "float64",
    1082: "date32", 1114: "timestamp[us]", 1184: "timestamp[us, UTC]", 17: "binary", 25: "string",
    1042: "string", 1043: "string", 114: "string", 3802: "string", 2950: "string",
}  # fmt: skip
_NUMERIC = 1700


class PostgresHook(DbApiHook):
    """A PostgreSQL database; the connection's schema is the database, its extra goes to libpq (``sslmode``)."""

    conn_name_attr = "postgres_conn_id"
    default_conn_name = "postgres_default"
    conn_type = "postgres"
    hook_name = "Postgres"
    driver_module = "psycopg"
    driver_extra = "postgres"
    param_mark = "%s"
    sqlalchemy_scheme = "postgresql+psycopg"
    supports_autocommit = True

    def get_conn(self) -> Any:
        """Return a new psycopg connection."""
        connection = self.connection
        options = {k: v for k, v in self._extra_options().items() if k != "cursor"}
        if "options" in self.options:
            options["options"] = self.options["options"]
        return self._driver().connect(
            host=connection.host,
            port=connection.port or 5432,
            user=connection.login,
            password=connection.password,
            dbname=self.schema or connection.schema or connection.login,
            **options,
        )

    def stream_cursor(self, connection: Any) -> Any:
        return connection.cursor(name="boraflow")

    def arrow_types(self, description: Any) -> dict[str, str]:
        out: dict[str, str] = {}
        for column in description or ():
            if column.type_code == _NUMERIC:
                digits = (column.precision, column.scale)
                out[column.name] = (
                    "decimal(38, 18)" if None in digits else "decimal({}, {})".format(*digits)
                )
            elif column.type_code in _ARROW:
                out[column.name] = _ARROW[column.type_code]
        return out

    def adapt(self, value: Any) -> Any:
        if isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(v, dict) for v in value)
        ):
            from boraflow import _extras

            return _extras.need("psycopg.types.json", "postgres", "PostgresHook").Jsonb(value)
        return str(value) if isinstance(value, UUID) else value

    def insert_sql(
        self,
        table: str,
        columns: Sequence[str],
        width: int,
        *,
        replace: bool = False,
        key: Sequence[str] = (),
    ) -> str:
        if replace:
            return self._on_conflict(table, columns, width, key, "excluded")
        return super().insert_sql(table, columns, width)

    def write_batch(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        replace: bool = False,
        key: Sequence[str] = (),
    ) -> None:
        target = table
        if replace:
            target = self._stage(cursor, table, columns, key)
        names = f" ({', '.join(self.identifier(c) for c in columns)})" if columns else ""
        with cursor.copy(f"COPY {target}{names} FROM STDIN") as copy:
            for row in self.adapt_rows(rows):
                copy.write_row(row)
        if replace:
            listed = names.strip(" ()")
            by = ", ".join(self.identifier(k) for k in key)
            # One statement may not update a row twice: the last one counts.
            chosen = f"SELECT DISTINCT ON ({by}) {listed} FROM {target} ORDER BY {by}, ctid DESC"
            insert = self._on_conflict(table, columns, len(columns), key, "excluded")
            head, _, tail = insert.partition(f"VALUES ({', '.join(['%s'] * len(columns))})")
            cursor.execute(f"{head}{chosen}{tail}")
            cursor.execute(f"TRUNCATE {target}")

    def _stage(self, cursor: Any, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """Return a table, gone with the transaction, that COPY fills before the rows are merged."""
        self._on_conflict(table, columns, len(columns), key, "excluded")  # checks what is given
        names = ", ".join(self.identifier(c) for c in columns)
        digest = hashlib.sha256(f"{table}({names})".encode()).hexdigest()[:12]
        stage = f"boraflow_stage_{digest}"
        cursor.execute("SELECT to_regclass(%s)", [f"pg_temp.{stage}"])
        if cursor.fetchone()[0] is None:
            cursor.execute(
                f"CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA"
            )
        return f"pg_temp.{stage}"

    def copy_expert(self, sql: str, filename: str) -> None:
        """Run a ``COPY ... FROM STDIN`` or ``COPY ... TO STDOUT`` with a file at the other end."""
        with self.transaction() as (_, cursor), cursor.copy(sql) as copy:
            if " to stdout" in " ".join(sql.lower().split()):
                with Path(filename).open("wb") as file:
                    file.writelines(copy)
            else:
                with Path(filename).open("rb") as file:
                    while data := file.read(1 << 18):
                        copy.write(data)

    def bulk_load(self, table: str, tmp_file: str) -> None:
        """Load a tab-separated file into a table."""
        self.copy_expert(f"COPY {table} FROM STDIN", tmp_file)

    def bulk_dump(self, table: str, tmp_file: str) -> None:
        """Write a table to a tab-separated file."""
        self.copy_expert(f"COPY {table} TO STDOUT", tmp_file)
