"""Runs the migrations on the connection that `Database.migrate` hands over, in its transaction."""

from alembic import context
from godwit.control_plane.store import (
    access,
    health_tables,
    leases,
    ledger_tables,
    lines,
    loads,
    needs,
    outbox,
    paces,
    routing,
    schema,
    sealed,
    series,
    told_loads,
    users,
)

assert health_tables.findings.metadata is schema.metadata, "every table is known by its module's import"
assert routing.gateways.metadata is schema.metadata
assert access.tokens.metadata is schema.metadata
assert leases.leases.metadata is schema.metadata
assert lines.lines.metadata is schema.metadata
assert ledger_tables.bills.metadata is schema.metadata
assert loads.gpu_minutes.metadata is schema.metadata
assert outbox.outbox.metadata is schema.metadata
assert paces.paces.metadata is schema.metadata
assert needs.service_needs.metadata is schema.metadata
assert series.series.metadata is schema.metadata
assert told_loads.told_loads.metadata is schema.metadata
assert users.users.metadata is schema.metadata
assert sealed.secrets.metadata is schema.metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
