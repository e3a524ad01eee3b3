"""`bora dags lint`: each rule finds what it says, at its place, and nothing in a file that is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from boraflow.exceptions import BoraflowException
from boraflow.lint import RULES, Finding, lint

ROOT = Path(__file__).resolve().parents[3]


def write(tmp_path: Path, text: str, name: str = "file.py") -> Path:
    file = tmp_path / name
    file.write_text(dedent(text).lstrip("\n"))
    return file


def codes(found: list[Finding]) -> list[tuple[int, str]]:
    return [(f.line, f.code) for f in found]


CLEAN = """
    from datetime import datetime, timezone

    from boraflow import dag, task


    @dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), default_args={"retries": 2})
    def clean():
        @task
        def first() -> int:
            import time

            time.sleep(0)
            return 1

        @task
        def second(value: int) -> int:
            return value

        second(first())


    clean()

    if __name__ == "__main__":
        import requests

        print(requests.get("http://127.0.0.1"), datetime.now())
"""


def test_a_file_that_is_right_gives_nothing(tmp_path: Path) -> None:
    assert lint([write(tmp_path, CLEAN)]) == ([], 0)


def test_the_examples_are_right() -> None:
    found, _ = lint([ROOT / "examples" / "dags"])
    assert [str(f) for f in found] == []


def test_clock_secrets_and_io_by_where_they_stand(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        import subprocess
        import time as clock
        from datetime import date, datetime, timedelta

        import pendulum
        import requests
        from boraflow import BaseHook, BaseOperator, DAG, Variable, task
        from boraflow.operators.bash import BashOperator
        from boraflow.operators.python import PythonOperator

        requests.get("http://127.0.0.1:1/")
        NAME = Variable.get("name")
        HOST = BaseHook.get_connection("db").host
        clock.sleep(0)
        TODAY = date.today()

        def helper():
            return datetime.now(), requests.get("x")

        def work():
            return datetime.utcnow(), Variable.get("x"), subprocess.run(["x"])

        class Own(BaseOperator):
            def execute(self, context):
                return pendulum.now()

        with DAG("d", start_date=datetime.now() - timedelta(days=1), default_args={"end_date": pendulum.today()}):
            PythonOperator(task_id="p", python_callable=work, retries=1)
            BashOperator(task_id="b", bash_command="echo {{ macros.datetime.now() }}", retries=1)
            subprocess.run(["true"])

            @task(retries=1)
            def t():
                def inner():
                    return datetime.now()
                return inner()

            @task(retries=1)
            def silent():
                return datetime.now()  # noqa: BF201
        """,
    )
    found, _ = lint([file], load=False)
    assert codes(found) == [
        (11, "BF302"), (12, "BF301"), (13, "BF301"), (14, "BF302"), (15, "BF203"),
        (21, "BF201"), (25, "BF201"), (27, "BF202"), (27, "BF202"), (29, "BF201"),
        (30, "BF302"), (35, "BF201"),
    ]  # fmt: skip
    assert "'name'" in found[1].message


