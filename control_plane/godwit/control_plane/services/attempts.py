"""How an attempt ends: its outcome is settled once, its nodes are told, its slots are released one by one."""

from dataclasses import replace

from godwit.control_plane import hints
from godwit.control_plane.store import entities, queries, run_times, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.errors import NotFound
from godwit.domain.ids import IdSource, IntentId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState, Outcome

STOP_GRACE_S = 5.0
"""Time between asking a program to end and ending it. A last checkpoint of a small model takes less."""

PREEMPT_GRACE_S = 30.0
"""The same for a program that gives way to another: nothing is wrong with its nodes, so it has time to save a large
model, and half of the minute after which nodes that have not stopped it are terminated."""

_TOLD_FIRST = frozenset({Outcome.PREEMPTED, Outcome.MIGRATED, Outcome.RESIZED})
"""Outcomes of programs with which nothing is wrong, nor with their nodes."""

_MAY_BE_DONE = frozenset({Outcome.PREEMPTED, Outcome.EVICTED, Outcome.MIGRATED, Outcome.RESIZED})
GOES_ON = frozenset({JobState.RECOVERING, JobState.MIGRATING, JobState.RESIZING})
"""States of a job of which what may still run is being stopped, and that starts again."""

_NEXT_JOB_STATE = {
    Outcome.SUCCEEDED: JobState.SUCCEEDED,
    Outcome.FAILED: JobState.FAILED,
    Outcome.INTERRUPTED: JobState.RECOVERING,
    Outcome.PREEMPTED: JobState.RECOVERING,
    Outcome.EVICTED: JobState.RECOVERING,
    Outcome.MIGRATED: JobState.MIGRATING,
    Outcome.RESIZED: JobState.RESIZING,
    Outcome.CANCELLED: JobState.STOPPING,
}


def settle(
    tx: Transaction,
    ids: IdSource,
    attempt: Attempt,
    outcome: Outcome,
    reason: str,
    actor: str,
    now: float,
    *,
    grace_s: float | None = None,
) -> Attempt:
    """Settle an attempt's outcome, tell its nodes to stop, and move its job on. The first verdict stands.

    `grace_s` is how long its program has to end, None for what is usual with this outcome.
    """
    if attempt.outcome is not None:
        return attempt
    if grace_s is None:
        grace_s = PREEMPT_GRACE_S if outcome in _TOLD_FIRST else STOP_GRACE_S
    detail = attempt.detail or reason
    if outcome is Outcome.INTERRUPTED and attempt.state is AttemptState.STARTING:
        writes.attempt_failed_to_start(tx, attempt.id)
    attempt = replace(attempt, outcome=outcome, detail=detail)
    attempt = entities.advance(tx, attempt, AttemptState.STOPPING, reason=reason, actor=actor, now=now)
    for slot in attempt.slots:
        if not slot.released:
            tell_to_stop(tx, ids, attempt, slot.node_id, reason, grace_s, now)
    _move_job(tx, queries.job(tx.conn, attempt.job_id), attempt, outcome, reason, actor, now)
    return attempt


def had_ended(tx: Transaction, attempt: Attempt, node_id: str) -> bool:
    """Whether a program of which the head says that it ended well was done, though it had been told to give way.

    An exit code of 0 after that mostly means that it saved and ended as asked. It was done if the head's agent had not
    taken on the stop yet, or if the program had said that it was at the last of its steps. To be asked before the slot
    is released, which takes the stop back.
    """
    if attempt.outcome not in _MAY_BE_DONE or attempt.head.node_id != node_id:
        return False
    job = queries.job(tx.conn, attempt.job_id)
    if attempt.head.released or job.state not in GOES_ON or job.epoch != attempt.epoch:
        return False
    stops = [i for i in queries.intents_of_attempt(tx.conn, attempt.id, node_id) if i.kind is IntentKind.STOP_ATTEMPT]
    if all(stop.state is IntentState.PENDING for stop in stops):
        return True
    told = job.progress
    is_of_this = told is not None and told.at >= attempt.created_at
    return is_of_this and told is not None and told.total_steps is not None and told.step >= told.total_steps


def succeed_after_all(tx: Transaction, attempt: Attempt, actor: str, now: float) -> Attempt:
    """An attempt that had to give way `had_ended`: its job is done, and goes nowhere again."""
    reason = "the program ended with exit code 0 before it had to give way"
    attempt = entities.save(tx, replace(attempt, outcome=Outcome.SUCCEEDED, exit_code=0, detail=""))
    _move_job(tx, queries.job(tx.conn, attempt.job_id), attempt, Outcome.SUCCEEDED, reason, actor, now)
    tx.hint(hints.PLAN)
    return attempt


