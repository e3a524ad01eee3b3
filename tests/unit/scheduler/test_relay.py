"""Relayed calls become the engine's commands, all of them."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.api.metastore.v1 import (
    asset_service_pb2,
    backfill_service_pb2,
    dag_service_pb2,
    hitl_service_pb2,
    run_service_pb2,
    scheduling_service_pb2,
    system_service_pb2,
    task_service_pb2,
)
from boraflow.api.metastore.v1.scheduling_service_pb2 import RelayedCommand
from boraflow.api.model.v1 import states_pb2
from boraflow.engine.commands import Reply
from boraflow.engine.events import (
    ClearTasks,
    ControlBackfill,
    CreateBackfill,
    DeleteDag,
    DeleteQueuedAssets,
    DeleteRun,
    DrainExecutor,
    Explain,
    MarkRun,
    MarkTasks,
    Requested,
    RespondHitl,
    SetPaused,
    TriggerRun,
)
from boraflow.model.rows import Micros
from boraflow.model.states import ReprocessBehavior, RunState, TaskState
from boraflow_scheduler import relay

DAY = Timestamp(seconds=1_700_000_000, nanos=123_456_000)
MICROS = Micros(1_700_000_000_123_456)

CALLS = [
    (
        {"trigger_run": run_service_pb2.TriggerRunRequest(dag_id="d", logical_time=DAY)},
        TriggerRun("d", logical_date=MICROS),
    ),
    (
        {
            "trigger_run": run_service_pb2.TriggerRunRequest(
                dag_id="d",
                run_id="r",
                conf_json='{"a":1}',
                run_after=DAY,
                note="n",
                run_type=states_pb2.RUN_TYPE_OPERATOR_TRIGGERED,
                reset_existing=True,
                dry_run=True,
            )
        },
        TriggerRun(
            "d",
            "r",
            '{"a":1}',
            run_after=MICROS,
            note="n",
            run_type="operator_triggered",
            reset_existing=True,
            dry_run=True,
        ),
    ),
    (
        {"cancel_run": run_service_pb2.CancelRunRequest(dag_id="d", run_id="r")},
        MarkRun("d", "r", RunState.FAILED, "cancelled"),
    ),
    (
        {
            "mark_run": run_service_pb2.MarkRunRequest(
                dag_id="d", run_id="r", state=states_pb2.RUN_STATE_SUCCESS, dry_run=True
            )
        },
        MarkRun("d", "r", RunState.SUCCESS, dry_run=True),
    ),
    (
        {"clear_run": run_service_pb2.ClearRunRequest(dag_id="d", run_id="r", only_failed=True)},
        ClearTasks("d", ("r",), only_failed=True),
    ),
    (
        {"delete_run": run_service_pb2.DeleteRunRequest(dag_id="d", run_id="r")},
        DeleteRun("d", "r"),
    ),
    (
        {
            "clear_tasks": task_service_pb2.ClearTasksRequest(
                dag_id="d",
                run_ids=["r", "s"],
                task_ids=["t"],
                map_indexes=[1],
                include_upstream=True,
                include_downstream=True,
                include_past=True,
                include_future=True,
                only_failed=True,
                only_running=True,
                run_on_latest_version=True,
                dry_run=True,
            )
        },
        ClearTasks(
            "d",
            ("r", "s"),
            ("t",),
            (1,),
            upstream=True,
            downstream=True,
            past=True,
            future=True,
            only_failed=True,
            only_running=True,
            run_on_latest_version=True,
            dry_run=True,
        ),
    ),
    (
        {
            "mark_tasks": task_service_pb2.MarkTasksRequest(
                dag_id="d", run_id="r", task_ids=["t"], state=states_pb2.TASK_STATE_SKIPPED
            )
        },
        MarkTasks("d", "r", ("t",), TaskState.SKIPPED),
    ),
    (
        {"explain_task": task_service_pb2.ExplainTaskRequest(dag_id="d", run_id="r", task_id="t")},
        Explain("d", "r", "t", -1),
    ),
    (
        {
            "explain_task": task_service_pb2.ExplainTaskRequest(
                dag_id="d", run_id="r", task_id="t", map_index=0
            )
        },
        Explain("d", "r", "t", 0),
    ),
    ({"pause_dag": dag_service_pb2.PauseDagRequest(dag_id="d")}, SetPaused("d", True)),
    ({"unpause_dag": dag_service_pb2.UnpauseDagRequest(dag_id="d")}, SetPaused("d", False)),
    ({"delete_dag": dag_service_pb2.DeleteDagRequest(dag_id="d")}, DeleteDag("d")),
    (
        {
            "create_backfill": backfill_service_pb2.CreateBackfillRequest(
                dag_id="d",
                from_time=DAY,
                to_time=DAY,
                reprocess_behavior=states_pb2.REPROCESS_BEHAVIOR_FAILED,
                run_backwards=True,
            )
        },
        CreateBackfill("d", MICROS, MICROS, ReprocessBehavior.FAILED, 10, True),
    ),
    (
        {"pause_backfill": backfill_service_pb2.PauseBackfillRequest(backfill_id="b")},
        ControlBackfill("b", "pause"),
    ),
    (
        {"resume_backfill": backfill_service_pb2.ResumeBackfillRequest(backfill_id="b")},
        ControlBackfill("b", "resume"),
    ),
    (
        {"cancel_backfill": backfill_service_pb2.CancelBackfillRequest(backfill_id="b")},
        ControlBackfill("b", "cancel"),
    ),
    (
        {"drain_executor": system_service_pb2.DrainExecutorRequest(executor_id="e", drain=True)},
        DrainExecutor("e", True),
    ),
    (
        {
            "respond_hitl": hitl_service_pb2.RespondHitlRequest(
                dag_id="d",
                run_id="r",
                task_id="t",
                chosen_options=["Approve"],
                params_input_json='{"a":1}',
                user="bob",
            )
        },
        RespondHitl("d", "r", "t", -1, ("Approve",), '{"a":1}', "bob"),
    ),
    (
        {
            "delete_queued_asset_events": asset_service_pb2.DeleteQueuedAssetEventsRequest(
                dag_id="d", asset="s3://a"
            )
        },
        DeleteQueuedAssets("d", "s3://a"),
    ),
    (
        {
            "delete_queued_asset_events": asset_service_pb2.DeleteQueuedAssetEventsRequest(
                dag_id="d", partition_key="2026", dry_run=True
            )
        },
        DeleteQueuedAssets("d", partition_key="2026", dry_run=True),
    ),
]


@pytest.mark.parametrize(("call", "command"), CALLS)
def test_a_call_becomes_a_command(call: dict[str, object], command: object) -> None:
    message = RelayedCommand(command_id="c1", actor="ann", **call)  # type: ignore[arg-type]
    assert relay.to_event(message) == Requested("c1", "ann", command)  # type: ignore[arg-type]


def test_every_relayed_call_is_known() -> None:
    oneof = scheduling_service_pb2.RelayedCommand.DESCRIPTOR.oneofs_by_name["request"]
    assert {next(iter(call)) for call, _ in CALLS} == {f.name for f in oneof.fields}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"mark_run": run_service_pb2.MarkRunRequest(dag_id="d", run_id="r")}, "run_state"),
        (
            {
                "mark_tasks": task_service_pb2.MarkTasksRequest(
                    dag_id="d", state=states_pb2.TASK_STATE_SCHEDULED
                )
            },
            "success, failed or skipped, not scheduled",
        ),
        (
            {"create_backfill": backfill_service_pb2.CreateBackfillRequest(dag_id="d")},
            "from_time must be set",
        ),
    ],
)
def test_a_call_without_sense_is_answered(call: dict[str, object], words: str) -> None:
    reply = relay.to_event(RelayedCommand(command_id="c1", **call))  # type: ignore[arg-type]
    assert isinstance(reply, Reply)
    assert (reply.command_id, reply.code) == ("c1", "INVALID_ARGUMENT")
    assert words in reply.message


def test_an_unknown_call_is_answered() -> None:
    reply = relay.to_event(RelayedCommand(command_id="c1"))
    assert isinstance(reply, Reply)
    assert reply.code == "UNIMPLEMENTED"
