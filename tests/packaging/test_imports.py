"""What importing costs: the base package stays light, and names are listed."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("grpc", "google.protobuf", "sqlalchemy", "structlog", "streamlit", "typer", "asyncio")


def loaded_after(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has after ``code``."""
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import boraflow",
        "from boraflow import DAG, dag, task, TaskGroup, Param",
        "from boraflow.operators.bash import BashOperator",
        "from boraflow.operators.python import PythonOperator, BranchPythonOperator",
        "from boraflow.sensors.filesystem import FileSensor",
        "import boraflow.model.spec, boraflow.model.timetables, boraflow.model.rows",
        "import boraflow.engine.machine",
        "import boraflow.runtime.worker",
    ],
)
def test_base_imports_load_no_grpc_protobuf_or_sql(code: str) -> None:
    loaded = loaded_after(code)
    # Triggers are coroutines, and so is the lane that runs them.
    allowed = {"asyncio"} if "runtime" in code or "sensors" in code else set()
    assert sorted(set(HEAVY) & loaded - allowed) == []


#: What would cost a DAG file's import more than it gives: each takes one to five milliseconds of its 60.
SLOW = (
    "boraflow.model.spec", "boraflow.model.timetables", "boraflow.runtime", "hashlib", "importlib.resources",
    "jinja2", "jsonschema", "logging", "numpy", "pandas", "pathlib", "random", "shutil", "subprocess", "tempfile",
    "threading", "urllib.parse", "uuid", "zoneinfo",
)  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "from boraflow import DAG, dag, task, task_group",
        "import boraflow.airflow.hook as h; h.install(); from airflow.sdk import DAG, dag, task, task_group",
    ],
    ids=["boraflow", "airflow"],
)
def test_what_a_dag_file_imports_first_is_light(code: str) -> None:
    """By what is loaded, not by the clock: the first line of every DAG file is to take less than 60 ms."""
    before = loaded_after("import sys")
    loaded = loaded_after(code) - before
    assert sorted(loaded & {*HEAVY, *SLOW}) == []
    assert len(loaded) < 100, sorted(loaded)


def rank(name: str) -> tuple[int, str]:
    """Sort as ruff's RUF022 does: constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("module", ["boraflow", "boraflow.client"])
def test_exported_names_are_sorted_and_there(module: str) -> None:
    found = importlib.import_module(module)
    assert list(found.__all__) == sorted(found.__all__, key=rank)
    assert len(set(found.__all__)) == len(found.__all__)
    missing = [name for name in found.__all__ if not hasattr(found, name)]
    assert missing == []


def test_model_and_engine_import_only_what_they_may() -> None:
    """A second look, without import-linter: no module of ours below them, no clock, no network."""
    allowed = {"model": ("boraflow.model",), "engine": ("boraflow.model", "boraflow.engine")}
    banned = {"asyncio", "threading", "socket", "random", "time", "grpc", "google", "sqlalchemy"}
    for folder, prefixes in allowed.items():
        for path in (ROOT / "sdk" / "boraflow" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [a.name for a in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                for name in names:
                    assert name.split(".")[0] not in banned, f"{path}: {name}"
                    if name.startswith("boraflow"):
                        assert name.startswith(prefixes), f"{path}: {name}"


def test_only_the_metastores_store_and_migrations_import_sqlalchemy() -> None:
    """import-linter sees packages; this sees which modules of the metastore do it."""
    metastore = ROOT / "services" / "metastore" / "boraflow_metastore"
    for path in metastore.rglob("*.py"):
        inside = path.relative_to(metastore).parts[0]
        if inside in ("store", "migrations"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            assert not [n for n in names if n.split(".")[0] in ("sqlalchemy", "alembic")], path
