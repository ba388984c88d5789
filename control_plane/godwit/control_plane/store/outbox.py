"""What is owed to receivers outside: one row per event and target, so that twice is once and nothing is forgotten.

The row is written in the transaction that moves the cursor past its event; sending comes after, and is repeated until
the receiver took it or the tries are used up. What was given up stays here, and can be sent again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.store import entities, queries, schema, statements, writes
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from godwit.domain.events import Event
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
    or_,
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


def events_to_tell(conn: Connection, after: int, kinds: Sequence[str], limit: int) -> list[Event]:
    """Events of these kinds after number `after`; of jobs' states only the ends."""
    table = schema.events
    query = select(table).where(
        table.c.seq > after,
        table.c.kind.in_(kinds),
        or_(table.c.kind != "job.state", table.c.new.in_(queries.FINAL_JOBS)),
    )
    return [entities.event_from(row) for row in conn.execute(query.order_by(table.c.seq).limit(limit))]


def jobs_of(conn: Connection, job_ids: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """Name and project of these jobs."""
    table = schema.jobs
    query = select(table.c.id, table.c.name, table.c.project).where(table.c.id.in_(job_ids))
    return {row.id: (row.name, row.project) for row in conn.execute(query)}


def due(conn: Connection, now: float, targets: Sequence[str], limit: int) -> list[Owed]:
    """What is to be sent to these targets now, the longest due first."""
    query = select(outbox).where(_is_owed(), outbox.c.not_before <= now, outbox.c.target.in_(targets))
    return [_owed(row) for row in conn.execute(query.order_by(outbox.c.not_before, outbox.c.id).limit(limit))]


def next_at(conn: Connection, targets: Sequence[str]) -> float | None:
    """When the next one to these targets comes due; None when nothing is owed."""
    query = select(func.min(outbox.c.not_before)).where(_is_owed(), outbox.c.target.in_(targets))
    found: float | None = conn.execute(query).scalar()
    return found


def tried(tx: Transaction, one: Owed, not_before: float) -> bool:
    """Count a try before it is made; False when another sender was first."""
    of = update(outbox).where(outbox.c.id == one.id, outbox.c.tries == one.tries, _is_owed())
    return bool(tx.conn.execute(of.values(tries=one.tries + 1, not_before=not_before)).rowcount)


def ended(tx: Transaction, delivery: str, **found: Any) -> None:
    """Write down how a try ended: `delivered_at`, `given_up_at` or `not_before`, and `detail`."""
    tx.conn.execute(update(outbox).where(outbox.c.id == delivery).values(**found))


def revive(tx: Transaction, target: str | None, now: float) -> int:
    """Owe again what was given up, to one target or to all; returns how many."""
    of = update(outbox).where(outbox.c.given_up_at.is_not(None), outbox.c.delivered_at.is_(None))
    of = of if target is None else of.where(outbox.c.target == target)
    # From now on it has its day again.
    return int(tx.conn.execute(of.values(given_up_at=None, tries=0, not_before=now, created_at=now)).rowcount)


def forget(tx: Transaction, delivered_before: float, created_before: float) -> None:
    """Drop what was delivered before an instant, and what nobody sent again for long."""
    tx.conn.execute(delete(outbox).where(outbox.c.delivered_at < delivered_before))
    tx.conn.execute(delete(outbox).where(outbox.c.created_at < created_before))


def standing(conn: Connection) -> Mapping[str, tuple[int, int]]:
    """By target: how many are owed, and how many were given up."""
    given_up = func.count(outbox.c.given_up_at)
    query = select(outbox.c.target, func.count() - given_up, given_up).where(outbox.c.delivered_at.is_(None))
    return {target: (owed, lost) for target, owed, lost in conn.execute(query.group_by(outbox.c.target))}


def last_details(conn: Connection, targets: Sequence[str]) -> Mapping[str, str]:
    """By target: what its receiver said to the newest message that was tried."""
    newest = (
        select(outbox.c.target, func.max(outbox.c.event_seq).label("seq"))
        .where(outbox.c.target.in_(targets), outbox.c.detail != "")
        .group_by(outbox.c.target)
        .subquery()
    )
    of = (outbox.c.target == newest.c.target) & (outbox.c.event_seq == newest.c.seq)
    return {row.target: row.detail for row in conn.execute(select(outbox.c.target, outbox.c.detail).join(newest, of))}


def _is_owed() -> Any:
    return outbox.c.delivered_at.is_(None) & outbox.c.given_up_at.is_(None)


def _owed(row: Row[Any]) -> Owed:
    return Owed(**row._mapping)
