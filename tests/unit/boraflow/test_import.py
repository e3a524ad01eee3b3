"""`import boraflow` is light, and everything that it names exists."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import boraflow

HEAVY = {
    "pendulum", "jinja2", "jsonschema", "croniter", "dateutil", "asyncio", "grpc", "google.protobuf",
    "sqlalchemy", "pydantic", "numpy", "pandas", "typer", "rich",
}  # fmt: skip
SERVICES = {
    "grpc",
    "google.protobuf",
    "sqlalchemy",
    "boraflow.rpc",
    "boraflow.api",
    "boraflow.wire",
}


def modules_after(code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_import_loads_nothing_else() -> None:
    loaded = modules_after("import boraflow")
    assert not loaded & HEAVY
    assert {m for m in loaded if m.startswith("boraflow")} == {"boraflow"}


def test_import_costs_little() -> None:
    """At most 60 ms over bare Python, of the processor: a busy machine is not the import's fault."""
    program = (
        "import time; a = time.process_time(); import boraflow; print(time.process_time() - a)"
    )
    times = [
        float(
            subprocess.run(
                [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(times) < 0.060


def test_authoring_a_plain_dag_needs_no_template_engine() -> None:
    loaded = modules_after(
        "from boraflow import DAG, task\n"
        "with DAG('d', schedule=None):\n"
        "    @task\n"
        "    def f(): ...\n"
        "    f()\n"
    )
    assert not loaded & (HEAVY - {"dateutil"})


def test_runtime_knows_no_network() -> None:
    loaded = modules_after(
        "import boraflow.testing, boraflow.runtime.loader, boraflow.runtime.runner, boraflow.runtime.dagtest\n"
        "import boraflow.operators.trigger_dagrun, boraflow.sensors.external_task, boraflow.hooks.sql"
    )
    assert not {m for m in loaded if any(m == s or m.startswith(s + ".") for s in SERVICES)}


def test_transfers_import_their_extras_when_they_run() -> None:
    loaded = modules_after(
        "import boraflow.operators.sql_transfer, boraflow.operators.sql_checks, boraflow.operators.http\n"
        "import boraflow.operators.file_transfer, boraflow.sensors.http, boraflow.sensors.sql\n"
        "import boraflow.hooks.postgres, boraflow.hooks.mysql, boraflow.hooks.duckdb, boraflow.secrets"
    )
    extras = {
        "fsspec",
        "pyarrow",
        "psycopg",
        "pymysql",
        "duckdb",
        "requests",
        "sqlalchemy",
        "pandas",
        "grpc",
    }
    assert not loaded & extras


def test_every_exported_name_exists() -> None:
    for name in boraflow.__all__:
        assert getattr(boraflow, name) is not None, name
    assert set(boraflow._EXPORTS) | {"__version__"} == set(boraflow.__all__)
    assert set(dir(boraflow)) >= set(boraflow.__all__)


def test_unknown_name_is_an_import_error() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", "from boraflow import Dag"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ImportError: cannot import name 'Dag'" in done.stderr


def test_all_modules_of_the_sdk_import() -> None:
    for package in ("operators", "sensors", "hooks", "triggers"):
        folder = importlib.import_module(f"boraflow.{package}")
        for module in pkgutil.iter_modules(folder.__path__):
            importlib.import_module(f"boraflow.{package}.{module.name}")


def test_names_have_airflows_module_paths() -> None:
    for path, names in {
        "boraflow.operators.python": "PythonOperator BranchPythonOperator ShortCircuitOperator get_current_context",
        "boraflow.operators.bash": "BashOperator",
        "boraflow.operators.empty": "EmptyOperator",
        "boraflow.operators.branch": "BaseBranchOperator BranchMixIn",
        "boraflow.operators.latest_only": "LatestOnlyOperator",
        "boraflow.operators.trigger_dagrun": "TriggerDagRunOperator",
        "boraflow.operators.datetime": "BranchDateTimeOperator",
        "boraflow.operators.weekday": "BranchDayOfWeekOperator",
        "boraflow.operators.generic_transfer": "GenericTransfer",
        "boraflow.sensors.base": "BaseSensorOperator PokeReturnValue",
        "boraflow.sensors.bash": "BashSensor",
        "boraflow.sensors.date_time": "DateTimeSensor DateTimeSensorAsync",
        "boraflow.sensors.external_task": "ExternalTaskSensor ExternalTaskMarker",
        "boraflow.sensors.filesystem": "FileSensor",
        "boraflow.sensors.python": "PythonSensor",
        "boraflow.sensors.time": "TimeSensor",
        "boraflow.sensors.time_delta": "TimeDeltaSensor TimeDeltaSensorAsync WaitSensor",
        "boraflow.sensors.weekday": "DayOfWeekSensor",
        "boraflow.triggers.base": "BaseTrigger TriggerEvent",
        "boraflow.triggers.temporal": "DateTimeTrigger TimeDeltaTrigger",
        "boraflow.triggers.file": "FileTrigger",
        "boraflow.hooks.base": "BaseHook",
        "boraflow.hooks.filesystem": "FSHook",
        "boraflow.hooks.subprocess": "SubprocessHook",
        "boraflow.exceptions": "AirflowException AirflowSkipException AirflowFailException AirflowTaskTimeout",
    }.items():
        module = importlib.import_module(path)
        for name in names.split():
            assert hasattr(module, name), f"{path}.{name}"
