"""Runs the migrations on the connection that `Database.migrate` hands over, in its transaction."""

from alembic import context
from godwit.control_plane.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.EVERY,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
