"""What older Airflow releases wrote differently, and how to write it now.

New imports come from ``airflow.sdk`` and the standard provider, which both Boraflow and Airflow 3 answer; with
``to_boraflow`` from ``boraflow`` itself, and then today's Airflow names are findings too.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator, Mapping

from boraflow.airflow.names import CURRENT, MOVED, REPLACED
from boraflow.lint.rules import Edit, Finding
from boraflow.lint.source import Source, is_sdk_name

Place = tuple[str, str]
"""(module, name)"""

_DAG_RENAMED = {
    "timetable": "schedule",
    "concurrency": "max_active_tasks",
    "fail_stop": "fail_fast",
}
_DAG_REMOVED = (
    "default_view",
    "orientation",
    "full_filepath",
    "sla_miss_callback",
    "access_control",
)
_TASK_RENAMED = {"task_concurrency": "max_active_tis_per_dag"}
_TASK_REMOVED = ("provide_context", "sla")
_CALL_RENAMED: dict[str, dict[str, str]] = {
    "TriggerDagRunOperator": {"execution_date": "logical_date"},
    "BranchDateTimeOperator": {"use_task_execution_date": "use_task_logical_date"},
    "BranchDayOfWeekOperator": {"use_task_execution_day": "use_task_logical_date"},
    "DayOfWeekSensor": {"use_task_execution_day": "use_task_logical_date"},
}
_RULES = {"none_failed_or_skipped": "none_failed_min_one_success", "dummy": "always"}
_KEYS = {
    "execution_date": "logical_date",
    "next_ds": "data_interval_end | ds",
    "next_ds_nodash": "data_interval_end | ds_nodash",
    "next_execution_date": "data_interval_end",
    "prev_ds": "prev_data_interval_start_success | ds",
    "prev_ds_nodash": "prev_data_interval_start_success | ds_nodash",
    "prev_execution_date": "prev_data_interval_start_success",
    "prev_execution_date_success": "prev_data_interval_start_success",
    "tomorrow_ds": "macros.ds_add(ds, 1)",
    "tomorrow_ds_nodash": "macros.ds_add(ds, 1) without its dashes",
    "yesterday_ds": "macros.ds_add(ds, -1)",
    "yesterday_ds_nodash": "macros.ds_add(ds, -1) without its dashes",
    "triggering_dataset_events": "triggering_asset_events",
}
_EXACT = (
    "execution_date", "tomorrow_ds", "yesterday_ds", "triggering_dataset_events",
)  # fmt: skip
_KEY = re.compile(rf"(?<![\w.'\"\[])({'|'.join(sorted(_KEYS, key=len, reverse=True))})\b")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_KEPT_TIMES = ("@once", "@continuous")


@functools.cache
def _table(which: str) -> dict[str, dict[str, Place]]:
    """Return, for each module, where each of its names is; ``*`` names a whole module."""
    out: dict[str, dict[str, Place]] = {}
    tables: dict[str, Mapping[str, tuple[str, ...]]] = {"moved": MOVED, "current": CURRENT}
    for module, entries in tables[which].items():
        found = out.setdefault(module, {})
        for entry in entries:
            target, _, listed = entry.partition(": ")
            for word in listed.split():
                name, _, own = word.partition("=")
                found.setdefault(name, (target, own or name))
    return out


def _lookup(which: str, module: str, name: str) -> Place | None:
    found = _table(which).get(module, {})
    if name in found:
        return found[name]
    if "*" in found and name != "*" and not name.startswith("_"):
        return found["*"][0], name
    return None


def _in_boraflow(module: str, name: str) -> Place | None:
    """Return the public Boraflow place of one of today's Airflow names."""
    place = _lookup("current", module, name)
    if place is None:
        return None
    where, own = place
    if where.startswith("airflow."):
        return _in_boraflow(where, own)
    import boraflow

    if own in boraflow.__all__:
        return "boraflow", own
    if not where.startswith("boraflow.") or any(
        p.startswith("_") or p == "airflow" for p in where.split(".")
    ):
        return None
    try:
        there = importlib.import_module(where)
    except ImportError:
        return None
    return (where, own) if hasattr(there, own) else None


def new_place(module: str, name: str, *, to_boraflow: bool) -> Place | None:
    """Return where an old Airflow name is now, if that is public."""
    place = _lookup("moved", module, name)
    if place is not None and (place[0] == "datetime" or f"{module}.{name}" not in REPLACED):
        module, name = place
        if not module.startswith("airflow.") and module != "datetime":
            return None
    elif not to_boraflow or place is not None:
        return None
    if to_boraflow and module.startswith("airflow"):
        return _in_boraflow(module, name)
    return module, name


