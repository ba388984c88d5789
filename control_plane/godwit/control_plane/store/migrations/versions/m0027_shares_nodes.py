"""Whether the jobs of a project may be on a node with those of others."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("shares_nodes", sa.Boolean(), nullable=False, server_default=sa.false()))
