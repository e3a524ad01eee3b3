"""The rules and what a finding is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked for."""

    code: str
    name: str
    text: str
    """What it finds, and why that is worth a change."""
    fixable: str = ""
    """What ``--fix`` does about it; empty: nothing."""


_TABLE = (
    Rule("BF101", "load-error", "The file cannot be imported, so none of its DAGs exists."),
    Rule("BF102", "cycle", "Tasks that wait for each other in a circle never run."),
    Rule("BF103", "invalid-dag", "A DAG of the file cannot be used: a duplicate id, a wrong argument."),
    Rule(
        "BF201",
        "wall-clock-in-task",
        "A task that asks for the present moment does something else when it runs again. Its run's own dates"
        " (`logical_date`, `data_interval_start`) stay the same.",
    ),
    Rule(
        "BF202",
        "moving-date",
        "A start or end date that moves with the clock changes at each parse: no tick may ever be due, or"
        " different ones after a restart. Write a fixed date.",
    ),
    Rule(
        "BF203",
        "wall-clock-at-parse",
        "The present moment at the top level of a file is that of its last parse, not that of the run.",
    ),
    Rule(
        "BF301",
        "secret-at-parse",
        "A variable or connection read at the top level is read at every parse, and its value is frozen into the"
        " DAG. Read it in the task, or in a template: `{{ var.value.name }}`, `{{ conn.name.host }}`.",
    ),
    Rule(
        "BF302",
        "io-at-parse",
        "Network, database, shell or sleep at the top level makes every parse and every worker wait for it, and"
        " the DAG fail when the other side does. Do it in a task.",
    ),
    Rule("BF401", "no-retries", "A task without retries fails for good at the first hiccup."),
    Rule(
        "BF402",
        "unused-xcom",
        "A task stores a result that no other task takes. `do_xcom_push=False` saves writing it.",
    ),
    Rule("BF403", "unknown-xcom-source", "`xcom_pull` names a task that the file's DAGs do not have."),
    Rule(
        "BF404",
        "unknown-default-arg",
        "A key of `default_args` that no task takes has no effect: a misspelling, or an argument of the DAG.",
    ),
    Rule(
        "BF405",
        "sensor-holds-slot",
        "A sensor that looks once a minute or less, in mode `poke`, holds a worker slot while it waits."
        ' `mode="reschedule"` or `deferrable=True` gives it back.',
    ),
    Rule("BF501", "moved-import", "A name is imported from where older Airflow releases had it.", "imports the new place"),
    Rule("BF502", "renamed-argument", "An argument has another name now.", "renames it"),
    Rule("BF503", "removed-argument", "An argument that has no effect any more.", "removes it"),
    Rule(
        "BF504",
        "schedule-interval",
        "`schedule_interval` is now `schedule`. The name decides the dates: a cron text under the old one has"
        " Airflow 2's data intervals and catches up unless told not to.",
        "writes `schedule=` with a timetable that keeps the dates, and `catchup=True` where nothing was said",
    ),
    Rule("BF505", "days-ago", "`days_ago` is gone.", 'writes `pendulum.today("UTC").add(days=-n)`'),
    Rule(
        "BF506",
        "removed-context-key",
        "A name that templates and functions no longer get.",
        "renames `execution_date` in templates, and computes `yesterday_ds` and `tomorrow_ds`",
    ),
    Rule("BF507", "renamed-trigger-rule", "A trigger rule has another name now.", "renames it"),
    Rule("BF508", "removed-name", "An old Airflow name that has no new place.", "removes `@apply_defaults`"),
    Rule(
        "BF510",
        "airflow-import",
        "With `--to boraflow`: a name comes from `airflow`, and Boraflow has it under its own.",
        "imports it from `boraflow`",
    ),
)  # fmt: skip
RULES: dict[str, Rule] = {rule.code: rule for rule in _TABLE}


@dataclass(slots=True)
class Edit:
    """One change of a source, at the place of a syntax node: (line from 1, column from 0, in characters)."""

    kind: str
    """What to do; the methods of :mod:`boraflow.lint.rewrite`."""
    place: tuple[int, int]
    data: Any = None


@dataclass(slots=True)
class Finding:
    """One thing that a rule found."""

    file: str
    line: int
    column: int
    """From 1, as editors count."""
    code: str
    message: str
    dag_id: str | None = None
    task_id: str | None = None
    edits: list[Edit] = field(default_factory=list)
    """How to put it right; empty where that needs a person."""

    @property
    def name(self) -> str:
        return RULES[self.code].name

    def __str__(self) -> str:
        mark = " [*]" if self.edits else ""
        return f"{self.file}:{self.line}:{self.column}: {self.code}{mark} {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "code": self.code,
            "name": self.name,
            "message": self.message,
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "fixable": bool(self.edits),
        }
