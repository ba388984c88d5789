"""How many replicas services needed on past days."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "service_needs",
        sa.Column("service_id", sa.String(length=64), nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("most", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("service_id", "bucket", name=op.f("pk_service_needs")),
    )
