"""Writes closed hours of the ledger down, once: what a bill's hours hold and that they were written is one transaction.

Killed at any step it goes on where the bill says that it is; done twice it is there once.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.store import bills, ledger_facts
from godwit.control_plane.store.bills import Posting
from godwit.domain.nodes import Node
from godwit.scheduler.ledger.accounting import Entry, account
from godwit.scheduler.ledger.reading import Reader
from sqlalchemy import Connection

log = structlog.get_logger()

SETTLE_S = 1_800.0
"""How long after its end an hour is written down: what is told late (of use, of a loss, of a meter) is known by then.
What comes later still opens the hours of that one bill again."""

READ_MAX, WRITE_MAX = 2_000, 50
"""Bills that are read at a time, and written at a time: other writers wait for milliseconds."""

KEPT_S = 400 * 86_400.0
"""Closed hours are kept for over a year, so that a month can be compared with that of the year before."""


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
                written = hours(conn, due, edge)
            for start in range(0, len(written), WRITE_MAX):
                with self._context.db.write() as tx:
                    for was, rows in written[start : start + WRITE_MAX]:
                        count += bills.posted(tx, was, _end(was, edge), rows)
            if len(due) < READ_MAX:
                break
        if count:
            with self._context.db.write() as tx:
                bills.forget(tx, edge - KEPT_S)
        return count


def hours(conn: Connection, due: Sequence[Posting], edge: float) -> list[tuple[Posting, list[dict[str, Any]]]]:
    """The rows of each bill's hours from where it stands up to `edge`."""
    if not due:
        return []
    reader = Reader(ledger_facts.facts(conn, min(was.posted_until for was in due)))
    nodes = ledger_facts.nodes(conn, [was.bill.node_id for was in due if was.bill.node_id is not None])
    found = [(was, _hours_of(was, nodes, reader, edge)) for was in due]
    owners = ledger_facts.owners(conn, {entry.job_id for _, of in found for _, entry in of if entry.job_id})
    return [(was, [row_of(hour, entry, owners) for hour, entry in of]) for was, of in found]


def _end(was: Posting, edge: float) -> float:
    """Up to where a bill's hours are written: all of it when it ends before the edge."""
    return min(edge, bills.hour_of(was.bill.paid_until) + bills.HOUR_S) if was.bill.ended_at is not None else edge


def _hours_of(was: Posting, nodes: dict[str, Node], reader: Reader, edge: float) -> list[tuple[float, Entry]]:
    node = nodes.get(str(was.bill.node_id))
    story = None if node is None else reader.story(node)
    hour, found = was.posted_until, []
    while hour < _end(was, edge):
        found += [(hour, entry) for entry in account(was.bill, story, hour, hour + bills.HOUR_S)]
        hour += bills.HOUR_S
    return found


def row_of(hour: float, entry: Entry, owners: dict[str, Any]) -> dict[str, Any]:
    """A row of `ledger_hours`; a job that was forgotten owns its seconds without a project."""
    owner = owners.get(entry.job_id)
    return {
        "hour": hour, "provider": entry.provider, "bill_id": entry.bill_id, "job_id": entry.job_id,
        "reason": entry.use, "how": entry.how, "node_id": entry.node_id or "",
        "project": "" if owner is None else owner.project,
        "submitted_by": "" if owner is None else owner.submitted_by,
        "spot": entry.spot, "gpu_s": entry.gpu_s, "usd": entry.usd,
    }  # fmt: skip
