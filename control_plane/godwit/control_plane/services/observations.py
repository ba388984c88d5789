"""What an agent observed becomes what the database knows. Each observation is counted once, in the agent's order."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog
from godwit.control_plane import hints
from godwit.control_plane.services import attempts, dev, health, history, migrations, notices, replicas, sizes
from godwit.control_plane.store import entities, queries, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import NotFound
from godwit.domain.events import Event
from godwit.domain.ids import IdSource, NodeId
from godwit.domain.intents import IntentKind, IntentState
from godwit.domain.jobs import Attempt, AttemptState, JobState, Outcome, Progress, Slot
from godwit.domain.wire import agents as wire
from godwit.domain.wire.checkpoints import CheckpointsDeleted
from godwit.domain.wire.copies import CopyDone
from godwit.domain.wire.dev import IdleSeen
from godwit.domain.wire.health import ChecksDone, FindingSeen, RepairDone
from godwit.domain.wire.notices import NoticeSeen
from godwit.domain.wire.replicas import ReplicaSeen
from godwit.scheduler.resizing import bending, paces

log = structlog.get_logger()


def observe(tx: Transaction, ids: IdSource, node_id: NodeId, observation: wire.Observation, now: float) -> None:
    """Count one observation. One about an attempt that this node has no part in is dropped, and logged."""
    if isinstance(observation, wire.CommandDone):
        _command_done(tx, ids, node_id, observation, now)
        return
    if isinstance(observation, NoticeSeen):
        notices.observe(tx, node_id, observation, now)
        return
    if isinstance(observation, FindingSeen | ChecksDone | RepairDone):
        health.observe(tx, ids, node_id, observation, now)
        return
    if isinstance(observation, CopyDone):
        migrations.copied(tx, node_id, observation, now)
        return
    try:
        attempt = queries.attempt(tx.conn, observation.attempt_id)
    except NotFound:
        log.warning("observation of an unknown attempt", node=node_id, attempt=observation.attempt_id)
        return
    slot = next((s for s in attempt.slots if s.node_id == node_id), None)
    if slot is None or attempt.epoch != observation.epoch:
        log.warning("observation of somebody else's attempt", node=node_id, attempt=attempt.id)
        return
    _HANDLERS[type(observation)](tx, ids, attempt, slot, observation, now)


def _command_done(tx: Transaction, ids: IdSource, node_id: NodeId, done: wire.CommandDone, now: float) -> None:
    try:
        intent = queries.intent(tx.conn, done.intent_id)
    except NotFound:
        log.warning("answer to an unknown command", node=node_id, intent=done.intent_id)
        return
    if intent.node_id != node_id or intent.state is not IntentState.PENDING:
        return
    to = IntentState.DONE if done.accepted else IntentState.FAILED
    reason = done.detail or ("taken on" if done.accepted else "refused")
    entities.advance(tx, intent, to, reason=reason, actor=f"agent {node_id}", now=now)
    if not done.accepted and intent.kind in {IntentKind.REPAIR_NODE, IntentKind.RUN_CHECKS}:
        health.end_order(tx, intent.id, node_id, now, passed=False, detail=reason, data={})
    if not done.accepted and intent.kind is IntentKind.COPY_CHECKPOINT:
        refused = CopyDone(seq=done.seq, intent_id=intent.id, worked=False, detail=reason)
        migrations.copied(tx, node_id, refused, now)
    if not done.accepted and intent.kind is IntentKind.START_ATTEMPT and intent.attempt_id is not None:
        why = f"node {node_id} refused the attempt: {reason}"
        sizes.lose(tx, ids, queries.attempt(tx.conn, intent.attempt_id), node_id, why, f"agent {node_id}", now)


def _running(
    tx: Transaction, _ids: IdSource, attempt: Attempt, slot: Slot, _seen: wire.AttemptRunning, now: float
) -> None:
    if slot.joining:
        attempts.joined(tx, attempt, slot.node_id, f"node {slot.node_id} joined it", now)
        return
    if attempt.state is not AttemptState.STARTING:
        return
    actor, reason = f"agent {slot.node_id}", "its program runs"
    entities.advance(tx, attempt, AttemptState.RUNNING, reason=reason, actor=actor, now=now)
    job = queries.job(tx.conn, attempt.job_id)
    if job.state is JobState.STARTING:
        job = entities.advance(tx, job, JobState.RUNNING, reason=reason, actor=actor, now=now)
    migrations.works(tx, job, attempt, actor, now, is_step=False)
    health.back_at_work(tx, attempt, actor, now)


def _stopped(
    tx: Transaction, ids: IdSource, attempt: Attempt, slot: Slot, seen: wire.AttemptStopped, now: float
) -> None:
    actor = f"agent {slot.node_id}"
    if seen.last_lines and (slot.rank == 0 or seen.outcome == "failed") and attempt.failed_at is None:
        writes.attempt_last_lines(tx, attempt.id, seen.last_lines)
    if slot.leaving or (slot.rank != 0 and _goes_on_without(tx, attempt, slot, seen)):
        sizes.lose(tx, ids, attempt, slot.node_id, f"stopped: {seen.detail or seen.outcome}", actor, now)
        return
    was_done = seen.outcome == "succeeded" and attempts.had_ended(tx, attempt, slot.node_id)
    attempt = attempts.release_slot(tx, attempt, slot.node_id, f"stopped: {seen.detail or seen.outcome}", now)
    if was_done:
        attempts.succeed_after_all(tx, attempt, actor, now)
    if attempt.outcome is not None:
        return
    if seen.outcome == "succeeded":
        attempt = replace(attempt, exit_code=0, detail="")
        attempts.settle(tx, ids, attempt, Outcome.SUCCEEDED, "the program ended with exit code 0", actor, now)
    elif seen.outcome == "failed":
        if attempt.failed_at is None:
            attempt = replace(attempt, failed_at=now, exit_code=seen.exit_code, detail=seen.detail)
        if len(attempt.slots) == 1 and health.is_well(tx, slot.node_id, now):
            # Its only node is alive enough to report and nothing is wrong there, so it is the program's own fault.
            attempts.settle(tx, ids, attempt, Outcome.FAILED, "the program failed by itself", actor, now)
        else:
            entities.save(tx, attempt)
            tx.hint(hints.PLAN)
    elif attempt.failed_at is not None and seen.ray_ended:
        # The head's program failed and its Ray goes down, so the others' does too: that proves nothing new.
        tx.hint(hints.PLAN)
    else:
        why = f"node {slot.node_id} stopped it: {seen.detail or seen.outcome}"
        # What never began to run costs the job none of its retries: a GPU was at fault, and it goes on elsewhere.
        # Nor does a machine that is taken back after it was told so.
        spared = seen.preflight_failed or notices.was_told(tx, slot.node_id)
        outcome = Outcome.EVICTED if spared else Outcome.INTERRUPTED
        attempts.settle(tx, ids, attempt, outcome, why, actor, now)


def _goes_on_without(tx: Transaction, attempt: Attempt, slot: Slot, seen: wire.AttemptStopped) -> bool:
    """Whether the end of one part is not the end of all: the platform's doing, or that of a node which was to join."""
    is_its_own = seen.outcome in {"succeeded", "failed"} and not slot.joining
    return not is_its_own and bending.may_lose(queries.job(tx.conn, attempt.job_id), attempt, {slot.node_id})


