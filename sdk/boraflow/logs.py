"""Structured logging of services: one line per event on standard error, as text or JSON.

    log = get_logger(__name__)
    log.info("attached", executor=name, slots=8)

Everything goes through :mod:`logging`, so what libraries log comes out in the same form. A library for this
(structlog) was measured and left out: with its imports it is a tenth of a second of each service's start and
5 MiB of its memory.
"""

from __future__ import annotations

import json as json_module
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

_LEVELS = {"debug", "info", "warning", "error", "critical"}
_NOISY = (
    "asyncio",
    "grpc",
    "grpc._cython.cygrpc",
    "watchfiles",
    "alembic",
    "sqlalchemy",
    "urllib3",
)
_FIELDS = "boraflow_fields"


class Logger:
    """A logger whose events have names and values."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def _log(self, level: int, event: str, exc_info: Any, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, exc_info=exc_info, extra={_FIELDS: fields})

    def debug(self, event: str, **fields: Any) -> None:
        """Log what only helps to find a bug."""
        self._log(logging.DEBUG, event, fields.pop("exc_info", None), fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what happened."""
        self._log(logging.INFO, event, fields.pop("exc_info", None), fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what somebody should know."""
        self._log(logging.WARNING, event, fields.pop("exc_info", None), fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what went wrong."""
        self._log(logging.ERROR, event, fields.pop("exc_info", None), fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log what went wrong with the exception that is being handled."""
        self._log(logging.ERROR, event, fields.pop("exc_info", True), fields)


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(logging.getLogger(name))


def _value(value: Any) -> str:
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and value and not any(c.isspace() or c in "='\"" for c in value):
        return value
    return repr(value)


class _Formatter(logging.Formatter):
    """Renders a record with its fields."""

    def __init__(self, service: str, json: bool) -> None:
        super().__init__()
        self._service = service
        self._json = json

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        time = time.replace("+00:00", "Z")
        fields: dict[str, Any] = getattr(record, _FIELDS, None) or {}
        text = record.getMessage()
        trace = ""
        if record.exc_info and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if self._json:
            out = {
                "timestamp": time,
                "level": record.levelname.lower(),
                "service": self._service,
                "logger": record.name,
                "event": text,
                **fields,
            }
            if trace:
                out["exception"] = trace
            return json_module.dumps(out, default=repr, ensure_ascii=False)
        level = record.levelname.lower()
        tail = "".join(f" {k}={_value(v)}" for k, v in fields.items())
        return f"{time} {level:<7} {record.name}: {text}{tail}" + (f"\n{trace}" if trace else "")


def configure(service: str, level: str = "info", json: bool = False) -> None:
    """Set up logging of this process.

    Args:
        service: Its name, on each JSON line.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        json: One JSON object a line.

    Raises:
        ConfigError: the level is not one of these.
    """
    level = level.lower()
    if level not in _LEVELS:
        from boraflow.config import ConfigError

        raise ConfigError(
            f"BORAFLOW_LOG_LEVEL: {level!r} is not one of debug, info, warning, error, critical"
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(service, json))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    if level != "debug":
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.WARNING)
