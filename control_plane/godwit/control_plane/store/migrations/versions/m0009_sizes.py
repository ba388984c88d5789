"""Sizes that change: what a job's owner wants, and which nodes left a running attempt, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("nodes_wanted", sa.Integer(), nullable=True))
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("left_slots", sa.Text(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("resized_at", sa.Float(), nullable=True))
