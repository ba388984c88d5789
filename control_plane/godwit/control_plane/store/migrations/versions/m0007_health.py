"""Health: findings, incidents, records of devices, orders to agents, evictions and cordons."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _findings_and_incidents()
    _devices()
    _deeds()


def _findings_and_incidents() -> None:
    op.create_table(
        "findings",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("check", sa.String(length=128), nullable=False),
        sa.Column("grade", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=128), nullable=False),
        sa.Column("suggested", sa.String(length=32), nullable=False),
        sa.Column("gpu", sa.String(length=128), nullable=True),
        sa.Column("attempt_id", sa.String(length=128), nullable=True),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("boot_id", sa.String(length=128), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("decided", sa.Boolean(), nullable=False),
        sa.Column("incident_id", sa.String(length=128), nullable=True),
        sa.Column("remedy", sa.String(length=32), nullable=True),
        sa.Column("rule", sa.String(length=128), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("state_since", sa.Float(), nullable=False),
        sa.Column("check", sa.String(length=128), nullable=False),
        sa.Column("code", sa.String(length=128), nullable=False),
        sa.Column("rule", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remedy", sa.String(length=32), nullable=False),
        sa.Column("gpus", sa.Text(), nullable=False),
        sa.Column("tried", sa.Text(), nullable=False),
        sa.Column("cause", sa.String(length=128), nullable=True),
        sa.Column("job_ids", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    for table, columns in (
        ("findings", ["at"]), ("findings", ["decided", "at"]), ("findings", ["node_id", "at"]),
        ("findings", ["incident_id", "at"]),
        ("incidents", ["state", "state_since"]), ("incidents", ["node_id", "state"]),
    ):  # fmt: skip
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns, unique=False)


def _devices() -> None:
    op.create_table(
        "health_records",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_since", sa.Float(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("faults", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_records")),
    )
    op.create_index(op.f("ix_health_records_node_id"), "health_records", ["node_id"], unique=False)


def _deeds() -> None:
    op.create_table(
        "orders",
        sa.Column("intent_id", sa.String(length=64), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("incident_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("ordered_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("intent_id", name=op.f("pk_orders")),
    )
    op.create_table(
        "evictions",
        sa.Column("incident_id", sa.String(length=128), nullable=False),
        sa.Column("attempt_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("restarted_at", sa.Float(), nullable=True),
        sa.Column("first_step_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("incident_id", "attempt_id", name=op.f("pk_evictions")),
    )
    op.create_table(
        "cordons",
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("fabric_domain", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("node_id", "at", name=op.f("pk_cordons")),
    )
    for table, columns in (
        ("orders", ["incident_id", "kind"]), ("orders", ["node_id", "kind"]), ("evictions", ["job_id"]),
        ("cordons", ["at"]),
    ):  # fmt: skip
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns, unique=False)
