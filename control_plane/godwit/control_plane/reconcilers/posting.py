"""Writes closed hours of the ledger down, once: what a bill's hours hold and that they were written is one transaction.

Killed at any step it goes on where the bill says that it is; done twice it is there once.
"""

from godwit.control_plane.context import Context
from godwit.control_plane.services import ledger_rows
from godwit.control_plane.services.ledger_rows import SETTLE_S
from godwit.control_plane.store import bills, ledger_days
from godwit.control_plane.store.bills import Posting

READ_MAX, WRITE_MAX = 2_000, 50
"""Bills that are read at a time, and written at a time: other writers wait for milliseconds."""

HOURS_KEPT_S, DAYS_KEPT_S = 100 * 86_400.0, 5 * 366 * 86_400.0
"""Closed hours are kept for a quarter with some to spare, days for five years: books are often to be kept for longer,
and bills are the provider's to show."""


class Bookkeeping:
    """Closes hours. `step` is safe to repeat, and by several at once."""

    def __init__(self, context: Context, settle_s: float = SETTLE_S) -> None:
        self._context, self._settle_s = context, settle_s

    def step(self) -> int:
        """Write down every hour that is due; returns how many bills got further."""
        edge, count = bills.hour_of(self._context.now() - self._settle_s), 0
        while True:
            with self._context.db.read() as conn:
                due = bills.to_post(conn, edge, READ_MAX)
                written = ledger_rows.hours(conn, due, lambda was: _end(was, edge))
            for start in range(0, len(written), WRITE_MAX):
                with self._context.db.write() as tx:
                    for was, rows in written[start : start + WRITE_MAX]:
                        count += bills.posted(tx, was, _end(was, edge), rows)
            if len(due) < READ_MAX:
                break
        self._sum_days(edge)
        return count

    def _sum_days(self, edge: float) -> None:
        with self._context.db.read() as conn:
            settled = bills.settled_until(conn, edge)
        is_new = False
        while True:
            with self._context.db.write() as tx:
                if not ledger_days.sum_next(tx, settled):
                    break
            is_new = True
        if is_new:
            with self._context.db.write() as tx:
                bills.forget(tx, edge - HOURS_KEPT_S)
                ledger_days.forget(tx, edge - DAYS_KEPT_S)


def _end(was: Posting, edge: float) -> float:
    """Up to where a bill's hours are written: all of it when it ends before the edge."""
    return edge if was.bill.ended_at is None else min(edge, bills.hour_of(was.bill.paid_until) + bills.HOUR_S)
