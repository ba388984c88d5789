"""At which control plane a terminal waits for its two ends, for those that an end reaches instead.

What was asked for stands in no row: a command line may hold a secret, and the control plane at `url` says it.
"""

from functools import cache
from typing import Any

from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from sqlalchemy import Column, Connection, Float, Select, String, Table, Text, bindparam, delete, insert, select

lines = Table(
    "lines",
    metadata,
    Column("terminal_id", String(64), primary_key=True),
    Column("node_id", String(64), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("asked_at", Float, nullable=False),
)


def add(tx: Transaction, terminal_id: str, node_id: str, url: str, now: float, forget_s: float) -> None:
    """A terminal waits at `url`; what was asked for more than `forget_s` ago is dropped."""
    tx.conn.execute(delete(lines).where(lines.c.asked_at < now - forget_s))
    tx.conn.execute(insert(lines).values(terminal_id=terminal_id, node_id=node_id, url=url, asked_at=now))


def where(conn: Connection, terminal_id: str) -> str | None:
    """The control plane at which a terminal waits; None of one that is unknown."""
    found: str | None = conn.execute(select(lines.c.url).where(lines.c.terminal_id == terminal_id)).scalar()
    return found


@cache
def _waiting() -> Select[Any]:
    return select(lines.c.node_id).distinct().where(lines.c.asked_at >= bindparam("since"))


def waiting(conn: Connection, since: float) -> set[str]:
    """The nodes to which a terminal was asked for `since`."""
    return {row.node_id for row in conn.execute(_waiting(), {"since": since})}


def of_node(conn: Connection, node_id: str, since: float) -> list[tuple[str, str]]:
    """Terminals to a node that were asked for `since`, and where each waits."""
    query = select(lines.c.terminal_id, lines.c.url).where(lines.c.node_id == node_id, lines.c.asked_at >= since)
    return [(row.terminal_id, row.url) for row in conn.execute(query)]
