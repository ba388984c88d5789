"""Reads what the pure ledger needs for one job: its nodes' and attempts' stories, and what was paid."""

from collections import defaultdict

from godwit.control_plane.context import Context
from godwit.control_plane.store import queries
from godwit.domain.ids import NodeId
from godwit.domain.wire.views import LedgerView
from godwit.scheduler.ledger import reading
from godwit.scheduler.ledger.accounting import account, by_use

MAX_EVENTS = 100_000
"""Events of one job or node that are read; a job with a checkpoint a minute makes as many in two months."""


def of_job(context: Context, name_or_id: str) -> LedgerView:
    """Where the GPU-seconds of the nodes that a job used went, and the dollars. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        job = queries.job(conn, name_or_id)
        attempts = queries.attempts_of(conn, job.id)
        node_ids = {slot.node_id for attempt in attempts for slot in (*attempt.slots, *attempt.left)}
        story = queries.events(conn, 0, MAX_EVENTS, job_id=job.id)
        node_ids |= {NodeId(e.subject_id) for e in story if e.kind == "node.state"}
        nodes = [queries.node(conn, node_id) for node_id in sorted(node_ids)]
        told = {n.id: queries.events(conn, 0, MAX_EVENTS, node_id=n.id) for n in nodes}
    known = {event.seq: event for events in (story, *told.values()) for event in events if event.kind in reading.KINDS}
    facts = reading.Facts([known[seq] for seq in sorted(known)], attempts, {})
    reader, usd = reading.Reader(facts), defaultdict[str, float](float)
    entries = []
    for node in nodes:
        bill = reading.bill_of(node, told[node.id])
        if bill is not None:
            entries += account(bill, reader.story(node), bill.began_at, now)
    for entry in entries:
        usd[entry.provider] += entry.usd
    return LedgerView(
        gpu_seconds_by_reason={str(k): round(v, 3) for k, v in sorted(by_use(entries).items())},
        usd_by_provider={k: round(v, 6) for k, v in sorted(usd.items())},
        usd_total=round(sum(usd.values()), 6),
    )
