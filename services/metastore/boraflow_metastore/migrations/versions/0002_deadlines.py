"""Keep the deadlines of runs where they can be listed."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply it. Deadlines that were set before stand in the payloads of their callbacks."""
    deadline = op.create_table(
        "deadline",
        sa.Column("run_key", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt_id", sa.Text(), server_default="", nullable=False),
        sa.Column("at_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("run_key", "number"),
    )
    op.create_index("ix_deadline_latest", "deadline", ["at_us", "run_key", "number"], unique=False)
    found = op.get_bind().execute(
        sa.text(
            "SELECT run_key, attempt_id, payload_json FROM attempt WHERE kind = 'callback'"
            " AND task_id = '' AND try_number = 1 AND payload_json LIKE '%\"deadline\": %'"
            " ORDER BY attempt_id"
        )
    )
    known = {}
    for run_key, attempt_id, payload in found:
        of = json.loads(payload).get("deadline")
        if of:
            known[run_key, of["index"]] = {
                "run_key": run_key,
                "number": of["index"],
                "attempt_id": attempt_id,
                "at_us": of["at"],
                "name": of["name"],
            }
    if known:
        op.bulk_insert(deadline, list(known.values()))
