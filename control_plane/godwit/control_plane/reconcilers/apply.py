"""Writes a plan down: row changes by `advance`, intents for executors, all in one transaction.

Every row that the plan was computed from is guarded by its version, so a plan made from a stale snapshot is refused
whole (`StaleWrite`) and made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from godwit.control_plane import hints
from godwit.control_plane.reconcilers import caring, moving, resizing
from godwit.control_plane.reconcilers.writing import ACTOR, Writing, refuse_double_use, refuse_unfit
from godwit.control_plane.services import attempts, nodes, saving
from godwit.control_plane.store import entities, queries, usable, usage, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import StaleWrite
from godwit.domain.events import Event
from godwit.domain.ids import AttemptId, IdSource, NodeId
from godwit.domain.intents import IntentKind
from godwit.domain.jobs import Attempt, AttemptState, JobState, Outcome
from godwit.domain.nodes import Node, NodeState
from godwit.scheduler.ledger.reading import KEPT
from godwit.scheduler.plan import (
    Action,
    AskToLeave,
    BuyNode,
    EndAttempt,
    FinishAttempt,
    FinishJob,
    MarkNodeLost,
    Plan,
    Preempt,
    ReleaseSlot,
    ReserveNode,
    StartAttempt,
    TerminateNode,
)
from godwit.scheduler.snapshot import Snapshot


def apply(tx: Transaction, plan: Plan, snapshot: Snapshot, ids: IdSource, now: float) -> None:
    """Write down every action of the plan, in order. Raises `StaleWrite` when the snapshot is outdated."""
    writing = Writing(tx, snapshot, ids, now)
    for action in plan.actions:
        _HANDLERS[type(action)](writing, action)


def _buy(writing: Writing, action: BuyNode) -> None:
    now = writing.now
    node_id = NodeId(writing.ids.new("node"))
    node = Node(node_id, action.offer, NodeState.REQUESTED, now, now, reserved_for=action.job_id)
    born = Event(
        at=now, kind="node.state", subject="node", subject_id=node.id, reason=action.reason, actor=ACTOR,
        new=NodeState.REQUESTED, job_id=action.job_id, node_id=node.id,
        data={
            "offer": action.offer.key, "price_usd_per_hour": action.offer.price_usd_per_hour,
            "arithmetic": action.arithmetic,
        },
    )  # fmt: skip
    entities.insert(writing.tx, node, born)
    writing.owe(IntentKind.LAUNCH_NODE, node.id, action.reason)


def _reserve(writing: Writing, action: ReserveNode) -> None:
    node = writing.nodes[action.node_id]
    # A node that was kept for a job while others run on a part of it is not idle.
    is_used = any(slot.node_id == node.id and not slot.released for a in writing.attempts.values() for slot in a.slots)
    idle_since = node.idle_since if action.job_id is not None or is_used else writing.now
    writing.save_node(replace(node, reserved_for=action.job_id, idle_since=idle_since))
    if action.job_id != node.reserved_for:
        kept = Event(
            writing.now, KEPT, "node", node.id, action.reason, ACTOR, job_id=action.job_id, node_id=node.id,
            data={"was": node.reserved_for},
        )  # fmt: skip
        entities.append(writing.tx, kept)


def _start(writing: Writing, action: StartAttempt) -> None:
    job, now = writing.jobs[action.job_id], writing.now
    attempt_id = AttemptId(writing.ids.new("attempt"))
    attempt = Attempt(attempt_id, job.id, action.epoch, AttemptState.STARTING, action.slots, action.port, now, now)
    refuse_double_use(writing.held, attempt.slots)
    refuse_unfit(writing.nodes, attempt.slots)
    born = Event(
        at=now, kind="attempt.state", subject="attempt", subject_id=attempt.id, reason=action.reason, actor=ACTOR,
        new=AttemptState.STARTING, job_id=job.id,
        data={
            "epoch": action.epoch, "nodes": [slot.node_id for slot in action.slots],
            "kept": [s.node_id for s in action.slots if writing.nodes[s.node_id].reserved_for == job.id],
        },
    )  # fmt: skip
    entities.insert(writing.tx, attempt, born)
    writing.move_job(replace(job, epoch=action.epoch), JobState.STARTING, action.reason)
    failures = saving.failures([writing.nodes[slot.node_id] for slot in action.slots], writing.snapshot)
    for slot in action.slots:
        writing.save_node(replace(writing.nodes[slot.node_id], reserved_for=None, idle_since=None))
        writing.owe(IntentKind.START_ATTEMPT, slot.node_id, action.reason, attempt, failures)


def _end(writing: Writing, action: EndAttempt) -> None:
    attempt = writing.attempts[action.attempt_id]
    attempts.settle(
        writing.tx, writing.ids, attempt, action.outcome, action.reason, ACTOR, writing.now, grace_s=action.grace_s
    )


def _preempt(writing: Writing, action: Preempt) -> None:
    attempt, now = replace(writing.attempts[action.attempt_id], yields_to=action.to), writing.now
    data = {"to": action.to, "lost_gpu_s": round(action.lost_gpu_s, 3), "epoch": attempt.epoch}
    told = Event(
        at=now, kind="job.preempted", subject="job", subject_id=attempt.job_id, reason=action.reason, actor=ACTOR,
        job_id=attempt.job_id, data=data,
    )  # fmt: skip
    entities.append(writing.tx, told)
    attempts.settle(writing.tx, writing.ids, attempt, Outcome.PREEMPTED, action.reason, ACTOR, now)


def _ask_to_leave(writing: Writing, action: AskToLeave) -> None:
    # Read anew: two incidents may ask for the same attempt in one plan.
    tx, attempt = writing.tx, queries.attempt(writing.tx.conn, action.attempt_id)
    if attempt.outcome is not None or (attempt.leaves_by is not None and attempt.leaves_by <= action.by):
        return
    asked = replace(attempt, leaves_by=action.by, yields_to=action.to or attempt.yields_to, detail=action.reason)
    entities.save(tx, asked)
    kind = "job.preempted" if action.incident_id is None else "job.evicted"
    data = {"to": action.to, "incident": action.incident_id, "by": action.by, "epoch": attempt.epoch}
    job_id = attempt.job_id
    entities.append(tx, Event(writing.now, kind, "job", job_id, action.reason, ACTOR, job_id=job_id, data=data))
    if action.incident_id is not None:
        caring.note_eviction(writing, action.incident_id, attempt, action.reason, {"by": action.by})


def _release(writing: Writing, action: ReleaseSlot) -> None:
    # Read anew: a plan may release several slots of one attempt, and each release changes its row.
    attempt = queries.attempt(writing.tx.conn, action.attempt_id)
    attempts.release_slot(writing.tx, attempt, action.node_id, action.reason, writing.now)


def _finish_attempt(writing: Writing, action: FinishAttempt) -> None:
    attempt, tx, now = writing.attempts[action.attempt_id], writing.tx, writing.now
    entities.advance(tx, attempt, AttemptState.ENDED, reason=action.reason, actor=ACTOR, now=now)
    usage.count(tx, queries.job(tx.conn, attempt.job_id), attempt, writing.policy.forgetting.half_life_s, now)


def _lost(writing: Writing, action: MarkNodeLost) -> None:
    node = writing.nodes[action.node_id]
    if queries.node(writing.tx.conn, node.id).last_seen_at != node.last_seen_at:
        raise StaleWrite(f"node {node.id} was heard in the meantime")
    writing.move_node(node, NodeState.LOST, action.reason)
    if node.leaves_at is None:  # else it was counted when it was announced
        writes.loss(writing.tx, node.offer, writing.now)
    writing.tx.hint(hints.PROVIDERS)


def _terminate(writing: Writing, action: TerminateNode) -> None:
    node, now = writing.nodes[action.node_id], writing.now
    if node.state is NodeState.TERMINATING:
        return  # two attempts that do not stop on one node both ask for its end in one plan
    if action.blame:
        why = f"node {node.id} never became usable: {action.reason}"
        usable.failed(writing.tx, node.offer, why, writing.policy.hold_s, now)
    writing.nodes[node.id] = nodes.give_back(writing.tx, writing.ids, node, action.reason, ACTOR, now)


def _finish_job(writing: Writing, action: FinishJob) -> None:
    job = replace(writing.jobs[action.job_id], detail=action.reason)
    writing.move_job(job, JobState.CANCELLED if action.cancelled else JobState.FAILED, action.reason)
    writing.tx.hint(hints.log_of(job.id))


_HANDLERS: Mapping[type[Action], Callable[[Writing, Any], None]] = {
    BuyNode: _buy,
    ReserveNode: _reserve,
    StartAttempt: _start,
    EndAttempt: _end,
    Preempt: _preempt,
    AskToLeave: _ask_to_leave,
    ReleaseSlot: _release,
    FinishAttempt: _finish_attempt,
    MarkNodeLost: _lost,
    TerminateNode: _terminate,
    FinishJob: _finish_job,
    **caring.HANDLERS,
    **resizing.HANDLERS,
    **moving.HANDLERS,
}
