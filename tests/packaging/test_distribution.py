"""What is installed: the wheel's contents, its metadata, and a slim executor."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def uv() -> str | None:
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    return shutil.which("uv") or (str(own) if own.exists() else None)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    tool = uv()
    command = (
        [tool, "build", "--wheel", "--quiet", "--out-dir", str(out)]
        if tool
        else [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), "."]
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        if re.search(r"connect|resolve|network|timed out", done.stderr, re.IGNORECASE):
            missing(f"the package index ({done.stderr.strip().splitlines()[-1]})")
        pytest.fail(done.stderr)
    (built,) = out.glob("*.whl")
    return built


def test_wheel_contains_the_five_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    packages = {t for t in tops if not t.endswith(".dist-info")}
    assert packages == {
        "boraflow",
        "boraflow_metastore",
        "boraflow_scheduler",
        "boraflow_executor",
        "boraflow_ui",
    }
    assert not [n for n in names if "__pycache__" in n or n.startswith("tests")]


def test_wheel_contains_every_source_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = ["sdk", "services/metastore", "services/scheduler", "services/executor", "ui"]
    tracked = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for line in tracked.stdout.splitlines():
        folder = next(f for f in folders if line.startswith(f"{f}/"))
        if (ROOT / line).exists():
            assert line.removeprefix(f"{folder}/") in names
    assert "boraflow/py.typed" in names
    assert any(n.startswith("boraflow_metastore/migrations/") for n in names)
    assert any(n.startswith("boraflow/api/metastore/v1/") and n.endswith(".pyi") for n in names)


def test_wheel_has_license_scripts_and_extras(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = next(n.split("/")[0] for n in archive.namelist() if ".dist-info/" in n)
    scripts = archive.read(f"{info}/entry_points.txt").decode()
    metadata = archive.read(f"{info}/METADATA").decode()
    for name in ("bora", "bora-metastore", "bora-scheduler", "bora-executor", "bora-ui"):
        assert f"{name} = " in scripts
    for extra in ("client", "cli", "metastore", "scheduler", "executor", "ui", "all"):
        assert f"Provides-Extra: {extra}" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()


def test_the_base_requires_no_grpc_protobuf_or_sql() -> None:
    names = {Requirement(r).name for r in PROJECT["project"]["dependencies"]}
    assert not names & {"grpcio", "protobuf", "sqlalchemy", "structlog", "typer", "streamlit"}


def test_the_lock_file_knows_every_dependency() -> None:
    """A dependency that somebody added and did not lock fails `uv sync --frozen` on a fresh clone."""
    locked = {p["name"] for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(r for extra in PROJECT["project"]["optional-dependencies"].values() for r in extra),
        *(r for group in PROJECT["dependency-groups"].values() for r in group),
    ]
    names = {re.sub(r"[-_.]+", "-", Requirement(r).name).lower() for r in wanted}
    assert sorted(names - locked) == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_slim_executor(wheel: Path, tmp_path: Path) -> None:
    """`pip install boraflow[executor]` brings no database, no dashboard, and can import what it needs."""
    home = tmp_path / "slim"
    tool = uv()
    if tool:
        subprocess.run(
            [tool, "venv", "-q", "--python", sys.executable, str(home)], check=True, cwd=tmp_path
        )
        install = [tool, "pip", "install", "-q", "--python", str(home / "bin" / "python")]
    else:
        venv.create(home, with_pip=True)
        install = [str(home / "bin" / "python"), "-m", "pip", "install", "-q"]
    env = {**os.environ, "UV_LINK_MODE": "copy"}
    done = subprocess.run(
        [*install, f"{wheel}[executor]"], capture_output=True, text=True, env=env, check=False
    )
    if done.returncode:
        if re.search(r"connect|resolve host|network|timed out", done.stderr, re.IGNORECASE):
            missing(f"the package index ({done.stderr.strip().splitlines()[-1]})")
        pytest.fail(done.stderr)
    code = """
import importlib.util
absent = [m for m in ("sqlalchemy", "alembic", "streamlit", "typer", "psycopg") if importlib.util.find_spec(m)]
assert not absent, absent
import boraflow_executor.__main__, boraflow.runtime.worker
from boraflow import DAG, dag, task
from boraflow.operators.bash import BashOperator
print("ready")
"""
    ran = subprocess.run(
        [str(home / "bin" / "python"), "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "ready"
    size = sum(p.stat().st_size for p in home.rglob("*") if p.is_file() and not p.is_symlink())
    assert size < 150 * 2**20, f"{size / 2**20:.0f} MiB"
