"""Count runs by state, and find the lately failed ones, without reading the runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_UNFINISHED = sa.text("state IN ('queued', 'running')")
_UNPURGED = sa.text("end_us > 0 AND purged = 0")


def upgrade() -> None:
    """Apply it."""
    for name in ("dag_newest", "newest", "finished", "unfinished"):
        op.drop_index(f"ix_dag_run_{name}", "dag_run")
    op.create_index(
        "ix_dag_run_dag_newest", "dag_run", ["dag_id", "run_after_us", "run_key", "state"]
    )
    op.create_index("ix_dag_run_newest", "dag_run", ["run_after_us", "run_key", "state"])
    op.create_index(
        "ix_dag_run_finished",
        "dag_run",
        ["state", "end_us"],
        sqlite_where=_UNPURGED,
        postgresql_where=_UNPURGED,
    )
    op.create_index(
        "ix_dag_run_unfinished",
        "dag_run",
        ["dag_id", "state", "run_key"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
