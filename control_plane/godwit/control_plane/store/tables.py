"""Every table of godwit. A table is known once its module was imported: who asks for all of them asks here."""

from godwit.control_plane.store import (  # noqa: F401 - imported for the tables that they describe
    access,
    authorities,
    health_tables,
    leases,
    ledger_tables,
    lines,
    loads,
    moves,
    needs,
    outbox,
    paces,
    routing,
    schema,
    sealed,
    series,
    services,
    told_loads,
    users,
)

EVERY = schema.metadata
"""As the newest revision has them: migrations are compared with it, and a restore replaces these tables, no others."""
