"""What machines are billed: a row for each that was ever seen to carry our mark, whether or not a node has it."""

from dataclasses import dataclass
from typing import Any

from godwit.control_plane.store import ledger_days
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.ledger_tables import bills, ledger_hours
from godwit.domain.ids import NodeId, ProviderName
from godwit.scheduler.ledger.bills import Bill
from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

HOUR_S = 3600.0


@dataclass(frozen=True)
class Posting:
    """A bill, and until when its hours are written down."""

    bill: Bill
    posted_until: float


@dataclass(frozen=True)
class Known:
    """What is known of a bill that may still change: when it ended, and whether its provider said so."""

    ended_at: float | None
    is_told: bool


def hour_of(at: float) -> float:
    """The beginning of the hour (UTC) in which an instant lies."""
    return at // HOUR_S * HOUR_S


def known(conn: Connection, provider: str) -> dict[str, Known]:
    """The bills of a provider that are not closed, by the machine's id."""
    columns = (bills.c.id, bills.c.ended_at, bills.c.is_told)
    rows = conn.execute(select(*columns).where(bills.c.provider == provider, bills.c.is_closed.is_(False)))
    return {row.id: Known(row.ended_at, row.is_told) for row in rows}


def find(conn: Connection, provider: str, bill_id: str) -> Known | None:
    """What is known of one bill, closed or not; None when there is none."""
    row = conn.execute(select(bills).where(bills.c.provider == provider, bills.c.id == bill_id)).first()
    return None if row is None else Known(row.ended_at, row.is_told)


def add(tx: Transaction, bill: Bill, offer_key: str) -> None:
    """A machine is paid for that was not known so far."""
    row = {
        "provider": bill.provider, "id": bill.id, "node_id": bill.node_id, "offer_key": offer_key,
        "gpu_count": bill.gpu_count, "price_usd_per_hour": bill.price_usd_per_hour, "spot": bill.spot,
        "began_at": bill.began_at, "ended_at": bill.ended_at, "is_told": False, "step_s": bill.step_s,
        "least_s": bill.least_s, "posted_until": hour_of(bill.began_at), "is_closed": False,
    }  # fmt: skip
    tx.conn.execute(insert(bills).values(row))
    ledger_days.open_again(tx, bill.began_at)


def end(tx: Transaction, provider: str, bill_id: str, ended_at: float | None, *, is_told: bool) -> None:
    """When a machine's meter stopped, None for not after all. Hours that were written down otherwise open again."""
    of = and_(bills.c.provider == provider, bills.c.id == bill_id)
    row = tx.conn.execute(select(bills.c.posted_until, bills.c.ended_at).where(of)).one()
    first = min(at for at in (ended_at, row.ended_at, row.posted_until) if at is not None)
    stays = min(hour_of(first), row.posted_until)
    if stays < row.posted_until:
        gone = and_(
            ledger_hours.c.provider == provider, ledger_hours.c.bill_id == bill_id, ledger_hours.c.hour >= stays
        )
        tx.conn.execute(delete(ledger_hours).where(gone))
        ledger_days.open_again(tx, stays)
    values = {"ended_at": ended_at, "is_told": is_told, "posted_until": stays, "is_closed": False}
    tx.conn.execute(update(bills).where(of).values(values))


def to_post(conn: Connection, edge: float, limit: int) -> list[Posting]:
    """Bills with hours before `edge` that are not written down, those first that are furthest behind."""
    query = select(bills).where(bills.c.is_closed.is_(False), bills.c.posted_until < edge, bills.c.began_at < edge)
    rows = conn.execute(query.order_by(bills.c.posted_until, bills.c.id).limit(limit))
    return [Posting(bill_from(row), row.posted_until) for row in rows]


def open_until(conn: Connection, until: float) -> list[Posting]:
    """Bills that have seconds before `until` which are not written down."""
    query = select(bills).where(bills.c.is_closed.is_(False), bills.c.began_at < until, bills.c.posted_until < until)
    return [Posting(bill_from(row), row.posted_until) for row in conn.execute(query.order_by(bills.c.id))]


def settled_until(conn: Connection, edge: float) -> float:
    """Before this hour everything is written down; `edge` where nothing is owed."""
    behind = and_(bills.c.is_closed.is_(False), bills.c.posted_until < edge, bills.c.began_at < edge)
    query = select(bills.c.posted_until).where(behind).order_by(bills.c.posted_until).limit(1)
    first = conn.execute(query).scalar()
    return edge if first is None else min(edge, float(first))


def posted(tx: Transaction, was: Posting, until: float, rows: list[dict[str, Any]]) -> bool:
    """Write a bill's hours up to `until` down; False, and nothing is written, when it was changed meanwhile.

    Written twice they are there once: the second finds that `posted_until` has moved on.
    """
    bill = was.bill
    ended = bills.c.ended_at.is_(None) if bill.ended_at is None else bills.c.ended_at == bill.ended_at
    of = and_(bills.c.provider == bill.provider, bills.c.id == bill.id, bills.c.posted_until == was.posted_until, ended)
    is_closed = bill.paid_until <= until
    if not tx.conn.execute(update(bills).where(of).values(posted_until=until, is_closed=is_closed)).rowcount:
        return False
    if rows:
        tx.conn.execute(insert(ledger_hours), rows)
    return True


def forget(tx: Transaction, before: float) -> None:
    """Drop hours before an instant, and the closed bills all of whose hours lie there."""
    tx.conn.execute(delete(ledger_hours).where(ledger_hours.c.hour < before))
    old = or_(bills.c.ended_at < before - HOUR_S * 24)
    tx.conn.execute(delete(bills).where(bills.c.is_closed.is_(True), bills.c.posted_until < before, old))


def bill_from(row: Row[Any]) -> Bill:
    """A bill from its row."""
    return Bill(
        row.id, ProviderName(row.provider), None if row.node_id is None else NodeId(row.node_id), row.gpu_count,
        row.price_usd_per_hour, row.spot, row.began_at, row.ended_at, row.step_s, row.least_s,
    )  # fmt: skip
