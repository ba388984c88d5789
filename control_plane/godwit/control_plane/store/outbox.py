"""What is owed to receivers outside: one row per event and target, so that twice is once and nothing is forgotten.

The row is written in the transaction that moves the cursor past its event; sending comes after, and is repeated until
the receiver took it or the tries are used up. What was given up stays here, and can be sent again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.store import queries, statements, writes
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
    update,
)

CURSOR = "notified_seq"
"""In `meta`: the number of the last event that was looked at."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("event_seq", BigInteger, nullable=False),
    Column("target", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("delivered_at", Float),
    Column("given_up_at", Float),
    Column("detail", Text, nullable=False),
    UniqueConstraint("event_seq", "target"),
    Index(None, "delivered_at", "given_up_at", "not_before"),
)


@dataclass(frozen=True)
class Owed:
    """One message to one target. `body` is the event as JSON; instants are seconds since the epoch."""

    id: str
    event_seq: int
    target: str
    body: str
    created_at: float
    tries: int = 0
    not_before: float = 0.0
    delivered_at: float | None = None
    given_up_at: float | None = None
    detail: str = ""


def cursor(conn: Connection) -> int | None:
    """The last event that was looked at; None before the first look."""
    found = queries.meta(conn, CURSOR)
    return None if found is None else int(found)


def move_cursor(tx: Transaction, seq: int) -> None:
    """Say that every event up to `seq` was looked at."""
    writes.replace_meta(tx, CURSOR, str(seq))


def add(tx: Transaction, owed: Sequence[Owed]) -> None:
    """Owe these."""
    if owed:
        tx.conn.execute(statements.insert_into(outbox), [vars(one) for one in owed])


def due(conn: Connection, now: float, limit: int) -> list[Owed]:
    """What is to be sent now, the longest due first."""
    query = select(outbox).where(_is_owed(), outbox.c.not_before <= now).order_by(outbox.c.not_before, outbox.c.id)
    return [_owed(row) for row in conn.execute(query.limit(limit))]


def next_at(conn: Connection) -> float | None:
    """When the next one comes due; None when nothing is owed."""
    found: float | None = conn.execute(select(func.min(outbox.c.not_before)).where(_is_owed())).scalar()
    return found


def tried(tx: Transaction, one: Owed, **changes: Any) -> bool:
    """Write down how a try ended; False when another sender was first."""
    of = update(outbox).where(outbox.c.id == one.id, outbox.c.tries == one.tries, outbox.c.delivered_at.is_(None))
    return bool(tx.conn.execute(of.values(tries=one.tries + 1, **changes)).rowcount)


def revive(tx: Transaction, target: str | None, now: float) -> int:
    """Owe again what was given up, to one target or to all; returns how many."""
    of = update(outbox).where(outbox.c.given_up_at.is_not(None), outbox.c.delivered_at.is_(None))
    of = of if target is None else of.where(outbox.c.target == target)
    return int(tx.conn.execute(of.values(given_up_at=None, tries=0, not_before=now)).rowcount)


def forget(tx: Transaction, before: float) -> None:
    """Drop what was delivered before an instant; what was not stays."""
    tx.conn.execute(delete(outbox).where(outbox.c.delivered_at < before))


def standing(conn: Connection) -> Mapping[str, tuple[int, int]]:
    """By target: how many are owed, and how many were given up."""
    given_up = func.count(outbox.c.given_up_at)
    query = select(outbox.c.target, func.count() - given_up, given_up).where(outbox.c.delivered_at.is_(None))
    return {target: (owed, lost) for target, owed, lost in conn.execute(query.group_by(outbox.c.target))}


def _is_owed() -> Any:
    return outbox.c.delivered_at.is_(None) & outbox.c.given_up_at.is_(None)


def _owed(row: Row[Any]) -> Owed:
    return Owed(**row._mapping)
