"""Airflow 1.10: operators, sensors and hooks of one's own in the file itself."""

import logging

from airflow import DAG
from airflow.exceptions import AirflowException
from airflow.hooks.base_hook import BaseHook
from airflow.models import BaseOperator
from airflow.sensors.base_sensor_operator import BaseSensorOperator
from airflow.utils import timezone
from airflow.utils.decorators import apply_defaults

log = logging.getLogger(__name__)


class LedgerHook(BaseHook):
    def __init__(self, conn_id):
        self.connection = self.get_connection(conn_id)

    def address(self):
        return "{}:{}".format(self.connection.host, self.connection.port)


class BookOperator(BaseOperator):
    template_fields = ("entry",)
    template_ext = (".sql",)
    ui_color = "#ededed"

    @apply_defaults
    def __init__(self, entry, ledger_conn_id="ledger", amount=1, *args, **kwargs):
        super(BookOperator, self).__init__(*args, **kwargs)
        self.entry = entry
        self.ledger_conn_id = ledger_conn_id
        self.amount = amount

    def execute(self, context):
        self.log.info("booking %s", self.entry)
        return [self.entry, self.amount, LedgerHook(self.ledger_conn_id).address()]


class BalanceSensor(BaseSensorOperator):
    @apply_defaults
    def __init__(self, least, *args, **kwargs):
        super(BalanceSensor, self).__init__(*args, **kwargs)
        self.least = least

    def poke(self, context):
        entry, amount, _ = context["ti"].xcom_pull(task_ids="book")
        if not entry:
            raise AirflowException("nothing was booked")
        return amount >= self.least


with DAG(
    dag_id="v1_own_operators",
    start_date=timezone.datetime(2020, 1, 1),
    schedule_interval=None,
    default_args={"amount": 7},
) as dag:
    book = BookOperator(task_id="book", entry="rent {{ ds }}")
    wait = BalanceSensor(task_id="wait", least=5, poke_interval=10, timeout=60, mode="reschedule")
    book >> wait
