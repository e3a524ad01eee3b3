"""DAG files in real parser children: what goes wrong costs its file and no more."""

from __future__ import annotations

import asyncio
import os
import signal
import textwrap
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from boraflow.model.spec import dag_from_json
from boraflow_scheduler.bundles.parsers import Parsers
from boraflow_scheduler.settings import parser_environment

GOOD = """
from boraflow import DAG
from boraflow.operators.empty import EmptyOperator

with DAG("good", schedule=None):
    EmptyOperator(task_id="a") >> EmptyOperator(task_id="b")
"""


def pack(path: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


class Bench:
    """A folder of DAG files and parsers."""

    def __init__(self, root: Path, parsers: Parsers) -> None:
        self.root = root.resolve()
        self.parsers = parsers

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(textwrap.dedent(text))

    async def parse(
        self, path: str, timeout: float = 10, memory_mb: int = 256, t: str = "parse", **more: Any
    ) -> dict[str, Any]:
        return await self.parsers.run(
            {
                "t": t,
                "root": str(self.root),
                "file": path,
                "timeout": timeout,
                "memory_mb": memory_mb,
                **more,
            }
        )

    async def error(self, path: str, text: str, **options: Any) -> dict[str, Any]:
        self.put(path, text)
        message = await self.parse(path, **options)
        assert len(message["errors"]) == 1, message
        return message["errors"][0]


async def answer(what: str, arguments: dict[str, Any]) -> Any:
    if what == "get_variable" and arguments["key"] == "town":
        return "Bern"
    if what == "get_variable":
        return None
    raise LookupError("not here")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    parsers = Parsers(2, parser_environment(os.environ), answer)
    try:
        yield Bench(tmp_path, parsers)
    finally:
        await parsers.close()


async def test_a_good_file(bench: Bench) -> None:
    bench.put("good.py", GOOD)
    message = await bench.parse("good.py")
    assert message["errors"] == []
    ((dag_id, text, digest),) = message["dags"]
    spec = dag_from_json(text)
    assert (dag_id, spec.dag_id, spec.fileloc) == ("good", "good", "good.py")
    assert [t.task_id for t in spec.tasks] == ["a", "b"]
    assert len(digest) == 64
    assert 0 < message["seconds"] < 5


async def test_the_same_file_gives_the_same_digest(bench: Bench) -> None:
    bench.put("good.py", GOOD)
    one, two = await asyncio.gather(bench.parse("good.py"), bench.parse("good.py"))
    assert one["dags"] == two["dags"]


async def test_a_syntax_error_has_its_line(bench: Bench) -> None:
    error = await bench.error("bad.py", "from boraflow import DAG\n\nx = = 1\n")
    assert error["line"] == 3
    assert error["message"].startswith("SyntaxError")


async def test_an_exception_has_the_line_of_the_users_frame(bench: Bench) -> None:
    error = await bench.error(
        "bad.py",
        """\
        from boraflow import DAG
        def f():
            return {}["no"]
        f()
        """,
    )
    assert error["line"] == 3
    assert error["message"] == "KeyError: 'no'"
    assert "in f" in error["traceback"]
    assert "runtime/loader" not in error["traceback"]


async def test_an_error_in_an_imported_module_names_it(bench: Bench) -> None:
    bench.put("lib/broken.py", "x = 1\n1 / 0\n")
    error = await bench.error("bad.py", "from boraflow import DAG\nimport lib.broken\n")
    assert "ZeroDivisionError" in error["message"]
    assert "lib/broken.py, line 2" in error["message"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\nos._exit(3)", "the file called os._exit(3) while it was loaded"),
        ("import os\nos.abort()", "the file called os.abort() while it was loaded"),
        ("x = 1\nimport ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import sys\nsys.exit(4)", "sys.exit(4)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
async def test_a_file_that_ends_its_process(bench: Bench, text: str, words: str) -> None:
    error = await bench.error("bad.py", text)
    assert words in error["message"]
    assert error["line"] == text.count("\n") + 1 or "SIG" in words
    assert error["line"] == 2 or "ctypes" not in text
    bench.put("good.py", GOOD)
    assert (await bench.parse("good.py"))["dags"]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (b"x = 1\nx = '\xe9'\n", "byte 0xe9 is not UTF-8; save the file as UTF-8", 2),
        (b"# coding: klingon\n", "unknown encoding: klingon; save the file as UTF-8", 1),
        (b"x = 1\r\n\r\nx = (\r\n", "SyntaxError: '(' was never closed", 3),
        (b"x = 1\n\0\n", "null bytes", 2),
        ("x = 1\n".encode("utf-16"), "null bytes", 1),
        (b"class X(BaseException): pass\nraise X('mine')\n", "X: mine", 2),
        (
            b"class X(Exception):\n    def __str__(self): raise ValueError('no')\nraise X\n",
            "X",
            3,
        ),
        (b"raise ValueError('z' * 50_000_000)\n", "zz... (50,000,012 characters)", 1),
        (b"raise GeneratorExit\n", "GeneratorExit", 1),
        (b"input('?')\n", "EOFError", 1),
        (b"def f(): f()\nf()\n", "RecursionError", 1),
    ],
)
async def test_what_is_wrong_has_words_and_a_line(
    bench: Bench, text: bytes, words: str, line: int
) -> None:
    (bench.root / "bad.py").write_bytes(text)
    (error,) = (await bench.parse("bad.py"))["errors"]
    assert words in error["message"]
    assert error["line"] == line
    assert len(error["message"]) < 11_000
    assert len(error["traceback"]) <= 60_000


@pytest.mark.parametrize(
    "head",
    [
        b"\xef\xbb\xbf",
        b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
        b"for i in range(100_000): print('x' * 100)\n",
        b"import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n",
        b"import os\nos.chdir('/')\n",
        b"import os\nif not os.fork(): os._exit(0)\n",
    ],
)
async def test_odd_files_that_are_sound(bench: Bench, head: bytes) -> None:
    (bench.root / "odd.py").write_bytes(head + GOOD.replace("\n", "\r\n").encode())
    message = await bench.parse("odd.py")
    assert [d[0] for d in message["dags"]] == ["good"], message


async def test_a_zip_archive_is_a_file_of_several_modules(bench: Bench) -> None:
    dag = "from boraflow import DAG\n{}d = DAG('{}', schedule=None)\n"
    pack(
        bench.root / "two.zip",
        {
            "one.py": dag.format("from inner.names import WORD\n", "one"),
            "two.py": dag.format("", "two"),
            "inner/__init__.py": "",
            "inner/names.py": "WORD = 'w'\n",
            "deeper/not_looked_at.py": dag.format("boom\n", "deeper"),
            "no_dag.py": "boom\n",
            "bad.py": dag.format("\nboom\n", "bad"),
        },
    )
    message = await bench.parse("two.zip")
    assert [d[0] for d in message["dags"]] == ["one", "two"]
    assert dag_from_json(message["dags"][0][1]).fileloc == "two.zip"
    assert message["dependencies"] == []
    (error,) = message["errors"]
    assert error["message"] == "NameError: name 'boom' is not defined (in two.zip/bad.py, line 3)"
    assert "\n    boom\n" in error["traceback"]


async def test_archives_that_cannot_be_used(bench: Bench) -> None:
    (bench.root / "torn.zip").write_bytes(b"PK\3\4 torn")
    (error,) = (await bench.parse("torn.zip"))["errors"]
    assert (
        "cannot be read as a zip archive (File is not a zip file): pack it anew" in error["message"]
    )
    same = "from boraflow import DAG\n\nd = DAG('same', schedule=None)\n"
    pack(bench.root / "same.zip", {"a.py": same, "b.py": same})
    (error,) = (await bench.parse("same.zip"))["errors"]
    assert (
        "'same' is used by 2 DAGs of this file (lines same.zip/a.py:3, same.zip/b.py:3)"
        in error["message"]
    )


async def test_a_file_that_hangs_is_stopped_where_it_stands(bench: Bench) -> None:
    error = await bench.error(
        "bad.py", "import time\n\nwhile True:\n    time.sleep(9)\n", timeout=0.5
    )
    assert "longer than 0.5 s" in error["message"]
    assert error["line"] == 4


async def test_a_file_that_cannot_be_interrupted_is_killed(bench: Bench) -> None:
    began = time.monotonic()
    error = await bench.error(
        "bad.py",
        """
        import signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(60)
        """,
        timeout=0.5,
    )
    assert "longer than 0.5 s" in error["message"]
    assert error["line"] == 4
    assert time.monotonic() - began < 10


async def test_hanging_files_do_not_hold_up_others(bench: Bench) -> None:
    for number in range(4):
        bench.put(f"hang{number}.py", "import time\ntime.sleep(60)\n")
    bench.put("good.py", GOOD)
    hanging = [asyncio.create_task(bench.parse(f"hang{n}.py", timeout=30)) for n in range(4)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(15):
        assert (await bench.parse("good.py"))["dags"]
    assert not any(task.done() for task in hanging)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_a_file_that_eats_memory(bench: Bench) -> None:
    error = await bench.error(
        "bad.py", "x = []\nwhile True:\n    x.append(bytearray(1 << 20))\n", memory_mb=64
    )
    assert "MemoryError" in error["message"]
    assert error["line"] == 3


async def test_what_a_file_starts_ends_with_it(bench: Bench) -> None:
    bench.put(
        "bad.py",
        """
        import os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        free = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
        )
        with open(os.path.join(os.path.dirname(__file__), "pids"), "w") as file:
            file.write(f"{child.pid} {free.pid}")
        """,
    )
    await bench.parse("bad.py")
    pids = [int(pid) for pid in (bench.root / "pids").read_text().split()]
    await bench.parse("bad.py")  # the first one's children were reaped before it
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_what_a_file_prints_goes_nowhere(bench: Bench, capfd: Any) -> None:
    bench.put("loud.py", GOOD + "\nprint('x' * 1_000_000)\nimport os; os.write(2, b'y' * 1000)\n")
    assert (await bench.parse("loud.py"))["dags"]
    assert capfd.readouterr() == ("", "")


async def test_dependencies(bench: Bench) -> None:
    bench.put("lib/helper.py", "import lib.deeper\n")
    bench.put("lib/deeper.py", "x = 1\n")
    bench.put("lib/unused.py", "x = 1\n")
    bench.put("conf/one.yaml", "a")
    bench.put("query.sql", "select 1")
    bench.put(
        "dag.py",
        """
        from pathlib import Path
        from boraflow import DAG
        import json, lib.helper, textwrap
        here = Path(__file__).parent
        (here / "query.sql").read_text()
        for path in (here / "conf").glob("*.yaml"):
            path.read_text()
        """,
    )
    message = await bench.parse("dag.py")
    assert message["errors"] == []
    assert message["dependencies"] == [
        "conf/", "conf/one.yaml", "lib/deeper.py", "lib/helper.py", "query.sql",
    ]  # fmt: skip


async def test_a_module_that_is_missing_is_a_dependency(bench: Bench) -> None:
    bench.put("sub/dag.py", "from boraflow import DAG\nimport later.module\n")
    message = await bench.parse("sub/dag.py")
    assert "No module named 'later'" in message["errors"][0]["message"]
    assert {"later.py", "later/__init__.py", "sub/later.py"} <= set(message["dependencies"])


async def test_one_broken_dag_leaves_the_others_of_its_file(bench: Bench) -> None:
    message_text = (
        GOOD
        + """
with DAG("bad", schedule=None) as bad:
    a = EmptyOperator(task_id="a")
    b = EmptyOperator(task_id="b")
    a >> b >> a
"""
    )
    bench.put("two.py", message_text)
    message = await bench.parse("two.py")
    assert [d[0] for d in message["dags"]] == ["good"]
    assert "ycle" in message["errors"][0]["message"]


async def test_variables_are_read_through_the_scheduler(bench: Bench) -> None:
    bench.put(
        "dag.py",
        """
        from boraflow import DAG, Variable
        with DAG("in_" + Variable.get("town"), schedule=None):
            pass
        with DAG("in_" + Variable.get("none", default="x"), schedule=None):
            pass
        """,
    )
    message = await bench.parse("dag.py")
    assert message["errors"] == []
    assert sorted(d[0] for d in message["dags"]) == ["in_Bern", "in_x"]


async def test_credentials_are_not_in_the_parsers_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {
        "PATH": "/bin",
        "BORAFLOW_TOKEN": "x",
        "BORAFLOW_DATABASE_URL": "x",
        "BORAFLOW_FERNET_KEY": "x",
        "BORAFLOW_VAR_TOWN": "Bern",
        "MY_TOKEN": "mine",
    }
    assert parser_environment(environ) == {
        "PATH": "/bin", "BORAFLOW_VAR_TOWN": "Bern", "MY_TOKEN": "mine",
    }  # fmt: skip


async def test_no_service_library_is_in_a_parser_child(bench: Bench) -> None:
    bench.put(
        "dag.py",
        """
        import sys
        bad = [m for m in ("grpc", "google.protobuf", "sqlalchemy", "structlog") if m in sys.modules]
        raise RuntimeError(repr(bad))
        """,
    )
    assert (await bench.parse("dag.py"))["errors"][0]["message"] == "RuntimeError: []"


async def test_many_files_share_children_and_stay_apart(bench: Bench) -> None:
    bench.put("lib.py", "x = 1\n")
    for number in range(100):
        bench.put(
            f"f{number:03}.py",
            f"""
            import os, sys, lib
            from boraflow import DAG
            assert "BORAFLOW_MARK" not in os.environ
            assert "/marked" not in sys.path
            assert lib.x == 1
            os.environ["BORAFLOW_MARK"] = "1"
            sys.path.append("/marked")
            lib.x = 2
            os.chdir("/")
            with DAG("d{number}_" + str(os.getpid()), schedule=None):
                pass
            """,
        )
    bench.put("f020.py", "from boraflow import DAG\n1 / 0\n")
    bench.put("f040.py", "import os\nos._exit(0)\n")
    bench.put("f060.py", "import time\ntime.sleep(60)\n")
    bench.put(
        "f080.py",
        GOOD + "\nimport threading; threading.Thread(target=threading.Event().wait).start()\n",
    )
    names = [f"f{number:03}.py" for number in range(100)]
    messages = dict(
        zip(
            names,
            await asyncio.gather(*(bench.parse(name, timeout=3) for name in names)),
            strict=True,
        )
    )
    bad = {name: m["errors"][0] for name, m in messages.items() if m["errors"]}
    assert sorted(bad) == ["f020.py", "f040.py", "f060.py"]
    assert bad["f020.py"]["line"] == 2
    assert "os._exit(0)" in bad["f040.py"]["message"]
    assert bad["f060.py"]["line"] == 2
    pids = {
        m["dags"][0][0].split("_")[1]
        for n, m in messages.items()
        if n not in bad and n != "f080.py"
    }
    assert len(pids) < 50
    assert all(
        m["dependencies"] == ["lib.py"]
        for n, m in messages.items()
        if n not in bad and n != "f080.py"
    )


async def test_the_parser_itself_may_die(bench: Bench) -> None:
    bench.put("good.py", GOOD)
    bench.put("slow.py", GOOD + "\nimport time; time.sleep(1)\n")
    await bench.parse("good.py")
    process = bench.parsers._process
    assert process is not None
    under_way = asyncio.create_task(bench.parse("slow.py"))
    await asyncio.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        assert (await under_way)["dags"]
        assert (await bench.parse("good.py"))["dags"]


async def test_a_cancelled_job_is_killed(bench: Bench) -> None:
    bench.put(
        "hang.py", "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    bench.put(
        "hang.py",
        f"import os\nopen({str(bench.root / 'pid')!r}, 'w').write(str(os.getpid()))\nimport time\ntime.sleep(60)\n",
    )
    task = asyncio.create_task(bench.parse("hang.py", timeout=60))
    async with asyncio.timeout(10):
        while not (bench.root / "pid").exists() or not (bench.root / "pid").read_text():
            await asyncio.sleep(0.02)
        pid = int((bench.root / "pid").read_text())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            await asyncio.sleep(0.02)


async def test_a_custom_timetable_is_asked_in_a_child(bench: Bench) -> None:
    bench.put(
        "dag.py",
        """
        from datetime import UTC, datetime, timedelta
        from boraflow import DAG
        from boraflow.model.timetables import DagRunInfo, DataInterval, Timetable

        class Weekly(Timetable):
            def next_dagrun_info(self, *, last_automated_data_interval, restriction):
                start = last_automated_data_interval.end if last_automated_data_interval else restriction.earliest
                return DagRunInfo.interval(start, start + timedelta(days=7))
            def infer_manual_data_interval(self, *, run_after):
                return DataInterval.exact(run_after)

        dag = DAG("weekly", schedule=Weekly(), start_date=datetime(2026, 1, 1, tzinfo=UTC))
        """,
    )
    day = 86_400_000_000
    earliest = 1_767_225_600_000_000
    message = await bench.parse(
        "dag.py",
        t="next_run",
        dag_id="weekly",
        last=None,
        earliest=earliest,
        latest=None,
        catchup=True,
        now=earliest,
    )
    assert message["value"] == {
        "logical": earliest,
        "start": earliest,
        "end": earliest + 7 * day,
        "run_after": earliest + 7 * day,
    }
    missing = await bench.parse(
        "dag.py", t="next_run", dag_id="other", last=None, earliest=None, latest=None,
        catchup=True, now=0,
    )  # fmt: skip
    assert "'other'" in missing["errors"][0]["message"]
