"""What agents are told of dev environments, and what they say of them."""

from godwit.control_plane.services import jobs
from godwit.control_plane.store import entities, queries
from godwit.control_plane.store.database import Transaction
from godwit.domain import times
from godwit.domain.dev import Dev
from godwit.domain.events import Event
from godwit.domain.jobs import Attempt, AttemptState, Slot
from godwit.domain.wire.dev import Desk, IdleSeen
from godwit.scheduler.ledger.reading import UNUSED, USED


def desk_of(wanted: Dev) -> Desk:
    """What the agent of an environment has to do."""
    return Desk(home_bytes_max=wanted.home_bytes_max, idle_after_s=wanted.idle_after_s)


def _note_use(tx: Transaction, attempt: Attempt, slot: Slot, seen: IdleSeen, now: float) -> None:
    """That nobody uses what it holds, or that somebody does again: the ledger counts it as held meanwhile."""
    unused = times.duration_text(seen.idle_s)
    reason = f"nobody and nothing used it for {unused}" if seen.idle_s else "it is used again"
    event = Event(
        now, UNUSED if seen.idle_s else USED, "job", attempt.job_id, reason, f"agent {slot.node_id}",
        job_id=attempt.job_id, node_id=slot.node_id, data={"idle_s": seen.idle_s, "epoch": attempt.epoch},
    )  # fmt: skip
    entities.append(tx, event)


def idle(tx: Transaction, attempt: Attempt, slot: Slot, seen: IdleSeen, now: float) -> None:
    """Nobody uses it: after its time it is stopped as its owner would, with its home saved. What is said of a stale
    attempt is dropped.
    """
    job = queries.job(tx.conn, attempt.job_id)
    wanted = None if job.spec.dev is None else job.spec.dev.idle_after_s
    if job.epoch != attempt.epoch:
        return
    if wanted is None or seen.idle_s < wanted:
        _note_use(tx, attempt, slot, seen, now)
        return
    if attempt.state is AttemptState.RUNNING:
        unused = times.duration_text(seen.idle_s)
        reason = f"nobody and nothing used it for {unused} (idle_after); its home is saved first"
        jobs.end(tx, job, reason, f"agent {slot.node_id}", now)
