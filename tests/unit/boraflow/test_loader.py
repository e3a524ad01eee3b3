"""Loading DAG files: their DAGs, their errors with file and line, what they depend on."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from boraflow._dag_context import DagContext
from boraflow.runtime.loader import LoadedFile, load_file, module_name
from boraflow.testing import load_dags, run_dag


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


def load(folder: Path, text: str, name: str = "f.py") -> LoadedFile:
    return load_file(write(folder, name, text), folder)


HEAD = "from boraflow import DAG, dag, task\nfrom boraflow.operators.empty import EmptyOperator\n"


def test_all_ways_of_defining(folder: Path) -> None:
    loaded = load(
        folder,
        HEAD
        + textwrap.dedent(
            """
            one = DAG("one")
            EmptyOperator(task_id="a", dag=one)
            with DAG("two"):
                EmptyOperator(task_id="a")
            @dag
            def three():
                EmptyOperator(task_id="a")
            three()
            for i in range(2):
                d = DAG(f"loop_{i}")
                globals()[f"made_{i}"] = d
            def factory():
                DAG("lost")
                return DAG("kept")
            kept = factory()
            with DAG("hidden", auto_register=False):
                pass
            """
        ),
    )
    assert not loaded.errors
    assert set(loaded.dags) == {"one", "two", "three", "loop_0", "loop_1", "kept"}
    assert all(d.fileloc == str(folder / "f.py") for d in loaded.dags.values())
    assert all(d.relative_fileloc == "f.py" for d in loaded.dags.values())
    assert loaded.fileloc == "f.py"


def test_a_file_without_dags(folder: Path) -> None:
    loaded = load(folder, "x = 1\n")
    assert (loaded.dags, loaded.errors, loaded.error) == ({}, [], None)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = (\n", 1, "SyntaxError"),
        ("import os\n\nraise ValueError('bad config')\n", 3, "ValueError: bad config"),
        ("import no_such_module\n", 1, "No module named 'no_such_module'"),
        ("from boraflow import Dag\n", 1, "cannot import name 'Dag'"),
        ("import sys\nsys.exit(3)\n", 2, "sys.exit(3)"),
        (HEAD + "DAG('d', shedule='@daily')\n", 3, "did you mean 'schedule'"),
        (HEAD + "DAG('d', schedule='* * *')\n", 3, "schedule of DAG 'd'"),
        (HEAD + "with DAG('d'):\n    EmptyOperator(task_id='a b')\n", 4, "task_id 'a b'"),
        (
            HEAD + "with DAG('d'):\n    EmptyOperator(task_id='a', retrys=1)\n",
            4,
            "did you mean 'retries'",
        ),
        (
            HEAD + "with DAG('d'):\n    EmptyOperator(task_id='a') >> 5\n",
            4,
            "Relationships can only",
        ),
        (
            HEAD + "with DAG('d'):\n    EmptyOperator(task_id='a', trigger_rule='all')\n",
            4,
            "trigger_rule",
        ),
        (
            HEAD
            + "with DAG('d'):\n    EmptyOperator(task_id='a')\n    EmptyOperator(\n        task_id='a')\n",
            5,
            "Task id 'a' of DAG 'd' is used already by the task at f.py:4",
        ),
        (
            HEAD
            + "with DAG('d'):\n    a, b = EmptyOperator(task_id='a'), EmptyOperator(task_id='b')\n"
            "    a >> b\n    b >> a\n",
            6,
            "Cycle detected in DAG 'd': a -> b -> a",
        ),
        (HEAD + "d = DAG('d', schedule='@daily', catchup=True)\n", 3, "start_date"),
        (
            HEAD
            + "from boraflow import Param\nd = DAG('d', schedule='@daily', params={'n': Param(type='string')})\n",
            4,
            "'n'",
        ),
        (HEAD + "a = DAG('same')\nb = DAG('same')\n", 4, "the dag_id 'same' is used by 2 DAGs"),
        (
            HEAD + "from boraflow import Variable\nVariable.get('nothing_here')\n",
            4,
            "'nothing_here' is not defined",
        ),
    ],
)
def test_errors_name_file_and_line(folder: Path, text: str, line: int, words: str) -> None:
    loaded = load(folder, text)
    assert len(loaded.errors) == 1
    error = loaded.errors[0]
    assert (error.file, error.line) == ("f.py", line), error
    assert words in error.message
    assert str(error).startswith(f"f.py:{line}: ")
    assert not loaded.dags
    assert not any("loader.py" in t for t in error.traceback.splitlines())
    assert DagContext.get_current_dag() is None


def test_one_bad_dag_leaves_the_others(folder: Path) -> None:
    loaded = load(
        folder,
        HEAD
        + "good = DAG('good')\nwith DAG('bad') as bad:\n    a = EmptyOperator(task_id='a')\n    a >> a\n",
    )
    assert set(loaded.dags) == {"good"}
    assert [e.dag_id for e in loaded.errors] == ["bad"]
    assert loaded.error is None


def test_error_in_an_imported_module_names_that_file(folder: Path) -> None:
    write(folder, "lib/helper.py", "def f():\n    raise KeyError('deep')\n")
    write(folder, "lib/__init__.py", "")
    loaded = load(folder, "from lib.helper import f\nf()\n")
    assert (loaded.errors[0].file, loaded.errors[0].line) == ("lib/helper.py", 2)
    assert 'f.py", line 2' in loaded.errors[0].traceback


def test_dependencies(folder: Path) -> None:
    write(folder, "pkg/__init__.py", "")
    write(folder, "pkg/a.py", "from pkg import b\nVALUE = b.VALUE\n")
    write(folder, "pkg/b.py", "VALUE = 1\n")
    write(folder, "config/one.yaml", "x: 1\n")
    text = HEAD + textwrap.dedent(
        """
        from pathlib import Path
        import os
        from pkg.a import VALUE
        for file in sorted((Path(__file__).parent / "config").iterdir()):
            file.read_text()
        with open("/etc/hostname"):
            pass
        d = DAG("d")
        """
    )
    loaded = load(folder, text)
    assert not loaded.errors
    assert loaded.dependencies == ("config/one.yaml", "pkg/__init__.py", "pkg/a.py", "pkg/b.py")
    assert loaded.listed == ("config",)
    # A second file that uses the same, already imported modules depends on them as well.
    again = load(folder, HEAD + "from pkg.a import VALUE\nimport pkg.a\n", "g.py")
    assert set(again.dependencies) >= {"pkg/a.py"}
    assert load_file(folder / "f.py", folder, track=False).dependencies == ()


def test_dependencies_of_a_broken_file_are_known(folder: Path) -> None:
    write(folder, "part.py", "VALUE = 1\n")
    loaded = load(folder, "import part\nraise ValueError\n")
    assert loaded.dependencies == ("part.py",)


def test_dags_imported_from_another_file_belong_there(folder: Path) -> None:
    write(
        folder, "other.py", HEAD + "shared = DAG('shared')\ndef make(name):\n    return DAG(name)\n"
    )
    loaded = load(folder, HEAD + "from other import shared, make\nmine = make('mine')\n")
    assert set(loaded.dags) == {"mine"}
    assert loaded.dags["mine"].fileloc == str(folder / "f.py")


def test_module_name_is_stable_and_classes_can_be_found(folder: Path) -> None:
    text = HEAD + textwrap.dedent(
        """
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: int
        with DAG("d"):
            @task
            def make() -> Point:
                return Point(3)
            @task
            def read(p) -> int:
                assert isinstance(p, Point)
                return p.x
            read(make())
        """
    )
    loaded = load(folder, text, "sub/my-file.py")
    assert not loaded.errors
    name = module_name("sub/my-file.py")
    assert name == module_name("sub/my-file.py") != module_name("my-file.py")
    assert name in sys.modules
    assert run_dag(loaded.dags["d"]).xcom("read") == 3


def test_relative_path_and_missing_file(folder: Path) -> None:
    write(folder, "f.py", HEAD + "d = DAG('d')\n")
    assert set(load_file("f.py", folder).dags) == {"d"}
    missing = load_file("gone.py", folder)
    assert "FileNotFoundError" in missing.errors[0].message
    assert missing.errors[0].file == "gone.py"


def test_nothing_is_written_beside_the_file(folder: Path) -> None:
    load(folder, HEAD + "d = DAG('d')\n")
    assert not (folder / "__pycache__").exists()


def test_load_dags_raises(folder: Path) -> None:
    file = write(folder, "f.py", "raise ValueError('x')\n")
    with pytest.raises(Exception, match=r"f\.py:1: ValueError: x"):
        load_dags(file)
    file.write_text(HEAD + "d = DAG('d')\n")
    assert set(load_dags(file)) == {"d"}


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        (
            b"import os\nx = 'caf\xe9'\n",
            2,
            "byte 0xe9 is not UTF-8; save the file as UTF-8, or name its encoding",
        ),
        (
            "from airflow import DAG\n".encode("utf-16"),
            1,
            "the file holds null bytes, as UTF-16 text",
        ),
        (b"x = 1\ny = '\x00'\n", 2, "save it as UTF-8 text"),
        (b"# -*- coding: klingon -*-\n", 1, "unknown encoding: klingon; save the file as UTF-8"),
        (
            b"import os\nimport pandaz\n",
            2,
            "No module named 'pandaz'; put it in the DAG folder, or install it",
        ),
        (
            b"from airflow.sdk import DAG\n\nDAG()\n",
            3,
            "DAG() is missing its dag_id: DAG('name_of_the_dag', ...)",
        ),
        (
            b"from boraflow import DAG\nDAG('a', default_args=[1])\n",
            2,
            "must be a dict of arguments, not [1]",
        ),
        (
            b"from boraflow import DAG, task\nwith DAG('a'):\n    @task(pool=3)\n    def f(): pass\n    f()\n",
            5,
            "pool of task 'f' must be the name of a pool, not 3",
        ),
    ],
)
def test_files_that_are_no_python_and_wrong_kinds(
    folder: Path, source: bytes, line: int, words: str
) -> None:
    folder.joinpath("bad.py").write_bytes(source)
    loaded = load_file("bad.py", folder)
    assert [e.line for e in loaded.errors] == [line]
    assert words in loaded.errors[0].message


def test_what_fails_outside_of_the_file_names_the_place_of_its_task(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.joinpath("f.py").write_text(
        "from boraflow import DAG, task\n"
        "from boraflow.operators.bash import BashOperator\n"
        "with DAG('a'):\n"
        "    BashOperator(task_id='t', bash_command='echo {{ dss }}')\n"
        "    @task\n"
        "    def f(): return {'x': print}\n"
        "    f()\n"
    )
    run = load_file("f.py", folder).dags["a"].test()
    assert (
        run.get_task_instance("t").reason
        == "UndefinedError: 'dss' is undefined; while rendering BashOperator.bash_command (f.py:4)"
    )
    assert "Task 'f' (f.py:7) failed with exception\n" in caplog.text
