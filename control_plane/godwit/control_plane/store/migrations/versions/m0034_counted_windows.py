"""Which reports of each gateway were counted last."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gateways", sa.Column("counted", sa.Text(), nullable=False, server_default="[]"))