def _progress(
    tx: Transaction, _ids: IdSource, attempt: Attempt, slot: Slot, seen: wire.JobProgress, now: float
) -> None:
    job = queries.job(tx.conn, attempt.job_id)
    if job.epoch != attempt.epoch:
        return
    if job.progress is None or job.progress.at < attempt.created_at:
        data = {"step": seen.step, "epoch": attempt.epoch}
        reason = f"first step of attempt {attempt.epoch}: {seen.step}"
        _tell(tx, "job.first-step", attempt, slot, reason, now, data)
        health.back_at_work(tx, attempt, f"agent {slot.node_id}", now, step=seen.step)
        migrations.works(tx, job, attempt, f"agent {slot.node_id}", now, is_step=True)
    # Our own clock: a node's may be off, and instants that are compared must be of one clock.
    known = paces.watched(job, attempt, seen.step, now)
    writes.job_progress(tx, job.id, Progress(seen.step, now, seen.total_steps, seen.metrics, known))
    history.progressed(tx, job, attempt.epoch, seen.step, seen.metrics, now)
    tx.hint(hints.log_of(job.id))


def _replica(tx: Transaction, _ids: IdSource, attempt: Attempt, slot: Slot, seen: ReplicaSeen, now: float) -> None:
    replicas.seen(tx, attempt, slot, seen, now)


