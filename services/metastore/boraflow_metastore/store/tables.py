"""Tables and their indexes. The schema is made by the migrations; a test holds the two equal.

Flags are small integers and times are 64-bit microseconds on both databases, so that one statement text
serves both. Indexes over unfinished work are partial: a million finished rows weigh nothing in them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData()


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="", **options)


def _int(name: str, default: str = "0", **options: Any) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=default, **options)


def _flag(name: str, default: str = "0") -> Column[int]:
    return Column(name, SmallInteger, nullable=False, server_default=default)


def _us(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True, nullable=False)


#: One row. Every writing transaction updates it first, so it is the lock that orders revisions.
meta = Table(
    "meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    _text("incarnation"),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    _text("leader"),
    _us("leader_us"),
    _text("dispatch_address"),
    # The newest commit of the epoch and its answer, for a repeat.
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("answer", LargeBinary, nullable=True),
    _us("created_us"),
)

bundle = Table(
    "bundle",
    metadata,
    _key("name"),
    _text("manifest"),
    _int("generation"),
    _text("actor"),
    _us("changed_us"),
)

manifest = Table(
    "manifest",
    metadata,
    _key("digest"),
    Column("body", LargeBinary, nullable=False),
    _us("created_us"),
)

dag = Table(
    "dag",
    metadata,
    _key("dag_id"),
    _int("version"),
    _text("bundle"),
    _text("fileloc"),
    _text("spec_digest"),
    _text("source_digest"),
    _flag("paused"),
    _flag("active", "1"),
    _us("next_logical_us"),
    _us("next_start_us"),
    _us("next_end_us"),
    _us("next_run_after_us"),
    _us("last_start_us"),
    _us("last_end_us"),
    _int("consecutive_failures"),
    _int("row_version"),
    _text("display_name"),
    # What lists show of the spec, as a Dag message, so that they need not parse specs.
    Column("summary", LargeBinary, nullable=False),
)

dag_tag = Table("dag_tag", metadata, _key("dag_id"), _key("tag"))

dag_owner = Table("dag_owner", metadata, _key("dag_id"), _key("owner"))

#: DAGs that people marked for themselves.
favorite = Table("favorite", metadata, _key("actor"), _key("dag_id"))

dag_version = Table(
    "dag_version",
    metadata,
    _key("dag_id"),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _text("spec_json"),
    _text("spec_digest"),
    _text("source_digest"),
    _text("manifest"),
    _text("fileloc"),
    _us("created_us"),
)

parsed_file = Table(
    "parsed_file",
    metadata,
    _key("bundle"),
    _key("fileloc"),
    _text("source_digest"),
    _flag("has_error"),
    Column("body", LargeBinary, nullable=False),
    Index(
        "ix_parsed_file_error",
        "fileloc",
        "bundle",
        sqlite_where=text("has_error = 1"),
        postgresql_where=text("has_error = 1"),
    ),
)

_UNFINISHED_RUN = text("state IN ('queued', 'running')")
_DATED_RUN = text("logical_us IS NOT NULL")
_PARTITIONED_RUN = text("partition_us IS NOT NULL")
_UNPURGED_RUN = text("end_us > 0 AND purged = 0")
_BACKFILL_RUN = text("backfill_id <> ''")

dag_run = Table(
    "dag_run",
    metadata,
    _key("run_key"),
    _text("dag_id"),
    _text("run_id"),
    _text("run_type"),
    _text("state"),
    _int("dag_version"),
    _text("manifest"),
    Column("logical_us", BigInteger, nullable=True),
    Column("interval_start_us", BigInteger, nullable=True),
    Column("interval_end_us", BigInteger, nullable=True),
    _us("run_after_us"),
    _us("queued_us"),
    _us("start_us"),
    _us("end_us"),
    _text("conf_json"),
    _text("note"),
    _text("reason"),
    _text("backfill_id"),
    _int("clear_number"),
    _text("actor"),
    _int("row_version"),
    # Task instances by state, JSON; kept by the commits that change them.
    _text("task_counts"),
    # Its tasks, XComs and logs were removed by retention.
    _flag("purged"),
    _us("deadline_us"),
    _text("partition_key"),
    Column("partition_us", BigInteger, nullable=True),
    Index("ix_dag_run_name", "dag_id", "run_id", unique=True),
    Index(
        "ix_dag_run_logical",
        "dag_id",
        "logical_us",
        unique=True,
        sqlite_where=_DATED_RUN,
        postgresql_where=_DATED_RUN,
    ),
    Index(
        "ix_dag_run_partition",
        "dag_id",
        "partition_us",
        "run_key",
        sqlite_where=_PARTITIONED_RUN,
        postgresql_where=_PARTITIONED_RUN,
    ),
    # With the state, so that runs are counted by it without being read.
    Index("ix_dag_run_dag_newest", "dag_id", "run_after_us", "run_key", "state"),
    Index("ix_dag_run_newest", "run_after_us", "run_key", "state"),
    Index(
        "ix_dag_run_unfinished",
        "dag_id",
        "state",
        "run_key",
        sqlite_where=_UNFINISHED_RUN,
        postgresql_where=_UNFINISHED_RUN,
    ),
    Index(
        "ix_dag_run_finished",
        "state",
        "end_us",
        sqlite_where=_UNPURGED_RUN,
        postgresql_where=_UNPURGED_RUN,
    ),
    Index(
        "ix_dag_run_backfill",
        "backfill_id",
        "state",
        sqlite_where=_BACKFILL_RUN,
        postgresql_where=_BACKFILL_RUN,
    ),
)

task_instance = Table(
    "task_instance",
    metadata,
    _key("run_key"),
    _key("task_id"),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    _text("state"),
    _int("try_number"),
    _int("max_tries"),
    _text("attempt_id"),
    _us("scheduled_us"),
    _us("queued_us"),
    _us("start_us"),
    _us("end_us"),
    _us("wake_us"),
    _us("deadline_us"),
    _text("reason"),
    Column("map_length", Integer, nullable=True),
    _flag("pushed"),
    _text("skip_json"),
    _text("next_json"),
    _text("rendered_map_index"),
    _us("poke_start_us"),
    _int("reschedules"),
    _int("row_version"),
    # Its place in the DAG's order.
    _int("position"),
    sqlite_with_rowid=False,
)

_LIVE_ATTEMPT = text("handled = 0 OR released = 0")

attempt = Table(
    "attempt",
    metadata,
    _key("attempt_id"),
    _text("kind"),
    _text("run_key"),
    _text("task_id"),
    _int("map_index", "-1"),
    _int("try_number"),
    _text("executor_id"),
    _text("queue"),
    _us("opened_us"),
    _us("scheduled_us"),
    _text("payload_json"),
    # Worker that claimed it, where a broker's message must be claimed.
    _text("worker_id"),
    _us("start_us"),
    _us("claimed_us"),
    _us("imported_us"),
    _int("pid"),
    # Empty while open. Set once, by compare-and-set, together with the next two.
    _text("outcome"),
    _us("closed_us"),
    # The AttemptResult message, as the leader gets it.
    Column("result", LargeBinary, nullable=True),
    _flag("released"),
    _flag("handled"),
    _text("rendered_json"),
    Index("ix_attempt_task", "run_key", "task_id", "map_index"),
    Index(
        "ix_attempt_live", "attempt_id", sqlite_where=_LIVE_ATTEMPT, postgresql_where=_LIVE_ATTEMPT
    ),
    sqlite_with_rowid=False,
)

#: When runs should have succeeded: what the leader's callback attempts that wait for such a moment say.
deadline = Table(
    "deadline",
    metadata,
    _key("run_key"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # Its callback's first attempt.
    _text("attempt_id"),
    _us("at_us"),
    _text("name"),
    Index("ix_deadline_latest", "at_us", "run_key", "number"),
)

xcom = Table(
    "xcom",
    metadata,
    _key("run_key"),
    _key("task_id"),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    _key("key"),
    _text("value_json"),
    _us("created_us"),
)

#: What tasks keep between their tries, and about assets between runs. expires_us 0 is never.
task_state_store = Table(
    "task_state_store",
    metadata,
    _key("run_key"),
    _key("task_id"),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    _key("key"),
    _text("value_json"),
    _us("changed_us"),
    _us("expires_us"),
    _text("actor"),
    Index("ix_task_state_store_expiry", "expires_us"),
)

asset_state_store = Table(
    "asset_state_store",
    metadata,
    _key("name"),
    _key("uri"),
    _key("key"),
    _text("value_json"),
    _us("changed_us"),
    _us("expires_us"),
    _text("actor"),
)

_UNANSWERED = text("responded_us = 0")

#: What attempts asked people. Whether it is pending still, its task instance's state tells.
hitl_detail = Table(
    "hitl_detail",
    metadata,
    _key("attempt_id"),
    _text("run_key"),
    _text("task_id"),
    _int("map_index", "-1"),
    _int("try_number"),
    # The question, a JSON object.
    _text("request_json"),
    _us("created_us"),
    _us("timeout_us"),
    _us("responded_us"),
    _text("responded_by"),
    _text("response_json"),
    Index("ix_hitl_detail_task", "run_key", "task_id", "map_index"),
    Index("ix_hitl_detail_newest", "created_us", "attempt_id"),
    Index(
        "ix_hitl_detail_unanswered",
        "created_us",
        "attempt_id",
        sqlite_where=_UNANSWERED,
        postgresql_where=_UNANSWERED,
    ),
)

pool = Table(
    "pool",
    metadata,
    _key("name"),
    _int("slots"),
    _text("description"),
    _flag("include_deferred"),
)

backfill = Table(
    "backfill",
    metadata,
    _key("backfill_id"),
    _text("dag_id"),
    _us("from_us"),
    _us("to_us"),
    _text("state"),
    _text("reprocess"),
    _int("max_active_runs"),
    _flag("run_backwards"),
    _text("conf_json"),
    _int("total"),
    _int("created"),
    Column("cursor_us", BigInteger, nullable=True),
    _text("skipped_json"),
    _us("created_us"),
    _us("completed_us"),
    _text("actor"),
    _int("row_version"),
    Index("ix_backfill_dag", "dag_id", "created_us"),
)

executor = Table(
    "executor",
    metadata,
    _key("executor_id"),
    _text("name"),
    _text("host"),
    _int("slots"),
    _int("lane_slots"),
    _text("queues"),
    _text("labels"),
    _text("backend"),
    _text("state"),
    _us("attached_us"),
    _us("lease_us"),
    _text("address"),
    _text("version"),
    Index("ix_executor_state", "state", "name"),
)

variable = Table(
    "variable",
    metadata,
    _key("key"),
    _text("value"),
    _text("description"),
    _us("changed_us"),
)

connection = Table(
    "connection",
    metadata,
    _key("conn_id"),
    _text("conn_type"),
    _text("host"),
    _text("login"),
    # Encrypted, like extra; empty is none.
    _text("password"),
    _text("schema"),
    _int("port"),
    _text("extra"),
    _text("description"),
    _us("changed_us"),
)

token = Table(
    "token",
    metadata,
    _key("name"),
    _text("role"),
    _text("digest"),
    _us("created_us"),
    _us("expire_us"),
    _flag("revoked"),
    Index("ix_token_digest", "digest", unique=True),
)

#: Answers of accepted commands, for a repeat of the same request_id.
request = Table(
    "request",
    metadata,
    _key("method"),
    _key("request_id"),
    Column("answer", LargeBinary, nullable=False),
    _us("created_us"),
    Index("ix_request_age", "created_us"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _us("time_us"),
    _text("actor"),
    _text("action"),
    _text("dag_id"),
    _text("run_id"),
    _text("task_id"),
    _text("detail"),
    Index("ix_audit_run", "dag_id", "run_id", "id"),
    Index("ix_audit_time", "time_us"),
)

#: Runs that were deleted: their tasks, XComs and logs are removed in small batches.
purge = Table(
    "purge",
    metadata,
    _key("run_key"),
    _text("dag_id"),
    _text("run_id"),
)

#: What DAGs name as assets. Of those that share a name or a URI, one is active.
asset = Table(
    "asset",
    metadata,
    Column("asset_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("name"),
    _text("uri"),
    _text("asset_group"),
    _text("extra_json"),
    _text("watchers_json"),
    _flag("active"),
    _us("created_us"),
    Column("event_count", BigInteger, nullable=False, server_default="0"),
    _us("last_event_us"),
    Index("ix_asset_name", "name", "uri", unique=True),
    Index("ix_asset_uri", "uri"),
)

#: How the current version of a DAG names assets: kind is "outlet", "inlet" or "schedule". A reference has a name
#: or a URI only, an alias only that.
asset_use = Table(
    "asset_use",
    metadata,
    _key("dag_id"),
    _key("kind"),
    _key("task_id"),
    _key("name"),
    _key("uri"),
    _key("alias"),
    _text("alias_group"),
    _us("created_us"),
    Index("ix_asset_use_name", "name"),
    Index("ix_asset_use_uri", "uri"),
    Index("ix_asset_use_alias", "alias"),
)

asset_event = Table(
    "asset_event",
    metadata,
    Column("event_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("name"),
    _text("uri"),
    _us("time_us"),
    _text("extra_json"),
    _text("dag_id"),
    _text("run_id"),
    _text("task_id"),
    _int("map_index", "-1"),
    # JSON list.
    _text("aliases"),
    _text("actor"),
    _text("partition_key"),
    # Folded in by the leader.
    _flag("handled"),
    # Partition date of its run, where that is for the same partition.
    Column("partition_us", BigInteger, nullable=True),
    Index("ix_asset_event_asset", "name", "uri", "event_id"),
    Index("ix_asset_event_uri", "uri", "event_id"),
    Index("ix_asset_event_source", "dag_id", "run_id", "event_id"),
    Index("ix_asset_event_time", "time_us"),
    Index(
        "ix_asset_event_unhandled",
        "event_id",
        sqlite_where=text("handled = 0"),
        postgresql_where=text("handled = 0"),
    ),
    # An event's number is never used again, even after retention removed the newest.
    sqlite_autoincrement=True,
)

asset_event_alias = Table(
    "asset_event_alias",
    metadata,
    _key("alias"),
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Index("ix_asset_event_alias_event", "event_id"),
)

#: Which events a run of a DAG was triggered by: each event counts once for a DAG, or once for each partition that
#: it is part of.
asset_event_run = Table(
    "asset_event_run",
    metadata,
    _key("dag_id"),
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    _key("run_key"),
    Index("ix_asset_event_run_run", "run_key"),
    Index("ix_asset_event_run_event", "event_id"),
)

#: What DAGs that wait for assets have got since their last run.
asset_queue = Table(
    "asset_queue",
    metadata,
    _key("dag_id"),
    _key("name"),
    _key("uri"),
    # JSON list.
    _text("aliases"),
    _us("first_us"),
    _us("last_us"),
    Column("first_event_id", BigInteger, nullable=False, server_default="0"),
    Column("event_id", BigInteger, nullable=False, server_default="0"),
)

#: What DAGs that wait for partitions of assets have got so far, by the partition of their run.
partition_event = Table(
    "partition_event",
    metadata,
    _key("dag_id"),
    _key("partition_key"),
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    _text("name"),
    _text("uri"),
    # JSON list.
    _text("aliases"),
    _text("source_key"),
    _us("time_us"),
    Column("partition_us", BigInteger, nullable=True),
    _text("fingerprint"),
    Index("ix_partition_event_event", "event_id"),
)
