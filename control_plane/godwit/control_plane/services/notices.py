"""What follows when a machine's provider says that it takes the machine back: the node is emptied in time."""

from dataclasses import replace

from godwit.control_plane import hints
from godwit.control_plane.store import entities, queries, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import NotFound
from godwit.domain.events import Event
from godwit.domain.ids import NodeId
from godwit.domain.nodes import NodeState
from godwit.domain.wire.notices import NoticeSeen
from godwit.scheduler.trust import Record

_IN_USE = frozenset({NodeState.READY, NodeState.CORDONED})


def observe(tx: Transaction, node_id: NodeId, seen: NoticeSeen, now: float) -> None:
    """Write a notice down. No new work starts on the node; with a time set, what runs there leaves it.

    It counts as a loss of what was offered, as the node is lost; not of the provider, which takes back spot machines
    by design. The nearer of two instants counts.
    """
    node, actor = queries.node(tx.conn, node_id), f"agent {node_id}"
    reason = _reason(seen)
    data = {"source": seen.source, "within_s": seen.within_s}
    entities.append(tx, Event(now, "node.notice", "node", node.id, reason, actor, node_id=node.id, data=data))
    if seen.within_s is None:
        if node.state is NodeState.READY:
            entities.advance(tx, node, NodeState.CORDONED, reason=reason, actor=actor, now=now)
    else:
        if node.leaves_at is None:
            writes.experience(tx, node.offer, Record(losses=1))
        leaves_at = now + seen.within_s
        node = replace(node, leaves_at=min(leaves_at, node.leaves_at or leaves_at), reserved_for=None)
        if node.state in _IN_USE:
            entities.advance(tx, node, NodeState.DRAINING, reason=reason, actor=actor, now=now)
        else:
            entities.save(tx, node)
    tx.hint(hints.PLAN)


def was_told(tx: Transaction, node_id: str) -> bool:
    """Whether a node's machine was to be taken back."""
    try:
        return queries.node(tx.conn, node_id).leaves_at is not None
    except NotFound:
        return False  # forgotten: nothing of it runs


def _reason(seen: NoticeSeen) -> str:
    when = "may soon take it back" if seen.within_s is None else f"takes it back in {seen.within_s:.0f} s"
    return f"its provider {when} ({seen.source}): {seen.reason}".removesuffix(": ")
