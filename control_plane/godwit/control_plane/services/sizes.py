"""Sizes of running attempts: nodes that come, nodes that go while the others go on, and what a job's owner wants."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from godwit.control_plane import hints, tracing
from godwit.control_plane.context import Context
from godwit.control_plane.services import attempts, views
from godwit.control_plane.store import entities, queries
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.errors import Conflict, InvalidRequest, Problem
from godwit.domain.events import Event
from godwit.domain.ids import IdSource, JobId, NodeId
from godwit.domain.jobs import Attempt, JobState, Outcome, Slot
from godwit.domain.wire.views import JobView
from godwit.scheduler.resizing import bending


def want(context: Context, name_or_id: str, nodes: int | None, actor: str) -> JobView:
    """Write down how many nodes a job's owner wants, None for the planner's choice. The same again changes nothing.

    Raises `NotFound`, `InvalidRequest` for a number outside of the job's range, `Conflict` for a job that is over.
    """
    now = context.now()
    with context.db.write() as tx:
        job = queries.job(tx.conn, name_or_id)
        tracing.note_job(job.id)
        resources = job.spec.resources
        if lifecycle.is_final(job.state):
            raise Conflict(f"job {job.id} is {job.state}; submit it again with the number of nodes that you want")
        if nodes is not None and not resources.nodes_min <= nodes <= resources.nodes_max:
            span = entities.nodes_text(resources)
            message = f"{nodes} is outside of resources.nodes of job {job.id}, which is {span}"
            raise InvalidRequest(problems=[Problem(("nodes",), message, (span,))])
        if job.nodes_wanted == nodes:
            return views.job(job)
        job = entities.save(tx, replace(job, nodes_wanted=nodes))
        reason = "the planner chooses its size" if nodes is None else f"its owner wants {nodes} nodes"
        entities.append(
            tx, Event(now, "job.size-wanted", "job", job.id, reason, actor, job_id=job.id, data={"nodes": nodes})
        )
        tx.hint(hints.PLAN)
        return views.job(job)


def grow(tx: Transaction, attempt: Attempt, slots: Sequence[Slot], reason: str, now: float) -> Attempt:
    """A running attempt gets these parts besides. Whoever calls owes the nodes their starts."""
    attempt = replace(attempt, slots=(*attempt.slots, *slots), resized_at=now)
    return _changed(tx, entities.save(tx, attempt), reason, "planner", now)


def shrink(
    tx: Transaction,
    ids: IdSource,
    attempt: Attempt,
    node_ids: Collection[str],
    reason: str,
    actor: str,
    now: float,
    *,
    to: JobId | None = None,
) -> Attempt:
    """A running attempt goes on without these nodes, which are told to stop. They count as its until that is certain.

    `to` is who waits for them.
    """
    slots = tuple(replace(s, leaving=True, joining=False) if s.node_id in node_ids else s for s in attempt.slots)
    attempt = entities.save(tx, replace(attempt, slots=slots, resized_at=now, yields_to=to or attempt.yields_to))
    attempt = _changed(tx, attempt, reason, actor, now)
    for slot in attempt.slots:
        if slot.leaving and not slot.released and slot.node_id in node_ids:
            attempts.tell_to_stop(tx, ids, attempt, slot.node_id, reason, attempts.STOP_GRACE_S, now)
    return attempt


def lose(
    tx: Transaction,
    ids: IdSource,
    attempt: Attempt,
    node_id: NodeId,
    reason: str,
    actor: str,
    now: float,
    outcome: Outcome = Outcome.INTERRUPTED,
) -> None:
    """A node certainly runs its part no more: the attempt goes on without it where it can, and else it is over.

    Of a part that was leaving anyway nothing follows.
    """
    if any(slot.leaving and slot.node_id == node_id for slot in attempt.slots):
        attempts.release_slot(tx, attempt, node_id, reason, now)
        return
    job = queries.job(tx.conn, attempt.job_id)
    if bending.may_lose(job, attempt, {node_id}):
        attempt = shrink(tx, ids, attempt, {node_id}, f"it goes on without node {node_id}: {reason}", actor, now)
        attempts.release_slot(tx, attempt, node_id, reason, now)
        return
    released = attempts.release_slot(tx, attempt, node_id, reason, now)
    attempts.settle(tx, ids, released, outcome, reason, actor, now)


def _changed(tx: Transaction, attempt: Attempt, reason: str, actor: str, now: float) -> Attempt:
    job = queries.job(tx.conn, attempt.job_id)
    if job.state is JobState.RUNNING:
        entities.advance(tx, job, JobState.RESIZING, reason=reason, actor=actor, now=now)
    data = {
        "epoch": attempt.epoch, "nodes": [slot.node_id for slot in attempt.staying],
        "joining": [slot.node_id for slot in attempt.slots if slot.joining],
        "leaving": [slot.node_id for slot in attempt.slots if slot.leaving],
    }  # fmt: skip
    told = f"{len(attempt.staying)} nodes from now on: {', '.join(slot.node_id for slot in attempt.staying)}"
    entities.append(tx, Event(now, "job.size", "job", job.id, told, actor, job_id=job.id, data=data))
    return attempt
