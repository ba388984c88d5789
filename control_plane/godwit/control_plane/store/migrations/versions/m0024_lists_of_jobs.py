"""Pages of jobs of a state, and of a project's, are read in their order."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_state_id", "jobs", ["state", "id"])
    op.create_index("ix_jobs_project_state_id", "jobs", ["project", "state", "id"])
    op.drop_index("ix_jobs_project_state", "jobs")
