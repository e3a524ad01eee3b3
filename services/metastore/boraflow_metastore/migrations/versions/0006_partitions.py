"""Add partitions of runs and events, and what pends for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_PARTITIONED = sa.text("partition_us IS NOT NULL")


def upgrade() -> None:
    """Apply it. An event may be of several runs of a DAG now, which the key of ``asset_event_run`` must allow."""
    op.add_column(
        "dag_run", sa.Column("partition_key", sa.Text(), server_default="", nullable=False)
    )
    op.add_column("dag_run", sa.Column("partition_us", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_dag_run_partition",
        "dag_run",
        ["dag_id", "partition_us", "run_key"],
        unique=False,
        sqlite_where=_PARTITIONED,
        postgresql_where=_PARTITIONED,
    )
    op.add_column("asset_event", sa.Column("partition_us", sa.BigInteger(), nullable=True))
    op.rename_table("asset_event_run", "asset_event_run_former")
    op.create_table(
        "asset_event_run",
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "event_id", "run_key"),
    )
    op.execute(
        "INSERT INTO asset_event_run (dag_id, event_id, run_key)"
        " SELECT dag_id, event_id, run_key FROM asset_event_run_former"
    )
    op.drop_table("asset_event_run_former")
    op.create_index("ix_asset_event_run_event", "asset_event_run", ["event_id"], unique=False)
    op.create_index("ix_asset_event_run_run", "asset_event_run", ["run_key"], unique=False)
    op.create_table(
        "partition_event",
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("uri", sa.Text(), server_default="", nullable=False),
        sa.Column("aliases", sa.Text(), server_default="", nullable=False),
        sa.Column("source_key", sa.Text(), server_default="", nullable=False),
        sa.Column("time_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("partition_us", sa.BigInteger(), nullable=True),
        sa.Column("fingerprint", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "partition_key", "event_id"),
    )
    op.create_index("ix_partition_event_event", "partition_event", ["event_id"], unique=False)
