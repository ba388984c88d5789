"""Closed days of the ledger: sums of closed hours without their machines, from which weeks and months are told.

A day is summed once all of its hours are closed, and again when one of them was opened: it is made from the hours, so
that twice is once.
"""

from godwit.control_plane.store import queries, writes
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.ledger_tables import bills, ledger_days, ledger_hours
from sqlalchemy import Connection, delete, func, insert, select

DAY_S = 86_400.0
_UNTIL = "ledger_days_until"


def day_of(at: float) -> float:
    """The beginning of the day (UTC) in which an instant lies."""
    return at // DAY_S * DAY_S


def summed_until(conn: Connection) -> float:
    """Days before this one are summed."""
    told = queries.meta(conn, _UNTIL)
    return 0.0 if told is None else float(told)


def open_again(tx: Transaction, at: float) -> None:
    """The day of this instant, and those after it, are to be summed anew."""
    if day_of(at) < summed_until(tx.conn):
        writes.replace_meta(tx, _UNTIL, str(day_of(at)))


def sum_next(tx: Transaction, settled: float) -> bool:
    """Sum the next day all of whose hours are closed; False when there is none."""
    day = summed_until(tx.conn)
    if not day:
        first = tx.conn.execute(select(func.min(bills.c.began_at))).scalar()
        day = day_of(settled if first is None else float(first))
    if day + DAY_S > settled:
        return False
    tx.conn.execute(delete(ledger_days).where(ledger_days.c.day == day))
    hours = ledger_hours
    keys = (hours.c.provider, hours.c.job_id, hours.c.reason, hours.c.how, hours.c.spot)
    sums = (func.max(hours.c.project), func.max(hours.c.submitted_by), func.sum(hours.c.gpu_s), func.sum(hours.c.usd))
    of_day = select(func.min(hours.c.hour) * 0 + day, *keys, *sums).where(
        hours.c.hour >= day, hours.c.hour < day + DAY_S
    )
    names = ["day", "provider", "job_id", "reason", "how", "spot", "project", "submitted_by", "gpu_s", "usd"]
    tx.conn.execute(insert(ledger_days).from_select(names, of_day.group_by(*keys)))
    writes.replace_meta(tx, _UNTIL, str(day + DAY_S))
    return True


def forget(tx: Transaction, before: float) -> None:
    """Drop days before an instant."""
    tx.conn.execute(delete(ledger_days).where(ledger_days.c.day < before))