def release_slot(tx: Transaction, attempt: Attempt, node_id: str, reason: str, now: float) -> Attempt:
    """The attempt certainly runs on this node no more; the node is idle when nothing else holds a part of it.

    A part that is leaving an attempt that goes on is none of it any more then.
    """
    if all(slot.released for slot in attempt.slots if slot.node_id == node_id):
        return attempt
    slots = tuple(replace(s, released=True) if s.node_id == node_id else s for s in attempt.slots)
    attempt = entities.save(tx, _without_the_gone(replace(attempt, slots=slots), now))
    _settle_size(tx, attempt, reason, now)
    _cancel_intents(tx, attempt, node_id, reason, now)
    try:
        node = queries.node(tx.conn, node_id)
    except NotFound:
        return attempt
    holders = [a for a in queries.live_attempts(tx.conn) if a.id != attempt.id]
    if not any(s.node_id == node_id and not s.released for a in holders for s in a.slots):
        entities.save(tx, replace(node, idle_since=now))
    tx.hint(hints.PLAN)
    return attempt


def _without_the_gone(attempt: Attempt, now: float) -> Attempt:
    if attempt.state is not AttemptState.RUNNING:
        return attempt
    gone = tuple(replace(slot, until=now) for slot in attempt.slots if slot.leaving and slot.released)
    staying = tuple(slot for slot in attempt.slots if not (slot.leaving and slot.released))
    is_over = not any(slot.leaving for slot in staying)
    return replace(
        attempt, slots=staying, left=(*attempt.left, *gone), yields_to=None if is_over else attempt.yields_to
    )


def joined(tx: Transaction, attempt: Attempt, node_id: str, reason: str, now: float) -> Attempt:
    """The node takes part in the attempt from now on."""
    slots = tuple(replace(s, joining=False) if s.node_id == node_id else s for s in attempt.slots)
    attempt = entities.save(tx, replace(attempt, slots=slots))
    _settle_size(tx, attempt, reason, now)
    return attempt


def _settle_size(tx: Transaction, attempt: Attempt, reason: str, now: float) -> None:
    """The job runs at its new size once no node is on its way in or out."""
    if attempt.state is not AttemptState.RUNNING or attempt.is_changing:
        return
    job = queries.job(tx.conn, attempt.job_id)
    if job.state is JobState.RESIZING and job.epoch == attempt.epoch:
        reason = f"it runs on {len(attempt.slots)} nodes: {reason}"
        entities.advance(tx, job, JobState.RUNNING, reason=reason, actor="planner", now=now)


def tell_to_stop(
    tx: Transaction, ids: IdSource, attempt: Attempt, node_id: str, reason: str, grace_s: float, now: float
) -> None:
    """Owe a node the order to stop its part of an attempt; a start that is owed to it is owed no more."""
    for intent in queries.intents_of_attempt(tx.conn, attempt.id, node_id):
        # A start that was perhaps delivered is not undone by cancelling it: the stop below fences it on the node.
        if intent.state is IntentState.PENDING and intent.kind is IntentKind.START_ATTEMPT:
            entities.advance(tx, intent, IntentState.CANCELLED, reason=reason, actor="planner", now=now)
    stop = Intent(
        IntentId(ids.new("intent")),
        IntentKind.STOP_ATTEMPT,
        IntentState.PENDING,
        queries.node(tx.conn, node_id).id,
        now,
        now,
        reason,
        attempt_id=attempt.id,
        job_id=attempt.job_id,
        payload={"grace_s": grace_s},
    )
    entities.insert(tx, stop)
    tx.hint(hints.commands_of(node_id))


def _cancel_intents(tx: Transaction, attempt: Attempt, node_id: str, reason: str, now: float) -> None:
    for intent in queries.intents_of_attempt(tx.conn, attempt.id, node_id):
        if intent.state is IntentState.PENDING:
            entities.advance(tx, intent, IntentState.CANCELLED, reason=reason, actor="planner", now=now)


def _move_job(
    tx: Transaction, job: Job, attempt: Attempt, outcome: Outcome, reason: str, actor: str, now: float
) -> None:
    if lifecycle.is_final(job.state) or job.state is JobState.STOPPING:
        return
    if outcome is Outcome.INTERRUPTED:
        job = replace(job, interruptions=job.interruptions + 1)
    to = _NEXT_JOB_STATE[outcome]
    if to in GOES_ON and job.cancel_requested:
        to = JobState.STOPPING
    # An interrupted program's exit code says nothing of the job, which goes on.
    exit_code = attempt.exit_code if outcome in {Outcome.SUCCEEDED, Outcome.FAILED} else None
    job = replace(job, exit_code=exit_code, detail=attempt.detail if outcome is Outcome.FAILED else reason)
    entities.advance(tx, job, to, reason=reason, actor=actor, now=now)
    if to is JobState.SUCCEEDED:
        before_s = run_times.served_s(tx.conn, [job.id]).get(job.id, 0.0)
        run_times.remember(tx, job, before_s + now - attempt.created_at)
    tx.hint(hints.log_of(job.id))
