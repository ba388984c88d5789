"""How hard GPUs work: minutes and hours of each job on each node."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, unit in (("gpu_minutes", "minute"), ("gpu_hours", "hour")):
        op.create_table(
            table,
            sa.Column(unit, sa.Float(), nullable=False),
            sa.Column("node_id", sa.String(length=64), nullable=False),
            sa.Column("job_id", sa.String(length=64), nullable=False),
            sa.Column("gpus", sa.Integer(), nullable=False),
            sa.Column("samples", sa.Integer(), nullable=False),
            sa.Column("busy_mean", sa.Float(), nullable=False),
            sa.Column("busy_max", sa.Float(), nullable=False),
            sa.Column("memory_mean", sa.Float(), nullable=True),
            sa.Column("memory_max", sa.Float(), nullable=True),
            sa.Column("watts_mean", sa.Float(), nullable=True),
            sa.Column("watts_max", sa.Float(), nullable=True),
            sa.PrimaryKeyConstraint(unit, "node_id", "job_id", name=op.f(f"pk_{table}")),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_{table}_job_id_{unit}", table, ["job_id", unit])
