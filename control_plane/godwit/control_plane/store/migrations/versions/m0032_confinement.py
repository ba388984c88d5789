"""As whom programs run on a node, as its agent said when it joined."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A constant default: PostgreSQL (11 and later) keeps it beside the table, and writes no row anew.
    op.add_column("nodes", sa.Column("confinement", sa.Text(), nullable=False, server_default=""))