def test_what_the_dags_show(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        from boraflow import DAG, task
        from boraflow.operators.bash import BashOperator
        from boraflow.operators.empty import EmptyOperator
        from boraflow.sensors.filesystem import FileSensor

        with DAG("many", default_args={"retrys": 1, "catchup": False, "owner": "me"}):
            @task
            def source():
                return [1]

            @task
            def by_name():
                return 1

            @task(do_xcom_push=False)
            def quiet():
                return 1

            @task
            def nothing() -> None:
                print(1)

            @task
            def unused():
                return 2

            @task
            def each(value, ti=None):
                ti.xcom_pull(task_ids="by_name")
                ti.xcom_pull(task_ids="by_nam")
                ti.xcom_pull(task_ids="far", dag_id="another")

            each_one = each.expand(value=source())
            wait = FileSensor(task_id="wait", filepath="/x")
            rare = FileSensor(task_id="rare", filepath="/x", mode="reschedule")
            often = FileSensor(task_id="often", filepath="/x", poke_interval=5)
            [wait, rare, often, by_name(), quiet(), nothing(), unused()] >> each_one
            EmptyOperator(task_id="end") << each_one
            BashOperator(task_id="b", bash_command="echo {{ ti.xcom_pull('nobody') }}", retries=2)
        """,
    )
    found, _ = lint([file])
    assert codes(found) == [
        (6, "BF401"), (6, "BF404"), (6, "BF404"), (30, "BF403"), (34, "BF405"),
        (37, "BF402"), (39, "BF403"),
    ]  # fmt: skip
    messages = {f.code: f.message for f in found}
    assert "no retries for source, each, by_name and 3 more" in messages["BF401"]
    assert "did you mean 'by_name'?" in found[3].message
    assert "did you mean 'retries'?" in found[1].message
    assert "argument of the DAG" in found[2].message
    assert found[5].task_id == "unused"


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    head = "from boraflow import DAG\n"
    write(tmp_path, head + "def (:\n", "syntax.py")
    write(tmp_path, head + "\nimport nothing_of_that_name\n", "missing.py")
    write(tmp_path, head + "import os\nos._exit(7)\n", "leaves.py")
    write(tmp_path, head + "import time\ntime.sleep(60)  # noqa: BF302\n", "slow.py")
    write(tmp_path, head + "with DAG('bad', schedule='* *'): pass\n", "cron.py")
    write(
        tmp_path,
        head
        + "from boraflow.operators.empty import EmptyOperator as E\n"
        + "with DAG('c'):\n    a = E(task_id='a')\n    b = E(task_id='b')\n    a >> b >> a\n",
        "cycle.py",
    )
    write(tmp_path, CLEAN, "good.py")
    found, _ = lint([tmp_path], load_timeout=2)
    got = {Path(f.file).name: (f.line, f.code, f.message) for f in found}
    assert got.keys() == {"syntax.py", "missing.py", "leaves.py", "slow.py", "cron.py", "cycle.py"}
    assert got["syntax.py"][:2] == (2, "BF101")
    assert got["missing.py"][:2] == (3, "BF101")
    assert "No module named 'nothing_of_that_name'" in got["missing.py"][2]
    assert "os._exit(7)" in got["leaves.py"][2]
    assert "longer than 2 s" in got["slow.py"][2]
    assert got["cron.py"][1] == "BF101"
    assert got["cycle.py"][:2] == (6, "BF102")
    assert "a -> b -> a" in got["cycle.py"][2]


def test_select_and_ignore(tmp_path: Path) -> None:
    file = write(tmp_path, "from boraflow import DAG, Variable\nX = Variable.get('x')\nwith DAG('d', concurrency=1): pass\n")  # fmt: skip
    assert codes(lint([file], load=False)[0]) == [(2, "BF301"), (3, "BF502")]
    assert codes(lint([file], load=False, select=["BF3"])[0]) == [(2, "BF301")]
    assert codes(lint([file], load=False, ignore=["bf301"])[0]) == [(3, "BF502")]
    with pytest.raises(BoraflowException, match="there is no rule 'BF9'"):
        lint([file], select=["BF9"])
    with pytest.raises(BoraflowException, match="no file or folder"):
        lint([tmp_path / "none.py"])


OLD = '''
    """An old file."""

    # a comment that stays
    from datetime import datetime, timedelta

    from airflow import DAG
    from airflow.models import BaseOperator, Variable
    from airflow.operators.bash_operator import BashOperator
    from airflow.operators.dummy_operator import DummyOperator  # stays
    from airflow.operators.python_operator import PythonOperator
    from airflow.utils.dates import days_ago
    from airflow.utils.decorators import apply_defaults
    from airflow.utils.trigger_rule import TriggerRule as Rule

    try:
        from airflow.decorators import task
    except ImportError:
        from airflow.sdk import task

    default_args = {
        "owner": "me",  # who
        "start_date": days_ago(2),
        "provide_context": True,
    }


    class Own(BaseOperator):
        @apply_defaults
        def __init__(self, **kwargs):
            super().__init__(**kwargs)


    with DAG(
        "old",
        default_args=default_args,
        schedule_interval="0 5 * * *",  # every morning
        concurrency=3,
        default_view="graph",
    ) as dag:
        start = DummyOperator(task_id="start")
        a = PythonOperator(
            task_id="work",
            python_callable=print,
            provide_context=True,
        )
        b = BashOperator(
            task_id="b",
            bash_command="echo {{ execution_date }} {{ yesterday_ds }} {{ next_ds }} execution_date",
            trigger_rule="none_failed_or_skipped",
        )
        c = BashOperator(task_id="c", bash_command="x", trigger_rule=Rule.DUMMY, task_concurrency=1)
        start >> a >> b >> c

    d2 = DAG("two", schedule_interval=timedelta(days=1), start_date=datetime(2020, 1, 1), catchup=False)
    d3 = DAG("three", start_date=datetime(2020, 1, 1), schedule_interval="@once")
'''

NEW = '''
    """An old file."""

    # a comment that stays
    from datetime import datetime, timedelta

    from airflow import DAG
    from airflow.sdk import (
        BaseOperator,
        CronDataIntervalTimetable,
        DeltaDataIntervalTimetable,
        TriggerRule as Rule,
        Variable,
    )
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.empty import EmptyOperator  # stays
    from airflow.providers.standard.operators.python import PythonOperator
    import pendulum

    try:
        from airflow.decorators import task
    except ImportError:
        from airflow.sdk import task

    default_args = {
        "owner": "me",  # who
        "start_date": pendulum.today("UTC").add(days=-2),
    }


    class Own(BaseOperator):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)


    with DAG(
        "old",
        default_args=default_args,
        schedule=CronDataIntervalTimetable("0 5 * * *", timezone="UTC"),  # every morning
        max_active_tasks=3,
        catchup=True,
    ) as dag:
        start = EmptyOperator(task_id="start")
        a = PythonOperator(
            task_id="work",
            python_callable=print,
        )
        b = BashOperator(
            task_id="b",
            bash_command="echo {{ logical_date }} {{ macros.ds_add(ds, -1) }} {{ next_ds }} execution_date",
            trigger_rule="none_failed_min_one_success",
        )
        c = BashOperator(task_id="c", bash_command="x", trigger_rule=Rule.ALWAYS, max_active_tis_per_dag=1)
        start >> a >> b >> c

    d2 = DAG("two", schedule=DeltaDataIntervalTimetable(timedelta(days=1)), start_date=datetime(2020, 1, 1), catchup=False)
    d3 = DAG("three", start_date=datetime(2020, 1, 1), schedule="@once")
'''


def test_an_old_airflow_file_is_rewritten_and_nothing_else_of_it(tmp_path: Path) -> None:
    file = write(tmp_path, OLD)
    file.chmod(0o640)
    before, _ = lint([file], load=False)
    assert {f.code for f in before} == {
        "BF202", "BF501", "BF502", "BF503", "BF504", "BF505", "BF506", "BF507", "BF508",
    }  # fmt: skip
    left, fixed = lint([file], load=False, fix=True)
    assert file.read_text() == dedent(NEW).lstrip("\n")
    assert file.stat().st_mode & 0o777 == 0o640
    assert fixed == sum(bool(f.edits) for f in before)
    assert [f.code for f in left] == ["BF202", "BF506"]
    assert "next_ds" in left[1].message
    assert lint([file], load=False, fix=True) == (left, 0)


def test_a_rewritten_file_makes_the_same_dags(tmp_path: Path) -> None:
    from dataclasses import replace

    from boraflow.model.spec import DagSpec
    from boraflow.runtime.serialize import dag_to_spec
    from boraflow.testing import load_dags

    def specs() -> dict[str, DagSpec]:
        found = {}
        for dag_id, dag in load_dags(file).items():
            spec = dag_to_spec(dag)
            tasks = tuple(replace(t, doc_md=None) for t in spec.tasks)
            # @once has no use for catchup, whatever its default.
            catchup = spec.catchup and dag_id != "three"
            found[dag_id] = replace(spec, tasks=tasks, catchup=catchup, warnings=())
        return found

    file = write(tmp_path, OLD)
    before = specs()
    assert before["old"].catchup
    lint([file], load=False, fix=True)
    assert "schedule_interval" not in file.read_text()
    assert specs() == before


def test_what_cannot_be_rewritten_safely_stays(tmp_path: Path) -> None:
    text = """
        import pendulum
        from airflow import DAG
        from airflow.operators.subdag import SubDagOperator
        from airflow.utils.dates import days_ago, timedelta

        CRON = "0 5 * * *"
        local = pendulum.timezone("Europe/Paris")
        with DAG("a", schedule_interval=CRON, start_date=days_ago(n=1)):
            pass
        with DAG("b", schedule_interval="@daily", start_date=pendulum.datetime(2020, 1, 1, tz=local)):
            pass
        with DAG("c", schedule_interval="@daily", start_date=pendulum.datetime(2020, 1, 1, tz="Europe/Paris")):
            pass
        """
    file = write(tmp_path, text)
    left, fixed = lint([file], load=False, fix=True, select=["BF5"])
    assert fixed == 2
    assert codes(left) == [(3, "BF508"), (10, "BF504"), (10, "BF505"), (12, "BF504")]
    new = file.read_text()
    assert "from datetime import timedelta\n" in new
    assert 'CronDataIntervalTimetable("@daily", timezone="Europe/Paris")' in new
    assert "schedule_interval=CRON, start_date=days_ago(n=1)" in new


def test_names_can_come_from_boraflow(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        from airflow.operators.empty import EmptyOperator
        from airflow.sdk import DAG, Asset
        from airflow.sdk.exceptions import AirflowSkipException
        """,
    )
    assert codes(lint([file], load=False)[0]) == [(1, "BF501")]
    left, _ = lint([file], load=False, fix=True, to_boraflow=True)
    assert left == []
    assert file.read_text() == (
        "from boraflow.operators.empty import EmptyOperator\n"
        "from boraflow import DAG, Asset\n"
        "from boraflow.exceptions import AirflowSkipException\n"
    )


def bora(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boraflow.cli.main", "dags", "lint", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=home,
        env={"BORAFLOW_HOME": str(home), "PATH": "/usr/bin:/bin"},
    )


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    file = write(
        tmp_path / "dags", "from boraflow import DAG\nwith DAG('d', concurrency=1): pass\n"
    )
    done = bora("--no-load", home=tmp_path)
    assert done.returncode == 1
    assert done.stdout == "dags/file.py:2:15: BF502 [*] the argument 'concurrency' is now 'max_active_tasks'\n"  # fmt: skip
    assert "1 can be fixed with --fix" in done.stderr
    found = json.loads(bora("--no-load", "-o", "json", home=tmp_path).stdout)
    assert [(f["code"], f["line"], f["fixable"]) for f in found] == [("BF502", 2, True)]
    done = bora("--fix", "dags/file.py", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "max_active_tasks=1" in file.read_text()
    rules = json.loads(bora("--rules", "-o", "json", home=tmp_path).stdout)
    assert [r["code"] for r in rules] == list(RULES)
    done = bora("nowhere", home=tmp_path)
    assert (done.returncode, done.stderr) == (2, "bora: there is no file or folder nowhere\n")