def check_airflow(source: Source, *, to_boraflow: bool = False) -> Iterator[Finding]:
    """Yield what the file writes as older releases had it."""
    if source.uses_sdk:
        visitor = _Visitor(source, to_boraflow)
        visitor.visit(source.tree)
        yield from visitor.found


class _Visitor(ast.NodeVisitor):
    def __init__(self, source: Source, to_boraflow: bool) -> None:
        self.source = source
        self.to_boraflow = to_boraflow
        self.found: list[Finding] = []
        native = to_boraflow or source.is_native
        self.sdk = "boraflow" if native else "airflow.sdk"
        self.dicts = {
            target.id: node.value
            for node in source.tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.seen_dicts: set[ast.AST] = set()

    def add(self, code: str, node: ast.AST, message: str, *edits: Edit) -> None:
        self.found.append(self.source.finding(code, node, message, list(edits)))

    # --- imports ---

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or node in self.source.guarded or not module.startswith("airflow"):
            return
        moves: dict[str, Place] = {}
        for alias in node.names:
            where = f"{module}.{alias.name}"
            place = new_place(module, alias.name, to_boraflow=self.to_boraflow)
            if place is not None:
                moves[alias.name] = place
            elif where in REPLACED:
                if alias.name not in ("days_ago", "apply_defaults"):  # their uses are findings
                    self.add("BF508", node, f"{where}: {REPLACED[where]}")
            elif _lookup("moved", module, alias.name) is None and self._is_gone(module):
                self.add(
                    "BF508", node, f"{where} is not there any more, and Boraflow knows no new place"
                )
        for name, (target, own) in moves.items():
            code = "BF501" if _lookup("moved", module, name) else "BF510"
            said = f"from {target} import {own}"
            self.add(code, node, f"{module}.{name}: write `{said}`")
        if not moves:
            return
        edits = [Edit("move_import", self.source.place(node), moves)]
        edits += [
            edit
            for alias in node.names
            if alias.name in moves and not alias.asname
            for edit in self._renames(alias.name, moves[alias.name][1])
        ]
        for finding in self.found[-len(moves) :]:
            finding.edits = edits

    def _is_gone(self, module: str) -> bool:
        return module in MOVED and module not in CURRENT

    def _renames(self, old: str, new: str) -> list[Edit]:
        if old == new:
            return []
        return [
            Edit("rename", self.source.place(n), (old, new))
            for n in ast.walk(self.source.tree)
            if isinstance(n, ast.Name) and n.id == old
        ]

    # --- decorators ---

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            if self.source.resolve(decorator) == "airflow.utils.decorators.apply_defaults":
                self.add(
                    "BF508",
                    decorator,
                    "@apply_defaults: drop it, default_args apply without it",
                    Edit("drop_decorator", self.source.place(decorator)),
                    *self._drop_import("airflow.utils.decorators", "apply_defaults"),
                )
        if any(self._is_task(d) for d in node.decorator_list) or node.name in self._callables():
            for argument in (*node.args.args, *node.args.kwonlyargs):
                if argument.arg in _KEYS:
                    said = _KEYS[argument.arg].split(" | ")[0]
                    self.add(
                        "BF506", argument, f"functions no longer get '{argument.arg}': take {said}"
                    )
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _is_task(self, node: ast.expr) -> bool:
        name = self.source.resolve(node.func if isinstance(node, ast.Call) else node)
        return bool(re.search(r"^(airflow|boraflow)\b.*\.task(\.\w+)?$", name))

    @functools.cache  # noqa: B019 (one visitor per file)
    def _callables(self) -> frozenset[str]:
        return frozenset(
            k.value.id
            for n in ast.walk(self.source.tree)
            if isinstance(n, ast.Call)
            for k in n.keywords
            if k.arg == "python_callable" and isinstance(k.value, ast.Name)
        )

    def _drop_import(self, module: str, name: str) -> list[Edit]:
        return [
            Edit("drop_import", self.source.place(n), name)
            for n in ast.walk(self.source.tree)
            if isinstance(n, ast.ImportFrom) and n.module == module and n not in self.source.guarded
        ]

    # --- calls ---

    def visit_Call(self, node: ast.Call) -> None:
        name = self.source.resolve(node.func)
        last = name.rpartition(".")[2]
        keywords = {k.arg: k for k in node.keywords if k.arg}
        if is_sdk_name(name, "DAG", "dag"):
            self._dag(node, keywords)
        elif last.endswith(("Operator", "Sensor", "SensorAsync")) or self._is_task(node):
            self._task(keywords, last)
        elif name == "airflow.utils.dates.days_ago":
            self._days_ago(node)
        elif is_sdk_name(name, "get") and ".Variable." in name and "default_var" in keywords and (
            self.sdk == "boraflow" or "airflow.sdk" in name
        ):  # fmt: skip
            self._rename_keyword(keywords["default_var"], "default")
        self.generic_visit(node)

    def _rename_keyword(self, keyword: ast.keyword, new: str) -> None:
        self.add(
            "BF502",
            keyword,
            f"the argument '{keyword.arg}' is now '{new}'",
            Edit("rename_keyword", self.source.place(keyword), new),
        )

    def _remove_keyword(self, keyword: ast.keyword) -> None:
        self.add(
            "BF503",
            keyword,
            f"the argument '{keyword.arg}' has no effect any more: remove it",
            Edit("remove_keyword", self.source.place(keyword)),
        )

    def _task(self, keywords: dict[str, ast.keyword], operator: str) -> None:
        renamed = {**_TASK_RENAMED, **_CALL_RENAMED.get(operator, {})}
        for name, keyword in keywords.items():
            if name in renamed:
                self._rename_keyword(keyword, renamed[name])
            elif name in _TASK_REMOVED:
                self._remove_keyword(keyword)
            elif name == "trigger_rule":
                self._trigger_rule(keyword.value)
            elif name == "default_args":
                self._default_args(keyword.value)

    def _trigger_rule(self, value: ast.expr) -> None:
        old = value.value if isinstance(value, ast.Constant) else None
        if isinstance(value, ast.Attribute) and is_sdk_name(
            self.source.resolve(value.value), "TriggerRule"
        ):
            old = value.attr.lower()
        if not isinstance(old, str) or old not in _RULES:
            return
        new = _RULES[old]
        text = f'"{new}"'
        if isinstance(value, ast.Attribute):
            text = f"{self.source.segment(value.value)}.{new.upper()}"
        self.add(
            "BF507",
            value,
            f"the trigger rule '{old}' is now '{new}'",
            Edit("replace", self.source.place(value), text),
        )

    def _default_args(self, value: ast.expr) -> None:
        if isinstance(value, ast.Name):
            value = self.dicts.get(value.id, value)
        if not isinstance(value, ast.Dict) or value in self.seen_dicts:
            return
        self.seen_dicts.add(value)
        for key, one in zip(value.keys, value.values, strict=True):
            if not isinstance(key, ast.Constant):
                continue
            if key.value in _TASK_REMOVED:
                self.add(
                    "BF503",
                    key,
                    f"the argument '{key.value}' has no effect any more: remove it",
                    Edit("remove_key", self.source.place(key)),
                )
            elif key.value in _TASK_RENAMED:
                new = _TASK_RENAMED[str(key.value)]
                self.add(
                    "BF502",
                    key,
                    f"the argument '{key.value}' is now '{new}'",
                    Edit("replace", self.source.place(key), f'"{new}"'),
                )
            elif key.value == "trigger_rule":
                self._trigger_rule(one)

    def _dag(self, node: ast.Call, keywords: dict[str, ast.keyword]) -> None:
        for name, keyword in keywords.items():
            if name == "schedule_interval":
                self._schedule_interval(node, keyword, keywords)
            elif name in _DAG_RENAMED:
                self._rename_keyword(keyword, _DAG_RENAMED[name])
            elif name in _DAG_REMOVED:
                self._remove_keyword(keyword)
            elif name == "default_args":
                self._default_args(keyword.value)

    # --- dates ---

    def _days_ago(self, node: ast.Call) -> None:
        edits: list[Edit] = []
        if len(node.args) == 1 and not node.keywords:
            number = node.args[0]
            text = self.source.segment(number)
            if not isinstance(number, (ast.Constant, ast.Name)):
                text = f"({text})"
            edits = [
                Edit(
                    "replace", self.source.place(node), f'pendulum.today("UTC").add(days=-{text})'
                ),
                Edit("add_import", (0, 0), "pendulum"),
                *self._drop_import("airflow.utils.dates", "days_ago"),
            ]
        self.add(
            "BF505",
            node,
            'days_ago is gone: write a fixed date, or pendulum.today("UTC").add(days=-n)',
            *edits,
        )

    def _schedule_interval(
        self, node: ast.Call, keyword: ast.keyword, keywords: dict[str, ast.keyword]
    ) -> None:
        value = keyword.value
        place = self.source.place(keyword)
        edits: list[Edit] = []
        message = "schedule_interval is now schedule"
        if isinstance(value, ast.Constant) and (value.value is None or value.value in _KEPT_TIMES):
            edits = [Edit("rename_keyword", place, "schedule")]
        elif (timetable := self._old_timetable(value, keywords)) is not None:
            name, text = timetable
            edits = [
                Edit("rename_keyword", place, "schedule"),
                Edit("replace", self.source.place(value), text),
                Edit("add_import", (0, 0), (self.sdk, name)),
            ]
            message += f": write schedule={text}, which keeps the data intervals of Airflow 2"
            if "catchup" not in keywords:
                edits.append(Edit("add_keyword", self.source.place(node), ("catchup", "True")))
                message += ", and catchup=True, its default then"
        else:
            message += (
                "; this value keeps its data intervals as CronDataIntervalTimetable(cron, timezone=...) or"
                " DeltaDataIntervalTimetable(delta)"
            )
        self.add("BF504", keyword, message, *edits)

    def _old_timetable(
        self, value: ast.expr, keywords: dict[str, ast.keyword]
    ) -> tuple[str, str] | None:
        text = self.source.segment(value)
        if isinstance(value, ast.Call):
            name = self.source.resolve(value.func)
            if name in ("datetime.timedelta", "dateutil.relativedelta.relativedelta"):
                return "DeltaDataIntervalTimetable", f"DeltaDataIntervalTimetable({text})"
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            zone = self._time_zone(keywords)
            if zone is not None:
                return (
                    "CronDataIntervalTimetable",
                    f'CronDataIntervalTimetable({text}, timezone="{zone}")',
                )
        return None

    def _time_zone(self, keywords: dict[str, ast.keyword]) -> str | None:
        """Return the DAG's time zone, which is that of its start date; None if it cannot be told."""
        start = keywords["start_date"].value if "start_date" in keywords else None
        defaults: ast.AST | None = (
            keywords["default_args"].value if "default_args" in keywords else None
        )
        if start is None and defaults is not None:
            if isinstance(defaults, ast.Name):
                defaults = self.dicts.get(defaults.id)
            if not isinstance(defaults, ast.Dict):
                return None
            for key, one in zip(defaults.keys, defaults.values, strict=True):
                if key is None:
                    return None
                if isinstance(key, ast.Constant) and key.value == "start_date":
                    start = one
        if start is None:
            return "UTC"
        if not isinstance(start, ast.Call):
            return None
        name = self.source.resolve(start.func)
        given = {k.arg: k.value for k in start.keywords}
        if name == "airflow.utils.dates.days_ago":
            return "UTC"
        if name in ("datetime.datetime", "pendulum.datetime", "pendulum.today", "pendulum.now"):
            zone = given.get("tz", given.get("tzinfo"))
            if name == "pendulum.today" and start.args:
                zone = start.args[0]
            if zone is None:
                return "UTC" if name in ("datetime.datetime", "pendulum.datetime") else None
            if isinstance(zone, ast.Constant) and isinstance(zone.value, str):
                return zone.value
            if self.source.resolve(zone) in (
                "datetime.timezone.utc",
                "datetime.UTC",
                "pendulum.UTC",
            ):
                return "UTC"
        return None

    # --- templates ---

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str) or "{" not in node.value:
            return
        keys: list[str] = []
        for part in _TEMPLATE.findall(node.value):
            keys += _KEY.findall(part)
        for key in dict.fromkeys(keys):
            said = _KEYS[key]
            edits = []
            if key in _EXACT:
                edits = [Edit("in_text", self.source.place(node), _new_template)]
            self.add("BF506", node, f"templates no longer have '{key}': write {said}", *edits)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring is no template
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                self.visit(value.value)


def _new_template(text: str) -> str:
    """Return the text of a string with today's names in its templates."""

    def part(match: re.Match[str]) -> str:
        return _KEY.sub(lambda m: _KEYS[m[1]] if m[1] in _EXACT else m[1], match[0])

    return _TEMPLATE.sub(part, text)
