"""What bills come to between two instants, as rows of `ledger_hours`: to be written down, or for what is still open."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from godwit.control_plane.store import bills, ledger_facts
from godwit.control_plane.store.bills import Posting
from godwit.domain.nodes import Node
from godwit.scheduler.ledger.accounting import Entry, account
from godwit.scheduler.ledger.reading import Reader
from sqlalchemy import Connection

Rows = list[dict[str, Any]]

SETTLE_S = 1_800.0
"""How long after its end an hour is written down: what is told late (of use, of a loss, of a meter) is known by then.
What comes later still opens the hours of that one bill again."""


def hours(conn: Connection, due: Sequence[Posting], end: Callable[[Posting], float]) -> list[tuple[Posting, Rows]]:
    """The rows of each bill from where it is written down to its `end`, hour by hour."""
    if not due:
        return []
    reader = Reader(ledger_facts.facts(conn, min(was.posted_until for was in due)))
    nodes = ledger_facts.nodes(conn, [was.bill.node_id for was in due if was.bill.node_id is not None])
    found = [(was, _hours_of(was, nodes, reader, end(was))) for was in due]
    owners = ledger_facts.owners(conn, {entry.job_id for _, of in found for _, entry in of if entry.job_id})
    return [(was, [_row(hour, entry, owners) for hour, entry in of]) for was, of in found]


def still_open(conn: Connection, since: float, until: float) -> Rows:
    """Rows of what is not written down yet between two instants; `since` begins an hour."""
    due = [Posting(was.bill, max(since, was.posted_until)) for was in bills.open_until(conn, until)]
    due = [was for was in due if was.posted_until < min(until, was.bill.paid_until)]
    return [row for _, rows in hours(conn, due, lambda _was: until) for row in rows]


def _hours_of(was: Posting, nodes: dict[str, Node], reader: Reader, end: float) -> Iterable[tuple[float, Entry]]:
    node = nodes.get(str(was.bill.node_id))
    story = None if node is None else reader.story(node)
    hour, found = bills.hour_of(was.posted_until), list[tuple[float, Entry]]()
    while hour < min(end, was.bill.paid_until):
        entries = account(was.bill, story, max(hour, was.posted_until), min(end, hour + bills.HOUR_S))
        found += [(hour, entry) for entry in entries]
        hour += bills.HOUR_S
    return found


def _row(hour: float, entry: Entry, owners: dict[str, Any]) -> dict[str, Any]:
    """A row; a job that was forgotten owns its seconds without a project."""
    owner = owners.get(entry.job_id)
    return {
        "hour": hour, "provider": entry.provider, "bill_id": entry.bill_id, "job_id": entry.job_id,
        "reason": entry.use, "how": entry.how, "node_id": entry.node_id or "",
        "project": "" if owner is None else owner.project,
        "submitted_by": "" if owner is None else owner.submitted_by,
        "spot": entry.spot, "gpu_s": entry.gpu_s, "usd": entry.usd,
    }  # fmt: skip
