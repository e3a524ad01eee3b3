"""A pipeline of shell commands: a flaky download with retries, a count, a branch on the result.

bora dags trigger shell_pipeline --conf '{"year": 2015}' --wait
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from seattle_weather import data_folder, source_file

from boraflow import DAG, Param
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import BranchPythonOperator


def wet_or_dry(ti) -> str:
    rainy, total = map(int, ti.xcom_pull(task_ids="count_rainy_days").split())
    return "buy_umbrella" if rainy * 3 > total else "buy_sunscreen"


with DAG(
    "shell_pipeline",
    schedule="30 6 * * 1-5",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    params={"year": Param(2012, type="integer", minimum=2012, maximum=2015)},
    default_args={
        "env": {"FOLDER": str(data_folder()), "YEAR": "{{ params.year }}"},
        "append_env": True,
        "retries": 1,
    },
    tags=["example", "shell"],
    doc_md=__doc__,
) as dag:
    # The first try always fails, as a download sometimes does; the second one gets the file.
    download = BashOperator(
        task_id="download",
        bash_command=(
            'if [ "$TRY" -lt 2 ]; then echo "connection reset by peer" >&2; exit 1; fi\n'
            f'cp "{source_file()}" "$FOLDER/download.csv" && wc -l < "$FOLDER/download.csv"'
        ),
        env={"FOLDER": str(data_folder()), "TRY": "{{ ti.try_number }}"},
        retries=3,
        retry_delay=timedelta(seconds=1),
    )

    select_year = BashOperator(
        task_id="select_year",
        bash_command='grep "^$YEAR/" "$FOLDER/download.csv" > "$FOLDER/$YEAR.csv"; wc -l < "$FOLDER/$YEAR.csv"',
    )

    count_rainy_days = BashOperator(
        task_id="count_rainy_days",
        bash_command="""awk -F, '$2 > 0 {rainy++} END {print rainy, NR}' "$FOLDER/$YEAR.csv" """,
    )

    warmest_days = BashOperator(
        task_id="warmest_days",
        bash_command='sort -t, -k3,3nr -k1,1 "$FOLDER/$YEAR.csv" | head -3 | cut -d, -f1,3 | paste -sd" "',
    )

    decide = BranchPythonOperator(task_id="decide", python_callable=wet_or_dry)
    umbrella = BashOperator(task_id="buy_umbrella", bash_command="echo umbrella for $YEAR")
    sunscreen = BashOperator(task_id="buy_sunscreen", bash_command="echo sunscreen for $YEAR")
    done = EmptyOperator(task_id="done", trigger_rule="none_failed_min_one_success")

    download >> select_year >> [count_rainy_days, warmest_days]
    count_rainy_days >> decide >> [umbrella, sunscreen]
    [umbrella, sunscreen, warmest_days] >> done
