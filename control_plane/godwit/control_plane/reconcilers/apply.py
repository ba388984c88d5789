"""Writes a plan down: row changes by `advance`, intents for executors, all in one transaction.

Every row that the plan was computed from is guarded by its version, so a plan made from a stale snapshot is refused
whole (`StaleWrite`) and made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from godwit.control_plane import hints
from godwit.control_plane.services import attempts
from godwit.control_plane.store import entities, queries, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import InvariantBroken, StaleWrite
from godwit.domain.events import Event
from godwit.domain.ids import AttemptId, IdSource, IntentId, NodeId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import Attempt, AttemptState, JobState
from godwit.domain.nodes import Node, NodeState
from godwit.scheduler.plan import (
    Action,
    BuyNode,
    EndAttempt,
    FinishAttempt,
    FinishJob,
    MarkNodeLost,
    Plan,
    ReleaseSlot,
    ReserveNode,
    StartAttempt,
    TerminateNode,
)
from godwit.scheduler.snapshot import Hold, Snapshot

ACTOR = "planner"


def apply(tx: Transaction, plan: Plan, snapshot: Snapshot, ids: IdSource, now: float) -> None:
    """Write down every action of the plan, in order. Raises `StaleWrite` when the snapshot is outdated."""
    for action in plan.actions:
        _HANDLERS[type(action)](tx, action, snapshot, ids, now)


def _buy(tx: Transaction, action: BuyNode, _snapshot: Snapshot, ids: IdSource, now: float) -> None:
    node = Node(NodeId(ids.new("node")), action.offer, NodeState.REQUESTED, now, now, reserved_for=action.job_id)
    born = Event(
        at=now, kind="node.state", subject="node", subject_id=node.id, reason=action.reason, actor=ACTOR,
        new=NodeState.REQUESTED, job_id=action.job_id, node_id=node.id,
        data={"offer": action.offer.key, "price_usd_per_hour": action.offer.price_usd_per_hour},
    )  # fmt: skip
    entities.insert(tx, node, born)
    _owe(tx, ids, IntentKind.LAUNCH_NODE, node.id, action.reason, now)


def _reserve(tx: Transaction, action: ReserveNode, snapshot: Snapshot, _ids: IdSource, now: float) -> None:
    node = snapshot.node_by_id[action.node_id]
    idle_since = node.idle_since if action.job_id is not None else now
    entities.save(tx, replace(node, reserved_for=action.job_id, idle_since=idle_since))


def _start(tx: Transaction, action: StartAttempt, snapshot: Snapshot, ids: IdSource, now: float) -> None:
    job = snapshot.job_by_id[action.job_id]
    attempt = Attempt(
        AttemptId(ids.new("attempt")), job.id, action.epoch, AttemptState.STARTING, action.slots, action.port, now, now
    )
    _refuse_double_use(tx, attempt)
    born = Event(
        at=now, kind="attempt.state", subject="attempt", subject_id=attempt.id, reason=action.reason, actor=ACTOR,
        new=AttemptState.STARTING, job_id=job.id,
        data={"epoch": action.epoch, "nodes": [slot.node_id for slot in action.slots]},
    )  # fmt: skip
    entities.insert(tx, attempt, born)
    job = replace(job, epoch=action.epoch)
    entities.advance(tx, job, JobState.STARTING, reason=action.reason, actor=ACTOR, now=now)
    for slot in action.slots:
        node = snapshot.node_by_id[slot.node_id]
        entities.save(tx, replace(node, reserved_for=None, idle_since=None))
        _owe(tx, ids, IntentKind.START_ATTEMPT, node.id, action.reason, now, attempt=attempt)


def _refuse_double_use(tx: Transaction, new: Attempt) -> None:
    """The last gate before GPUs are given away: checked in the writing transaction, whatever the planner thought."""
    held = {
        (slot.node_id, gpu)
        for attempt in queries.live_attempts(tx.conn)
        for slot in attempt.slots
        if not slot.released
        for gpu in slot.gpus
    }
    for slot in new.slots:
        twice = [gpu for gpu in slot.gpus if (slot.node_id, gpu) in held]
        if twice:
            raise InvariantBroken(f"GPUs {twice} of node {slot.node_id} are held already")


def _end(tx: Transaction, action: EndAttempt, snapshot: Snapshot, ids: IdSource, now: float) -> None:
    attempt = next(a for a in snapshot.attempts if a.id == action.attempt_id)
    attempts.settle(tx, ids, attempt, action.outcome, action.reason, ACTOR, now)


def _release(tx: Transaction, action: ReleaseSlot, _snapshot: Snapshot, _ids: IdSource, now: float) -> None:
    # Read anew: a plan may release several slots of one attempt, and each release changes its row.
    attempt = queries.attempt(tx.conn, action.attempt_id)
    attempts.release_slot(tx, attempt, action.node_id, action.reason, now)


def _finish_attempt(tx: Transaction, action: FinishAttempt, snapshot: Snapshot, _ids: IdSource, now: float) -> None:
    attempt = next(a for a in snapshot.attempts if a.id == action.attempt_id)
    entities.advance(tx, attempt, AttemptState.ENDED, reason=action.reason, actor=ACTOR, now=now)


def _lost(tx: Transaction, action: MarkNodeLost, snapshot: Snapshot, _ids: IdSource, now: float) -> None:
    node = snapshot.node_by_id[action.node_id]
    current = queries.node(tx.conn, node.id)
    if current.last_seen_at != node.last_seen_at:
        raise StaleWrite(f"node {node.id} was heard in the meantime")
    entities.advance(tx, node, NodeState.LOST, reason=action.reason, actor=ACTOR, now=now)
    writes.loss(tx, node.offer.provider, now)
    tx.hint(hints.PROVIDERS)


def _terminate(tx: Transaction, action: TerminateNode, snapshot: Snapshot, ids: IdSource, now: float) -> None:
    node = snapshot.node_by_id[action.node_id]
    if action.blame:
        until = now + snapshot.policy.hold_s
        writes.hold(tx, Hold(node.offer.key, until, f"node {node.id} never became usable: {action.reason}"))
    for intent in queries.pending_intents(tx.conn, [IntentKind.LAUNCH_NODE], node.id):
        entities.advance(tx, intent, IntentState.CANCELLED, reason=action.reason, actor=ACTOR, now=now)
    node = replace(node, detail=action.reason, reserved_for=None)
    entities.advance(tx, node, NodeState.TERMINATING, reason=action.reason, actor=ACTOR, now=now)
    _owe(tx, ids, IntentKind.TERMINATE_NODE, node.id, action.reason, now)


def _finish_job(tx: Transaction, action: FinishJob, snapshot: Snapshot, _ids: IdSource, now: float) -> None:
    job = snapshot.job_by_id[action.job_id]
    to = JobState.CANCELLED if action.cancelled else JobState.FAILED
    entities.advance(tx, replace(job, detail=action.reason), to, reason=action.reason, actor=ACTOR, now=now)
    tx.hint(hints.log_of(job.id))


def _owe(
    tx: Transaction,
    ids: IdSource,
    kind: IntentKind,
    node_id: NodeId,
    reason: str,
    now: float,
    *,
    attempt: Attempt | None = None,
) -> None:
    entities.insert(
        tx,
        Intent(
            IntentId(ids.new("intent")),
            kind,
            IntentState.PENDING,
            node_id,
            now,
            now,
            reason,
            attempt_id=None if attempt is None else attempt.id,
            job_id=None if attempt is None else attempt.job_id,
        ),
    )
    tx.hint(hints.INTENTS, hints.commands_of(node_id))


_HANDLERS: Mapping[type[Action], Callable[[Transaction, Any, Snapshot, IdSource, float], None]] = {
    BuyNode: _buy,
    ReserveNode: _reserve,
    StartAttempt: _start,
    EndAttempt: _end,
    ReleaseSlot: _release,
    FinishAttempt: _finish_attempt,
    MarkNodeLost: _lost,
    TerminateNode: _terminate,
    FinishJob: _finish_job,
}
