"""Whether an attempt was interrupted before its program ran: several in a row, and its job waits."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("failed_start", sa.Boolean(), nullable=False, server_default=sa.false()))
