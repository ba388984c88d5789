"""What agents are told of dev environments, and what they say of them."""

from godwit.control_plane.services import jobs
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Transaction
from godwit.domain import times
from godwit.domain.dev import Dev
from godwit.domain.jobs import Attempt, AttemptState, Slot
from godwit.domain.wire.dev import Desk, IdleSeen


def desk_of(wanted: Dev) -> Desk:
    """What the agent of an environment has to do."""
    return Desk(home_bytes_max=wanted.home_bytes_max, idle_after_s=wanted.idle_after_s)


def idle(tx: Transaction, attempt: Attempt, slot: Slot, seen: IdleSeen, now: float) -> None:
    """Nobody uses it: it is stopped as its owner would, with its home saved. What is said of a stale attempt is not."""
    job = queries.job(tx.conn, attempt.job_id)
    wanted = None if job.spec.dev is None else job.spec.dev.idle_after_s
    if wanted is None or seen.idle_s < wanted or job.epoch != attempt.epoch:
        return
    if attempt.state is AttemptState.RUNNING:
        unused = times.duration_text(seen.idle_s)
        reason = f"nobody and nothing used it for {unused} (idle_after); its home is saved first"
        jobs.end(tx, job, reason, f"agent {slot.node_id}", now)
