"""How long is waited for a database, and in which order its writers come.

A server that is away is found out at once; one that hangs (its host stands still, a disk, a network that drops
everything, a statement behind somebody's lock) only by who has waited for long enough. Everybody who serves has a
limit for that, and then it counts as away.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, text

_EVENTS_IN_ORDER = 0x676F64776974  # "godwit": the key of an advisory lock
_LIMIT = ("statement_timeout", "idle_in_transaction_session_timeout")
_LOCK = "SELECT pg_advisory_xact_lock(:key)"
_LOCK_AND_LIMIT = text(_LOCK + "".join(f", set_config('{name}', :limit_ms, true)" for name in _LIMIT))

CONNECT_S = 5
"""How long anybody waits to be let in by a server."""

KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""libpq's words for a peer that is gone without a word (PostgreSQL's documentation, "Parameter Key Words"): found out
in some 10 s also by who waits for nothing but notifications. Without effect on a unix socket."""

POOL_S = 10.0
"""How long one waits for a connection that others have; each of them gives up in time."""

GRACE_S = 1.0
"""Added to a limit that the server has been told, before its silence counts: so that its own word comes first."""

WRITER_S = 30.0
"""How long one waits for the other writers of a SQLite file: as long as for other processes (`_configure_sqlite`)."""

PATIENCE = "patience"
"""The name under which a connection's `info` has how long is waited for it, where that is bounded."""


@dataclass(frozen=True)
class Patience:
    """How long one who serves waits for PostgreSQL, in seconds.

    `ping_s`: for an idle connection to show that it lives. `read_s`: for a statement. `write_s`: for each statement of
    a transaction that writes, and between two of them: all other writers wait meanwhile, and among those are the leases
    of nodes, which are renewed in 15 s or end what runs there.
    """

    ping_s: float = 5.0
    read_s: float = 30.0
    write_s: float = 8.0


def begin_writing(conn: Connection) -> None:
    """Stand in line with the other writers; from then on each statement, and each pause, is as short as it must be.

    Event numbers must become visible in their order, or a reader that follows them skips some.
    """
    patience: Patience | None = conn.info.get(PATIENCE)
    if patience is None:
        conn.execute(text(_LOCK), {"key": _EVENTS_IN_ORDER})
        return
    conn.connection.driver_connection.silent_s = patience.write_s + GRACE_S  # type: ignore[union-attr]
    conn.execute(_LOCK_AND_LIMIT, {"key": _EVENTS_IN_ORDER, "limit_ms": f"{patience.write_s * 1000:.0f}"})


def begin_migrating(conn: Connection) -> None:
    """Stand in line with all writers for as long as it takes, as a migration may take."""
    if conn.info.get(PATIENCE) is not None:
        conn.connection.driver_connection.silent_s = None  # type: ignore[union-attr]
        conn.execute(text("SET LOCAL statement_timeout = 0"))
    conn.execute(text(_LOCK), {"key": _EVENTS_IN_ORDER})
