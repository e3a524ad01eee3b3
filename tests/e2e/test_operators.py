"""Operators that need the services: people's answers, callbacks, deadlines, runs of other DAGs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from boraflow.client import ApiError
from boraflow.client.models import Run
from boraflow.model.states import HitlState
from tests.support.cluster import Cluster, eventually
from tests.support.mail import smtp_server

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("ops")
    with Cluster(home, environ={"E2E_RECORD": str(home / "record")}) as cluster:
        cluster.client.pools.set("ops_small", 1)
        shutil.copy(DAGS / "operators.py", cluster.dags_folder / "operators.py")
        cluster.wait_for_dag("ops_user")
        yield cluster


def states(cluster: Cluster, run: Run) -> dict[str, str]:
    """Return states by task."""
    return {label: t.state.value for label, t in cluster.tasks(run).items()}


def test_people_answer_across_a_restart_of_the_scheduler(ops: Cluster) -> None:
    client = ops.client
    run = client.runs.trigger("ops_ask", conf={"who": "Ada"}).run
    found = eventually(
        lambda: (p := client.hitl.list("ops_ask")) and len(p) == 2 and p, "both tasks ask"
    )
    assert found.total_size == 2
    form = next(d for d in found if d.task_id == "form")
    assert form.subject == "How many for Ada?"
    assert (form.state, form.options) == (HitlState.PENDING, ("OK",))
    assert form.params["n"]["value"] == 1
    eventually(lambda: states(ops, run)["form"] == "awaiting_input", "it waits for input")
    assert client.pools.get("ops_small").used_slots == 0
    assert (
        "waits for a person's answer" in client.tasks.explain("ops_ask", run.run_id, "form").summary
    )

    ops.kill("scheduler")
    ops.start("scheduler")
    with pytest.raises(ApiError, match="'n': -1 is less than the minimum of 0"):
        client.hitl.respond("ops_ask", run.run_id, "form", ["OK"], {"n": -1})
    with pytest.raises(ApiError, match="asks ada, not 'admin'"):
        client.hitl.respond("ops_ask", run.run_id, "approve", ["Approve"])
    answered = client.hitl.respond("ops_ask", run.run_id, "form", ["OK"], {"n": 41})
    assert (answered.state, answered.responded_by) == (HitlState.RESPONDED, "admin")
    assert answered.params_input == {"n": 41}

    shown = ops.bora("hitl", "list", "--output", "json", check=True).stdout
    assert [q["task_id"] for q in json.loads(shown)] == ["approve"]
    words = ("hitl", "respond", "ops_ask", "latest", "approve", "Approve", "--user", "ada")
    assert "Answered approve" in ops.bora(*words, check=True).stdout
    run = client.runs.wait("ops_ask", run.run_id, timeout=30)
    assert run.state == "success"
    assert ops.xcom(run, "total") == 42
    with pytest.raises(ApiError, match="waits for no answer: it is success"):
        client.hitl.respond("ops_ask", run.run_id, "form", ["OK"])


def test_nobody_answers_in_time(ops: Cluster) -> None:
    client = ops.client
    run = ops.run("ops_ask_late")
    assert states(ops, run) == {"approve": "success", "after": "skipped"}
    (asked,) = client.hitl.list("ops_ask_late", include_ended=True)
    assert asked.state is HitlState.TIMED_OUT


def test_a_group_without_prefix_is_waited_for(ops: Cluster) -> None:
    run = ops.run("ops_waits", {"date": "2026-03-01T00:00:00+00:00"})
    assert states(ops, run) == dict.fromkeys(("start", "group_false", "group_true"), "success")
    (awaited,) = ops.client.runs.list("ops_awaited")
    # The group is done; the rest of its run need not be.
    assert awaited.state == "running"
    assert awaited.conf == {"from": run.run_id}


def test_a_missed_deadline_calls_back(ops: Cluster) -> None:
    client = ops.client
    run = client.runs.trigger("ops_deadline").run
    record = ops.home / "record"
    eventually(record.exists, "the callback ran")
    assert record.read_text() == f"late {run.run_id} half a second\n"
    found = client.system.audit(dag_id="ops_deadline", run_id=run.run_id)
    assert [e.action for e in found if e.action == "deadline_missed"] == ["deadline_missed"]
    missed = client.runs.deadlines("ops_deadline", run.run_id, missed=True)
    assert [(d.name, d.run_state) for d in missed] == [("half a second", "running")]
    eventually(lambda: client.hitl.list("ops_deadline").items, "it asks")
    client.hitl.respond("ops_deadline", run.run_id, "wait", ["Approve"])
    assert client.runs.wait("ops_deadline", run.run_id, timeout=30).state == "success"
    shown = ops.bora("runs", "deadlines", "ops_deadline", "latest", "--output", "json", check=True)
    assert [d["is"] for d in json.loads(shown.stdout)] == ["met", "missed"]


def test_mail_for_failed_tasks_even_where_the_worker_died(ops: Cluster) -> None:
    with smtp_server() as (port, kept):
        ops.client.connections.set(
            "smtp_default",
            conn_type="smtp",
            host="127.0.0.1",
            port=port,
            extra_json='{"from_email": "flow@example.com"}',
        )
        run = ops.run("ops_mail")
        assert run.state == "failed"
        eventually(lambda: len(kept) == 2, "both mails")
    assert sorted(m.receivers[0] for m in kept) == ["ada@example.com", "bob@example.com"]
    assert all(run.run_id in m.body for m in kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_run_as_user(ops: Cluster) -> None:
    run = ops.run("ops_user")
    assert states(ops, run) == {"nobody": "success", "own": "success", "nemo": "failed"}
    assert ops.xcom(run, "nobody") == [pwd.getpwnam("nobody").pw_uid, "nobody", 1]
    assert ops.xcom(run, "own") == 0
    assert "there is no user 'nemo' on this executor" in ops.tasks(run)["nemo"].reason
