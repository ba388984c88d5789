"""The ledger: bills of machines, closed hours, budgets, tokens that services made, and who submitted a job."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bills",
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=True),
        sa.Column("offer_key", sa.String(length=255), nullable=False),
        sa.Column("gpu_count", sa.Integer(), nullable=False),
        sa.Column("price_usd_per_hour", sa.Float(), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.Column("step_s", sa.Float(), nullable=False),
        sa.Column("least_s", sa.Float(), nullable=False),
        sa.Column("posted_until", sa.Float(), nullable=False),
        sa.Column("is_closed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "id", name=op.f("pk_bills")),
    )
    op.create_index("ix_bills_is_closed_posted_until", "bills", ["is_closed", "posted_until"])
    op.create_index("ix_bills_node_id", "bills", ["node_id"])
    op.create_table(
        "ledger_hours",
        sa.Column("hour", sa.Float(), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("bill_id", sa.String(length=255), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("how", sa.String(length=16), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("submitted_by", sa.String(length=64), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("gpu_s", sa.Float(), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "provider", "bill_id", "job_id", "reason", "how", name=op.f("pk_ledger_hours")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_hours_provider_bill_id_hour", "ledger_hours", ["provider", "bill_id", "hour"])
    op.create_index("ix_ledger_hours_job_id_hour", "ledger_hours", ["job_id", "hour"])
    op.create_table(
        "served_tokens",
        sa.Column("hour", sa.Float(), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("service", sa.String(length=64), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "project", "service", name=op.f("pk_served_tokens")),
    )
    op.create_table(
        "budgets",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.Column("on_spent", sa.String(length=16), nullable=False),
        sa.Column("set_by", sa.String(length=64), nullable=False),
        sa.Column("set_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_budgets")),
    )
    op.create_table(
        "budget_alerts",
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("budget_usd", sa.Float(), nullable=False),
        sa.Column("spent_usd", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "key", "since", "share", name=op.f("pk_budget_alerts")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("submitted_by", sa.String(length=64), server_default="", nullable=False))
    with op.batch_alter_table("checkpoints", schema=None) as batch_op:
        batch_op.add_column(sa.Column("deleted_at", sa.Float(), nullable=True))
    op.create_index("ix_events_kind_at", "events", ["kind", "at"])
