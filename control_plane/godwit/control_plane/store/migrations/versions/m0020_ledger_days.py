"""Closed days of the ledger: sums of closed hours without their machines."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_days",
        sa.Column("day", sa.Float(), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("how", sa.String(length=16), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("submitted_by", sa.String(length=64), nullable=False),
        sa.Column("gpu_s", sa.Float(), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("day", "provider", "job_id", "reason", "how", "spot", name=op.f("pk_ledger_days")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_days_job_id_day", "ledger_days", ["job_id", "day"])
