"""``airflow.configuration.conf``: what DAG files read of the configuration.

A value comes from ``AIRFLOW__SECTION__KEY``, else from Boraflow's own settings where one means the same. Nothing
else is configured by it: Boraflow's settings are in ``docs/reference/settings.md``.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from boraflow import config
from boraflow._notset import NOTSET, is_arg_set
from boraflow.exceptions import AirflowConfigException


def _dags_folder() -> str:
    from boraflow.runtime.loader import bundle_root

    named = os.environ.get("BORAFLOW_DAGS_FOLDER")
    return bundle_root() or str(Path(named).expanduser() if named else config.home() / "dags")


_KNOWN: dict[tuple[str, str], Callable[[], str]] = {
    ("api", "base_url"): lambda: os.environ.get("BORAFLOW_UI_URL", "http://127.0.0.1:7780"),
    ("core", "base_log_folder"): lambda: str(config.home() / "logs"),
    ("core", "dags_folder"): _dags_folder,
    ("core", "default_timezone"): lambda: "utc",
    ("core", "executor"): lambda: "LocalExecutor",
    ("core", "load_examples"): lambda: "False",
    ("core", "max_active_runs_per_dag"): lambda: "16",
    ("core", "max_active_tasks_per_dag"): lambda: "16",
    ("core", "max_map_length"): lambda: "1024",
    ("core", "plugins_folder"): lambda: (
        os.environ.get("BORAFLOW_PLUGINS_FOLDER") or str(config.home() / "plugins")
    ),
    ("core", "unit_test_mode"): lambda: "False",
    **{
        (section, key): lambda default=default: default
        for section in ("kubernetes_executor", "kubernetes")  # Airflow 3 and 2, and Airflow 1.10
        for key, default in (
            ("namespace", "default"),
            ("worker_container_repository", ""),
            ("worker_container_tag", ""),
        )
    },
    ("logging", "base_log_folder"): lambda: str(config.home() / "logs"),
    ("scheduler", "catchup_by_default"): lambda: "False",
    ("webserver", "base_url"): lambda: os.environ.get("BORAFLOW_UI_URL", "http://127.0.0.1:7780"),
}


@functools.cache
def _provided() -> dict[tuple[str, str], str]:
    """Return the defaults of settings that installed provider packages describe."""
    from boraflow.airflow import providers

    return {
        (section.lower(), key.lower()): str(option["default"])
        for info in providers.infos().values()
        for section, described in (info.get("config") or {}).items()
        for key, option in (described.get("options") or {}).items()
        if option.get("default") is not None
    }


class Configuration:
    """Reads settings under Airflow's names."""

    def get(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        """Return a setting's text.

        Raises:
            AirflowConfigException: nothing sets it, and no fallback is given.
        """
        section, key = section.lower(), key.lower()
        variable = f"AIRFLOW__{section.upper().replace('.', '_').replace('-', '_')}__{key.upper()}"
        if (value := os.environ.get(variable)) is not None:
            return value
        if (known := _KNOWN.get((section, key))) is not None:
            return known()
        if (default := _provided().get((section, key))) is not None:
            return default
        if is_arg_set(fallback):
            return fallback
        raise AirflowConfigException(
            f"Boraflow has no setting [{section}] {key} of Airflow's; set {variable}, or give a fallback"
        )

    get_mandatory_value = get

    def _read(self, section: str, key: str, fallback: Any, kind: Any, what: str) -> Any:
        value = self.get(section, key, fallback)
        if not isinstance(value, str):
            return value
        try:
            return kind(value)
        except ValueError:
            raise AirflowConfigException(
                f"[{section}] {key} must be {what}, not {value!r}"
            ) from None

    def getint(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        return self._read(section, key, fallback, int, "a whole number")

    def getfloat(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        return self._read(section, key, fallback, float, "a number")

    def getboolean(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        from boraflow.airflow.loading import to_boolean_strictly

        return self._read(section, key, fallback, to_boolean_strictly, "true or false")

    def getlist(
        self, section: str, key: str, fallback: Any = NOTSET, delimiter: str = ",", **_: Any
    ) -> Any:
        def split(text: str) -> list[str]:
            return [part.strip() for part in text.split(delimiter) if part.strip()]

        return self._read(section, key, fallback, split, "a list")

    def getjson(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        return self._read(section, key, fallback, json.loads, "JSON")

    def gettimedelta(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        def seconds(text: str) -> timedelta:
            return timedelta(seconds=float(text))

        return self._read(section, key, fallback, seconds, "a number of seconds")

    def getimport(self, section: str, key: str, fallback: Any = NOTSET, **_: Any) -> Any:
        """Return what the setting's dotted path names; None if it is empty."""
        from boraflow.airflow.loading import import_string

        text = self.get(section, key, None if fallback is NOTSET else fallback)
        if not isinstance(text, str) or not text:
            return None
        try:
            return import_string(text)
        except ImportError as error:
            raise AirflowConfigException(f"[{section}] {key} names nothing: {error}") from error

    def as_dict(self, *_: Any, **__: Any) -> dict[str, dict[str, str]]:
        """Return the settings that have a value, by section: those of Boraflow, and ``AIRFLOW__SECTION__KEY``."""
        found: dict[str, dict[str, str]] = {}
        for (section, key), default in _provided().items():
            found.setdefault(section, {})[key] = default
        for (section, key), known in _KNOWN.items():
            found.setdefault(section, {})[key] = known()
        for variable, value in os.environ.items():
            prefix, section, key = (*variable.split("__", 2), "", "")[:3]
            if prefix == "AIRFLOW" and section and key:
                found.setdefault(section.lower(), {})[key.lower()] = value
        return found

    def has_option(self, section: str, option: str, **_: Any) -> bool:
        """Say whether a setting has a value."""
        return self.get(section, option, None) is not None


conf = Configuration()
get = conf.get
getint = conf.getint
getfloat = conf.getfloat
getboolean = conf.getboolean
has_option = conf.has_option
TIMEZONE = UTC


def get_airflow_home() -> str:
    """Return ``AIRFLOW_HOME``, or the folder above the DAG folder."""
    return os.environ.get("AIRFLOW_HOME") or os.path.dirname(_dags_folder())  # noqa: PTH120


def __getattr__(name: str) -> str:
    if name == "AIRFLOW_HOME":
        return get_airflow_home()
    if name == "DAGS_FOLDER":
        return _dags_folder()
    if name == "PLUGINS_FOLDER":
        return str(conf.get("core", "plugins_folder"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
