"""Arrays of jobs, what jobs wait for, when and for how much they should be done, and how long their like ran."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "arrays",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrays")),
    )
    op.create_index(op.f("ix_arrays_name_id"), "arrays", ["name", "id"], unique=False)
    op.create_table(
        "dependencies",
        sa.Column("set_id", sa.String(length=64), nullable=False),
        sa.Column("on_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("wanted", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("set_id", "on_id", name=op.f("pk_dependencies")),
    )
    op.create_table(
        "run_times",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("seconds", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "name", name=op.f("pk_run_times")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("array_id", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("array_index", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("array_size", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("after_id", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("deadline_at", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("budget_usd", sa.Float(), nullable=True))
        batch_op.create_index(batch_op.f("ix_jobs_array_id_state"), ["array_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_state_after_id"), ["state", "after_id"], unique=False)
