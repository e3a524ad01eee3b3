"""What can be told from a file's syntax alone: the present moment, secrets and I/O where they do not belong."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from boraflow.lint.rules import Edit, Finding

_SDKS = ("airflow", "boraflow")
_NOW = {
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
    "datetime.date.today", "pendulum.now", "pendulum.today", "pendulum.tomorrow",
    "pendulum.yesterday", "airflow.utils.timezone.utcnow", "airflow.sdk.timezone.utcnow",
    "boraflow.timezone.utcnow",
}  # fmt: skip
_DAYS_AGO = "airflow.utils.dates.days_ago"
_IO = re.compile(
    r"(requests|httpx)\.(get|post|put|patch|delete|head|request|Session|Client)"
    r"|urllib\.request\.(urlopen|urlretrieve)"
    r"|(sqlite3|psycopg|psycopg2|duckdb|pymysql|mysql\.connector|pyodbc|oracledb|snowflake\.connector)\.connect"
    r"|sqlalchemy\.create_engine|boto3\.(client|resource|Session)"
    r"|subprocess\.(run|call|check_call|check_output|Popen)|os\.(system|popen)"
    r"|time\.sleep|(pandas|polars)\.read_\w+|socket\.create_connection"
)
_NOW_IN_TEMPLATE = re.compile(
    r"macros\.datetime\.(?:now|utcnow|today)\s*\(|macros\.time\.time\s*\("
)
_SECRET = re.compile(
    r"(airflow|boraflow)\.(\w+\.)*(Variable\.get|Connection\.get"
    r"|Connection\.get_connection_from_secrets|BaseHook\.get_connection)"
)


class Source:
    """A parsed file, and what its names stand for."""

    def __init__(self, file: str, text: str, tree: ast.Module) -> None:
        self.file = file
        self.text = text
        self.tree = tree
        self.lines = text.splitlines()
        self.names: dict[str, str] = {}
        """Local name -> dotted name that an import bound it to."""
        self.guarded: set[ast.AST] = set()
        """Imports inside ``try``: a file that tries both the old and the new place knows what it does."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Try):
                for part in (*node.body, *(s for h in node.handlers for s in h.body)):
                    self.guarded.update(ast.walk(part))
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.names[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    @property
    def uses_sdk(self) -> bool:
        """Whether the file imports Airflow or Boraflow."""
        return any(name.partition(".")[0] in _SDKS for name in self.names.values())

    @property
    def is_native(self) -> bool:
        """Whether it imports Boraflow and not Airflow."""
        roots = {name.partition(".")[0] for name in self.names.values()}
        return "boraflow" in roots and "airflow" not in roots

    def resolve(self, node: ast.AST) -> str:
        """Return the dotted name that an expression stands for; empty if it is not a name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.names.get(node.id, node.id))
        return ".".join(reversed(parts))

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Return a node's line (from 1) and column (from 0), in characters."""
        line, offset = node.lineno, node.col_offset  # type: ignore[attr-defined]
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return line, len(text.encode()[:offset].decode(errors="replace"))

    def segment(self, node: ast.AST) -> str:
        """Return a node's text."""
        return ast.get_source_segment(self.text, node) or ""

    def finding(
        self, code: str, node: ast.AST, message: str, edits: list[Edit] | None = None
    ) -> Finding:
        """Return a finding at a node."""
        line, column = self.place(node)
        return Finding(self.file, line, column + 1, code, message, edits=edits or [])


def is_sdk_name(dotted: str, *names: str) -> bool:
    """Say whether a dotted name is one of ``names`` of Airflow or Boraflow, whatever the module."""
    root, _, _ = dotted.partition(".")
    return root in _SDKS and dotted.rpartition(".")[2] in names


def check_source(source: Source) -> Iterator[Finding]:
    """Yield what the file's syntax shows."""
    if source.uses_sdk:
        visitor = _Visitor(source)
        visitor.visit(source.tree)
        yield from visitor.found


class _Visitor(ast.NodeVisitor):
    """Walks a file, knowing whether the code it is at runs at parse time or in a task."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Finding] = []
        self.where = "parse"  # "parse", "task", or "" where it cannot be told
        self.date_argument = ""
        self.callables = {
            k.value.id
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Call)
            for k in node.keywords
            if k.arg == "python_callable" and isinstance(k.value, ast.Name)
        }
        self.in_operator = False

    # --- where the code runs ---

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for expression in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if expression is not None:
                self.visit(expression)
        former = self.where, self.in_operator
        self.where = self._runs_in(node)
        self.in_operator = False
        for statement in node.body:
            self.visit(statement)
        self.where, self.in_operator = former

    visit_AsyncFunctionDef = visit_FunctionDef

    def _runs_in(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        if self.where == "task":
            return "task"
        if node.name in self.callables or (self.in_operator and node.name in ("execute", "poke")):
            return "task"
        for decorator in node.decorator_list:
            name = self.source.resolve(
                decorator.func if isinstance(decorator, ast.Call) else decorator
            )
            if is_sdk_name(name, "dag", "task_group"):
                return "parse"
            if re.search(r"^(airflow|boraflow)\b.*\.(task(\.\w+)?|asset|setup|teardown)$", name):
                return "task"
        return ""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        former, self.in_operator = (
            self.in_operator,
            any(
                self.source.resolve(b).endswith(("Operator", "Sensor", "SensorOperator"))
                for b in node.bases
            ),
        )
        self.generic_visit(node)
        self.in_operator = former

    def visit_Lambda(self, node: ast.Lambda) -> None:
        former, self.where = self.where, ""
        self.generic_visit(node)
        self.where = former

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Compare) and "__name__" in ast.dump(node.test.left):
            return  # `if __name__ == "__main__":` is not run when the file is loaded
        self.generic_visit(node)

    # --- what it does ---

    def visit_keyword(self, node: ast.keyword) -> None:
        self._dated(node.arg or "", node.value)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            name = key.value if isinstance(key, ast.Constant) else None
            self._dated(name if isinstance(name, str) else "", value)

    def _dated(self, name: str, value: ast.expr) -> None:
        former = self.date_argument
        if name in ("start_date", "end_date") and self.where != "task":
            self.date_argument = name
        self.visit(value)
        self.date_argument = former

    def visit_Call(self, node: ast.Call) -> None:
        name = self.source.resolve(node.func)
        shown = self.source.segment(node.func)
        if name in _NOW or name == _DAYS_AGO:
            self._clock(node, shown, name)
        elif self.where == "parse" and _SECRET.fullmatch(name):
            what = "the variable" if "Variable" in name else "the connection"
            first = node.args[0] if node.args else None
            key = f" {first.value!r}" if isinstance(first, ast.Constant) else ""
            self._add(
                "BF301", node, f"{shown}(): {what}{key} is read at every parse; read it in the task"
            )
        elif self.where == "parse" and _IO.fullmatch(name):
            self._add(
                "BF302",
                node,
                f"{shown}() at the top level runs at every parse; move it into a task",
            )
        self.generic_visit(node)

    def _clock(self, node: ast.Call, shown: str, name: str) -> None:
        if self.date_argument:
            self._add(
                "BF202",
                node,
                f"{self.date_argument} is computed with {shown}() and moves with the clock; write a fixed date",
            )
        elif name == _DAYS_AGO:
            return
        elif self.where == "task":
            self._add(
                "BF201",
                node,
                f"{shown}() differs when the task runs again; take logical_date or data_interval_start"
                " of the run",
            )
        elif self.where == "parse":
            self._add(
                "BF203", node, f"{shown}() at the top level is the moment of the parse, not of the run"
            )  # fmt: skip

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and (found := _NOW_IN_TEMPLATE.search(node.value)):
            self._add(
                "BF201",
                node,
                f"{found[0].rstrip('( ')}() in a template differs when the task runs again; take logical_date"
                " or data_interval_start of the run",
            )

    def _add(self, code: str, node: ast.AST, message: str) -> None:
        self.found.append(self.source.finding(code, node, message))
