"""How results are printed: a table for people, JSON or YAML for programs.

A table on a terminal is Rich's; into a pipe it is plain aligned columns, never cut, without colours.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer


class Format(enum.StrEnum):
    """``--output``."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[
    Format,
    typer.Option(
        "--output", "-o", envvar="BORAFLOW_OUTPUT", help="How to print.", show_envvar=False
    ),
]

STYLES = {
    "success": "green",
    "failed": "red",
    "running": "bright_green",
    "queued": "bright_black",
    "scheduled": "yellow",
    "up_for_retry": "yellow",
    "up_for_reschedule": "cyan",
    "deferred": "magenta",
    "skipped": "bright_magenta",
    "upstream_failed": "dark_orange",
    "restarting": "magenta",
    "removed": "bright_black",
    "online": "green",
    "draining": "yellow",
    "offline": "red",
    "paused": "yellow",
    "cancelled": "red",
    "completed": "green",
}


def note(text: str) -> None:
    """Say something on standard error, where it cannot disturb a program's input."""
    print(text, file=sys.stderr, flush=True)


def done(text: str, record: Any, output: Format) -> None:
    """Print the result of a command that changed something: a line, or the record."""
    if output is Format.TABLE:
        print(text)
    else:
        dump(record, output)


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def dump(record: Any, output: Format) -> None:
    """Print a record or a list of records as JSON or YAML."""
    data = plain(record)
    if output is Format.YAML:
        import yaml

        sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    else:
        print(json.dumps(data, indent=2, ensure_ascii=False))


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return " ".join(f"{k}:{cell(v)}" for k, v in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(cell(v) for v in value)
    return str(value)


def duration(value: timedelta | None) -> str:
    """Return a length of time in words: ``0.21s``, ``12.4s``, ``3m 05s``, ``2h 10m``."""
    if value is None:
        return ""
    seconds = value.total_seconds()
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 3600:
        return f"{int(seconds // 60)}m {int(seconds % 60):02}s"
    return f"{int(seconds // 3600)}h {int(seconds % 3600 // 60):02}m"


def rows(
    records: Iterable[Mapping[str, Any]],
    output: Format,
    columns: Sequence[str],
    *,
    empty: str = "Nothing found.",
) -> None:
    """Print records: all their fields as JSON or YAML, ``columns`` as a table."""
    records = list(records)
    if output is not Format.TABLE:
        dump(records, output)
        return
    if not records:
        note(empty)
        return
    table([[cell(r.get(c)) for c in columns] for r in records], columns)


def one(record: Mapping[str, Any], output: Format) -> None:
    """Print one record: a line per field, or JSON or YAML."""
    if output is not Format.TABLE:
        dump(record, output)
        return
    width = max(len(k) for k in record)
    for key, value in record.items():
        text = cell(value)
        if "\n" in text:
            text = "\n" + "\n".join(f"    {line}" for line in text.splitlines())
        print(f"{key:<{width}}  {text}".rstrip())


def table(lines: Sequence[Sequence[str]], columns: Sequence[str]) -> None:
    """Print a table."""
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            grid.add_column(column, overflow="fold")
        for line in lines:
            grid.add_row(*[Text(t, style=STYLES.get(t, "")) for t in line])
        Console().print(grid)
        return
    widths = [max(len(c), *(len(line[i]) for line in lines)) for i, c in enumerate(columns)]
    for line in [columns, *lines]:
        print("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip())
