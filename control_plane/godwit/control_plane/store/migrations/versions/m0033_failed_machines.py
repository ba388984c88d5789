"""How many machines of an offer never became usable, one after the other."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("holds", sa.Column("failed", sa.Integer(), nullable=False, server_default="0"))