def _idle(tx: Transaction, _ids: IdSource, attempt: Attempt, slot: Slot, seen: IdleSeen, now: float) -> None:
    dev.idle(tx, attempt, slot, seen, now)


def _committed(
    tx: Transaction, _ids: IdSource, attempt: Attempt, slot: Slot, seen: wire.CheckpointCommitted, now: float
) -> None:
    job = queries.job(tx.conn, attempt.job_id)
    data = {"step": seen.step, "epoch": attempt.epoch, "size_bytes": seen.size_bytes, "url": seen.manifest_url}
    data |= {"stall_s": seen.stall_s} if seen.stall_s else {}
    if job.epoch != attempt.epoch:
        reason = f"step {seen.step} of stale attempt {attempt.epoch} is not counted: attempt {job.epoch} exists"
        _tell(tx, "job.stale-checkpoint", attempt, slot, reason, now, data)
    elif writes.checkpoint(
        tx, job.id, attempt.epoch, seen.step, seen.at, seen.size_bytes, seen.files, seen.manifest_url
    ):
        writes.attempt_saved(tx, attempt.id, seen.size_bytes, now)
        _tell(tx, "job.checkpoint", attempt, slot, f"checkpoint of step {seen.step} committed", now, data)


def _deleted(
    tx: Transaction, _ids: IdSource, attempt: Attempt, slot: Slot, seen: CheckpointsDeleted, now: float
) -> None:
    count = writes.checkpoints_gone(tx, attempt.job_id, seen.manifest_urls, now)
    if count:
        reason = f"{count} old checkpoints were deleted" if count > 1 else "an old checkpoint was deleted"
        _tell(tx, "job.checkpoints-deleted", attempt, slot, reason, now, {"urls": seen.manifest_urls})


def _restored(
    tx: Transaction, _ids: IdSource, attempt: Attempt, slot: Slot, seen: wire.CheckpointRestored, now: float
) -> None:
    if slot.rank != 0:
        return
    job = queries.job(tx.conn, attempt.job_id)
    last_step = None if job.progress is None else job.progress.step
    counts_saves = job.spec.resources.process_saves  # then no step of the program's is known of a checkpoint
    lost = None if last_step is None or counts_saves else last_step - (seen.step or 0)
    data = {
        "step": seen.step, "from_epoch": seen.from_epoch, "last_step": last_step, "steps_lost": lost,
        "damaged": seen.damaged, "url": seen.manifest_url, "epoch": attempt.epoch,
    }  # fmt: skip
    reason = "starts from nothing" if seen.step is None else f"starts from the checkpoint of step {seen.step}"
    if seen.damaged:
        reason += f"; {len(seen.damaged)} newer ones are damaged"
    _tell(tx, "job.restored", attempt, slot, reason, now, data)


def _tell(
    tx: Transaction, kind: str, attempt: Attempt, slot: Slot, reason: str, now: float, data: Mapping[str, Any]
) -> None:
    entities.append(
        tx,
        Event(
            now, kind, "job", attempt.job_id, reason, f"agent {slot.node_id}",
            job_id=attempt.job_id, node_id=slot.node_id, data=data,
        ),
    )  # fmt: skip


_HANDLERS: Mapping[type, Callable[[Transaction, IdSource, Attempt, Slot, Any, float], None]] = {
    wire.AttemptRunning: _running,
    wire.AttemptStopped: _stopped,
    wire.JobProgress: _progress,
    wire.CheckpointCommitted: _committed,
    wire.CheckpointRestored: _restored,
    CheckpointsDeleted: _deleted,
    ReplicaSeen: _replica,
    IdleSeen: _idle,
}
