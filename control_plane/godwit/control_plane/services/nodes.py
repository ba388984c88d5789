"""What operators do with nodes: keep new work off one, empty it, give it back."""

from collections.abc import Callable
from dataclasses import replace

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.services import attempts, views
from godwit.control_plane.store import entities, queries, usable
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.ids import IdSource, IntentId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import Outcome
from godwit.domain.nodes import Node, NodeState
from godwit.domain.wire.views import NodeView

_ORDERS = (IntentKind.REPAIR_NODE, IntentKind.RUN_CHECKS, IntentKind.COPY_CHECKPOINT)


def cordon(context: Context, node_id: str, actor: str) -> NodeView:
    """Let no new work start on a node; what runs there goes on. Raises `NotFound`, `InvalidTransition`."""
    return _move(context, node_id, NodeState.CORDONED, f"cordoned by {actor}", actor)


def uncordon(context: Context, node_id: str, actor: str) -> NodeView:
    """Let new work start on a cordoned node again. Raises `NotFound`, `InvalidTransition`."""
    return _move(context, node_id, NodeState.READY, f"uncordoned by {actor}", actor)


def drain(context: Context, node_id: str, actor: str) -> NodeView:
    """Empty a node and give it back: its jobs are told, stop in their grace time, and go on elsewhere.

    Raises `NotFound`, or `InvalidTransition` for a node that is not in use.
    """
    return _move(context, node_id, NodeState.DRAINING, f"drained by {actor}", actor)


def terminate(context: Context, node_id: str, actor: str) -> NodeView:
    """Give a node back now; its jobs are interrupted and go on elsewhere from their last checkpoints.

    Raises `NotFound`, or `InvalidTransition` for one that is on its way out already.
    """
    now, reason = context.now(), f"terminated by {actor}"

    def end(tx: Transaction, node: Node) -> Node:
        node = give_back(tx, context.ids, node, reason, actor, now)
        for attempt in queries.live_attempts(tx.conn):
            if any(slot.node_id == node.id and not slot.released for slot in attempt.slots):
                attempts.settle(tx, context.ids, attempt, Outcome.INTERRUPTED, f"its node was {reason}", actor, now)
        return node

    return _change(context, node_id, end)


def give_back(tx: Transaction, ids: IdSource, node: Node, reason: str, actor: str, now: float) -> Node:
    """Owe a node's end to its provider; a launch that is still owed is owed no more. Raises `InvalidTransition`."""
    for launch in queries.pending_intents(tx.conn, [IntentKind.LAUNCH_NODE], node.id):
        entities.advance(tx, launch, IntentState.CANCELLED, reason=reason, actor=actor, now=now)
    owe_no_more(tx, node, reason, actor, now)
    node = replace(node, detail=reason, reserved_for=None)
    node = entities.advance(tx, node, NodeState.TERMINATING, reason=reason, actor=actor, now=now)
    intent_id = IntentId(ids.new("intent"))
    owed = Intent(intent_id, IntentKind.TERMINATE_NODE, IntentState.PENDING, node.id, now, now, reason)
    entities.insert(tx, owed)
    tx.hint(hints.INTENTS)
    return node


def owe_no_more(tx: Transaction, node: Node, reason: str, actor: str, now: float) -> None:
    """A node that leaves is neither repaired nor tested any more, and copies nothing."""
    for order in queries.pending_intents(tx.conn, _ORDERS, node.id):
        entities.advance(tx, order, IntentState.CANCELLED, reason=reason, actor=actor, now=now)


def unusable(context: Context, tx: Transaction, node: Node, why: str, now: float) -> None:
    """What was paid for cannot be used: its offer is passed over for a while, and trusted less.

    Nothing runs on it yet, so it is as good as gone: the planner gives it back.
    """
    usable.failed(tx, node.offer, why, context.policy.hold_s, now)
    entities.save(tx, replace(node, gone=True, detail=why))


def _move(context: Context, node_id: str, to: NodeState, reason: str, actor: str) -> NodeView:
    def move(tx: Transaction, node: Node) -> Node:
        if node.state is to:
            return node
        return entities.advance(tx, node, to, reason=reason, actor=actor, now=context.now())

    return _change(context, node_id, move)


def _change(context: Context, node_id: str, change: Callable[[Transaction, Node], Node]) -> NodeView:
    with context.db.write() as tx:
        node = queries.node(tx.conn, node_id)
        if not lifecycle.is_final(node.state):
            node = change(tx, node)
        loads = context.loads.newest(context.now())
        return views.node(node, views.holders(queries.live_attempts(tx.conn)), loads)
