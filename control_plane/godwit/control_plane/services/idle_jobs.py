"""Jobs whose GPUs do nothing: their owners are told once, and they are ended where the operator wants that."""

from collections.abc import Mapping

from godwit.control_plane.context import Context
from godwit.control_plane.services import jobs
from godwit.control_plane.store import entities, loads, queries
from godwit.control_plane.store.database import Transaction
from godwit.domain.events import Event
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState
from godwit.domain.wire.loads import GpuLoad
from godwit.scheduler import idle_jobs
from godwit.scheduler.idle_jobs import Held, Verdict
from sqlalchemy import Connection

ACTOR = "idle-jobs"


def step(context: Context) -> int:
    """Judge every job of which something is known; safe to repeat. Returns of how many something was done."""
    now, terms = context.now(), context.policy.idle_jobs
    if not terms.after_s:
        return 0
    newest = context.loads.newest(now)
    with context.db.read() as conn:
        quiet = {id_: one for id_, one in loads.worked(conn, now - terms.after_s).items() if not one.is_busy}
        live = [one for one in queries.live_attempts(conn) if one.job_id in quiet] if quiet else []
        seen = [
            (one.job_id, _held(conn, one, quiet[one.job_id], newest))
            for one in live
            if one.state is AttemptState.RUNNING
        ]
    found = [(job_id, held, idle_jobs.verdict(held, terms, now)) for job_id, held in seen]
    due = [one for one in found if one[2] is not Verdict.NOTHING]
    for job_id, held, verdict in due:
        with context.db.write() as tx:
            _act(context, tx, queries.job(tx.conn, job_id), held, verdict)
    return len(due)


def _act(context: Context, tx: Transaction, job: Job, held: Held, verdict: Verdict) -> None:
    now, terms = context.now(), context.policy.idle_jobs
    if job.state is not JobState.RUNNING or job.cancel_requested:
        return
    if verdict is Verdict.RECLAIM:
        jobs.end(tx, job, idle_jobs.ended(held, terms), ACTOR, now)
        return
    data = {"gpus": held.gpus, "after_s": terms.after_s, "reclaims": terms.reclaims}
    entities.append(
        tx, Event(now, loads.TOLD, "job", job.id, idle_jobs.told(held, terms), ACTOR, job_id=job.id, data=data)
    )  # fmt: skip


def _held(conn: Connection, attempt: Attempt, known: loads.Worked, newest: Mapping[str, Mapping[int, GpuLoad]]) -> Held:
    """The job of a running attempt; a job that has just begun anew counts from then on."""
    job = queries.job(conn, attempt.job_id)
    gpus = [newest.get(slot.node_id, {}).get(index) for slot in attempt.staying for index in slot.gpus]
    return Held(
        kind=job.spec.kind,
        gpus=len(gpus),
        nodes=len(attempt.staying),
        running_since=max(job.state_since, attempt.state_since),
        node_minutes=known.node_minutes,
        busy_max=known.busy_max,
        busy_now=max((gpu.busy_percent for gpu in gpus if gpu is not None), default=0.0),
        busy_at=loads.busy_at(conn, attempt.job_id),
        told_at=loads.told_at(conn, attempt.job_id),
    )
