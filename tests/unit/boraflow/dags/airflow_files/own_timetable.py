"""A timetable of one's own: the first day of each quarter, with the quarter before as its interval."""

from datetime import timedelta

import pendulum
from airflow import DAG
from airflow.operators.empty import EmptyOperator
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable


class Quarters(Timetable):
    def infer_manual_data_interval(self, *, run_after):
        start = self._begin(run_after)
        return DataInterval(start=start.subtract(months=3), end=start)

    def next_dagrun_info(self, *, last_automated_data_interval, restriction: TimeRestriction):
        if last_automated_data_interval is not None:
            start = last_automated_data_interval.end
        elif restriction.earliest is None:
            return None
        else:
            start = self._begin(restriction.earliest + timedelta(days=92))
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start=start, end=start.add(months=3))

    def _begin(self, moment):
        return pendulum.datetime(moment.year, 3 * ((moment.month - 1) // 3) + 1, 1)


with DAG("own_timetable", start_date=pendulum.datetime(2024, 2, 10), timetable=Quarters()) as dag:
    EmptyOperator(task_id="only")
