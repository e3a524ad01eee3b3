"""Keep when a running run has used up its ``dagrun_timeout``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply it. A run that is running now gets its deadline from the scheduler that takes it over."""
    op.add_column(
        "dag_run", sa.Column("deadline_us", sa.BigInteger(), server_default="0", nullable=False)
    )
