"""What lists are found by, and what is counted for charts: tags, owners, favorites, spans of time, attempts."""

from __future__ import annotations

import json
import time
from typing import Any

from boraflow.api.metastore.v1 import (
    dag_service_pb2,
    pool_service_pb2,
    run_service_pb2,
    scheduling_service_pb2,
    system_service_pb2,
    task_service_pb2,
    variable_service_pb2,
)
from boraflow.api.model.v1 import run_pb2
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.rpc.errors import from_rpc_error
from boraflow.wire import micros, timestamp
from tests.service.test_metastore_leading import NOW, attempt_row, one_running, run_row, task_row
from tests.service.test_metastore_relay import refused
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    dag,
    database_url,
    leader,
    metastore,
)

DAGS = dag_service_pb2.ListDagsRequest


async def test_what_dags_can_be_found_by(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(
        dag("a", owner="ann", tags=("x",)), dag("b", owner="bob"), dag("c", owner="ann"), dag("d")
    )
    await leader.commit(
        new_runs=[
            run_row("r1", "old", dag_id="a", state=st.RUN_STATE_FAILED, end_us=NOW),
            run_row(
                "r2",
                "new",
                dag_id="a",
                run_after_us=NOW + 1,
                state=st.RUN_STATE_SUCCESS,
                end_us=NOW,
            ),
            run_row("r3", "one", dag_id="b", state=st.RUN_STATE_FAILED, end_us=NOW),
        ]
    )
    api = metastore.api()

    async def found(**filters: Any) -> list[str]:
        answer = await api.dags.ListDags(DAGS(**filters))
        assert answer.total_size == len(answer.dags)
        return [d.dag_id for d in answer.dags]

    assert await found(owners=["ann"]) == ["a", "c"]
    assert await found(owners=["ann", "bob"], tags=["x"]) == ["a"]
    assert await found(latest_run_states=[st.RUN_STATE_FAILED]) == ["b"]
    assert await found(due_before=timestamp(NOW)) == []
    for _ in range(2):
        await api.dags.SetFavorite(dag_service_pb2.SetFavoriteRequest(dag_id="c", favorite=True))
    await api.dags.SetFavorite(dag_service_pb2.SetFavoriteRequest(dag_id="a", favorite=True))
    assert await found(only_favorites=True) == ["a", "c"]
    await api.dags.SetFavorite(dag_service_pb2.SetFavoriteRequest(dag_id="a", favorite=False))
    mine = await api.dags.ListFavorites(dag_service_pb2.ListFavoritesRequest())
    assert list(mine.dag_ids) == ["c"]
    # They are one's own.
    other = await metastore.api("ui").dags.ListFavorites(dag_service_pb2.ListFavoritesRequest())
    assert not other.dag_ids
    error = await refused(
        api.dags.SetFavorite(dag_service_pb2.SetFavoriteRequest(dag_id="none", favorite=True))
    )
    assert from_rpc_error(error).reason == "DAG_NOT_FOUND"
    counts = await api.dags.SummarizeDags(dag_service_pb2.SummarizeDagsRequest())
    assert dict(counts.tags) == {"x": 1}
    assert dict(counts.owners) == {"ann": 2, "bob": 1, "airflow": 1}
    assert dict(counts.latest_run_states) == {"success": 1, "failed": 1}
    assert (counts.total_count, counts.paused_count) == (4, 0)


async def test_runs_are_counted_by_spans(metastore: MetastoreUnderTest, leader: Leader) -> None:
    hour = 3_600_000_000
    base = NOW // (24 * hour) * 24 * hour
    await leader.publish(dag(), dag("other"))
    await leader.commit(
        new_runs=[
            run_row("r1", "a", run_after_us=base),
            run_row("r2", "b", run_after_us=base + 1, state=st.RUN_STATE_FAILED, end_us=base),
            run_row("r3", "c", run_after_us=base + 3 * hour),
            run_row("r4", "d", dag_id="other", run_after_us=base + 3 * hour),
            run_row("r5", "e", run_after_us=base + 24 * hour),
        ]
    )
    api = metastore.api()

    async def spans(since: int = base, **fields: Any) -> list[tuple[int, dict[str, int]]]:
        answer = await api.runs.SummarizeRuns(
            run_service_pb2.SummarizeRunsRequest(
                from_time=timestamp(since), to_time=timestamp(base + 24 * hour), **fields
            )
        )
        return [(micros(s.start_time) - base, dict(s.counts)) for s in answer.spans]

    assert await spans(span_seconds=3600) == [
        (0, {"running": 1, "failed": 1}),
        (3 * hour, {"running": 2}),
    ]
    assert await spans(dag_id="other", span_seconds=3600) == [(3 * hour, {"running": 1})]
    # A day that begins at midnight in Seoul.
    assert await spans(span_seconds=86_400, utc_offset_seconds=9 * 3600) == [
        (-9 * hour, {"running": 3, "failed": 1})
    ]
    for since, length in ((base, 0), (0, 60)):
        error = await refused(spans(since, span_seconds=length))
        assert from_rpc_error(error).reason == "SPAN_INVALID"


async def test_attempts_of_a_run(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    await leader.commit(
        new_attempts=[
            attempt_row("a2", task_id="load", opened_us=NOW + 2),
            attempt_row("a3", task_id="load", map_index=1, opened_us=NOW + 3),
        ]
    )
    api = metastore.api()

    async def attempts(**fields: Any) -> tuple[list[str], str]:
        answer = await api.tasks.ListAttempts(
            task_service_pb2.ListAttemptsRequest(dag_id="etl", run_id="latest", **fields)
        )
        return [a.attempt_id for a in answer.attempts], answer.next_page_token

    first, token = await attempts(page_size=2)
    assert first == ["a1", "a2"]
    assert await attempts(page_size=2, page_token=token) == (["a3"], "")
    assert (await attempts(task_ids=["load"]))[0] == ["a2", "a3"]
    assert (await attempts(map_index=-1))[0] == ["a1", "a2"]


async def test_runs_without_a_note(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag())
    await leader.commit(
        new_runs=[
            run_row(f"r{i}", f"run_{i}", state=st.RUN_STATE_FAILED, end_us=NOW + i)
            for i in range(2)
        ]
    )
    api = metastore.api()
    await api.runs.UpdateRunNote(
        run_service_pb2.UpdateRunNoteRequest(dag_id="etl", run_id="run_0", note="seen")
    )
    found = await api.runs.ListRuns(run_service_pb2.ListRunsRequest(without_note=True))
    assert [r.run_id for r in found.runs] == ["run_1"]
    for since, runs in ((NOW, 2), (NOW + 1, 1), (NOW + 2, 0)):
        ended = run_service_pb2.ListRunsRequest(end_time_from=timestamp(since))
        assert len((await api.runs.ListRuns(ended)).runs) == runs


async def test_the_audit_log_can_be_searched(metastore: MetastoreUnderTest) -> None:
    admin, ui = metastore.api(), metastore.api("ui")
    await ui.variables.SetVariable(
        variable_service_pb2.SetVariableRequest(
            variable=variable_service_pb2.Variable(key="re_gion", value="x")
        )
    )
    await admin.pools.SetPool(
        pool_service_pb2.SetPoolRequest(pool=run_pb2.Pool(name="reGion", slots=1))
    )

    async def found(**filters: Any) -> list[tuple[str, str]]:
        answer = await admin.system.ListAuditEntries(
            system_service_pb2.ListAuditEntriesRequest(**filters)
        )
        return [(e.actor, e.action) for e in answer.entries]

    assert await found(search="REGION") == [("admin", "SetPool")]
    assert await found(search="re_g") == [("ui", "SetVariable")]
    assert await found(search="setvari") == [("ui", "SetVariable")]
    assert await found(actor="admin") == [("admin", "SetPool")]
    assert await found(actor="admin", search="variable") == []


async def test_how_recent_attempts_did(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag("a"))
    api = metastore.api()
    request = system_service_pb2.GetPerformanceRequest
    empty = await api.system.GetPerformance(request())
    assert empty.attempt_count == 0
    assert (empty.phases[0].name, empty.phases[0].count) == ("wait", 0)
    await leader.commit(
        new_runs=[run_row("r1", "one", dag_id="a")],
        new_tasks=[task_row("r1", "t")],
        new_attempts=[
            attempt_row(f"a{i}", task_id="t", opened_us=NOW + i, scheduled_us=NOW - 1000 * i)
            for i in range(1, 21)
        ],
    )
    answer = await api.system.GetPerformance(request(run_count=5))
    assert answer.attempt_count == 20
    assert micros(answer.from_time) == NOW + 1
    wait = answer.phases[0]
    assert (wait.name, wait.count) == ("wait", 20)
    assert wait.p50.ToMicroseconds() == 1001 * 10
    assert wait.p95.ToMicroseconds() == 1001 * 19
    assert wait.max.ToMicroseconds() == 1001 * 20
    assert dict(answer.outcome_counts) == {"open": 20}
    assert [(d.dag_id, d.attempt_count, d.failed_count) for d in answer.dags] == [("a", 20, 0)]
    error = await refused(api.system.GetPerformance(request(run_count=-1)))
    assert from_rpc_error(error).reason == "RUN_COUNT_INVALID"


async def test_deadlines_of_runs(metastore: MetastoreUnderTest, leader: Leader) -> None:
    hour = 3_600_000_000
    now = int(time.time() * 1_000_000)
    await leader.publish(dag("books"), dag("other"))

    def alert(
        attempt_id: str, run_key: str, at: int, number: int = 0, name: str = "", tries: int = 1
    ) -> Any:
        deadline = {"index": number, "name": name, "at": at}
        payload = {"callbacks": ["deadline"], "kind": "deadline_missed", "deadline": deadline}
        return attempt_row(
            attempt_id,
            kind=st.ATTEMPT_KIND_CALLBACK,
            run_key=run_key,
            task_id="",
            executor_id="",
            try_number=tries,
            opened_us=at,
            payload_json=json.dumps(payload),
        )

    await leader.commit(
        new_runs=[
            run_row("r1", "one", dag_id="books"),
            run_row("r2", "two", dag_id="books", run_after_us=NOW + 1),
            run_row("r3", "three", dag_id="other"),
        ],
        new_attempts=[
            alert("c1", "r1", now - 2 * hour, name="closed"),
            alert("c2", "r1", now + hour, number=1),
            alert("c3", "r2", now + 2 * hour),
            alert("c4", "r3", now - hour),
            # A callback that is tried again is no other deadline, and one that is no deadline is none.
            alert("c5", "r1", now - 2 * hour, name="closed", tries=2),
            attempt_row("c6", kind=st.ATTEMPT_KIND_CALLBACK, run_key="r1", task_id=""),
        ],
    )
    api = metastore.api()

    async def found(**fields: Any) -> list[tuple[str, int, str]]:
        answer = await api.runs.ListDeadlines(run_service_pb2.ListDeadlinesRequest(**fields))
        is_ = ("to come", "met", "missed")
        return [(d.run_id, d.number, is_[d.met + 2 * d.missed]) for d in answer.deadlines]

    assert await found() == [
        ("two", 0, "to come"),
        ("one", 1, "to come"),
        ("three", 0, "missed"),
        ("one", 0, "missed"),
    ]
    assert await found(missed=True) == [("three", 0, "missed"), ("one", 0, "missed")]
    assert await found(dag_id="books", missed=False) == [
        ("two", 0, "to come"),
        ("one", 1, "to come"),
    ]
    assert await found(dag_id="books", run_id="latest") == [("two", 0, "to come")]
    assert await found(
        deadline_time_from=timestamp(now), deadline_time_to=timestamp(now + hour + 1)
    ) == [("one", 1, "to come")]
    # Somebody wrote that it is dealt with.
    await api.runs.UpdateRunNote(
        run_service_pb2.UpdateRunNoteRequest(dag_id="other", run_id="three", note="known")
    )
    assert await found(missed=True, without_note=True) == [("one", 0, "missed")]
    # A run that succeeds in time takes its deadlines with it.
    await leader.commit(
        closes=[
            scheduling_service_pb2.AttemptClose(
                attempt_id="c3", outcome=st.ATTEMPT_OUTCOME_CANCELLED, released=True
            )
        ]
    )
    assert await found(dag_id="books", run_id="two") == [("two", 0, "met")]
    # Set anew by a clear: the later one counts.
    await leader.commit(new_attempts=[alert("c7", "r2", now - 1)])
    assert await found(dag_id="books", run_id="two") == [("two", 0, "missed")]
    pages: list[str] = []
    token = ""
    while True:
        answer = await api.runs.ListDeadlines(
            run_service_pb2.ListDeadlinesRequest(page_size=1, page_token=token)
        )
        pages += [f"{d.run_id} {d.number}" for d in answer.deadlines]
        if not (token := answer.next_page_token):
            break
    assert pages == ["one 1", "two 0", "three 0", "one 0"]
    for fields, reason in (
        ({"dag_id": "none"}, "DAG_NOT_FOUND"),
        ({"run_id": "one"}, "DAG_ID_MISSING"),
    ):
        assert from_rpc_error(await refused(found(**fields))).reason == reason
