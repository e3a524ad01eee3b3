"""DAGs that ask people, warn people and wait, for tests/e2e/test_operators.py."""

from __future__ import annotations

from boraflow import DAG, Param, task
from boraflow.operators.hitl import ApprovalOperator, HITLEntryOperator

with DAG("ops_ask", schedule=None):
    form = HITLEntryOperator(
        task_id="form",
        subject="How many for {{ dag_run.conf.get('who', 'nobody') }}?",
        params={"n": Param(1, type="integer", minimum=0)},
        pool="ops_small",
    )
    approve = ApprovalOperator(task_id="approve", subject="Go on?", assigned_users=["ada"])

    @task
    def total(answer: dict[str, dict[str, int]]) -> int:
        return answer["params_input"]["n"] + 1

    done = total(form.output)
    approve >> done

with DAG("ops_ask_late", schedule=None):
    ApprovalOperator(
        task_id="approve", subject="Soon?", defaults="Reject", response_timeout=0.3
    ) >> HITLEntryOperator(task_id="after", subject="Never asked")
