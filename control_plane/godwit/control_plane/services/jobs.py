"""What people do with jobs: preview, submit, cancel, explain."""

import hashlib
import json
from dataclasses import replace
from typing import Any

from godwit.control_plane.context import Context
from godwit.control_plane.services import archives, validation, views
from godwit.control_plane.store import entities, queries, schema
from godwit.domain import lifecycle
from godwit.domain.errors import Conflict
from godwit.domain.events import Event
from godwit.domain.ids import JobId
from godwit.domain.jobs import Job, JobSpec, JobState
from godwit.domain.wire.specs import JobSpecIn
from godwit.domain.wire.views import ExplainView, JobView, PlanView
from godwit.scheduler import planner, repair
from godwit.scheduler.plan import BuyNode, StartAttempt
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot
from sqlalchemy import Connection, insert, select

STORY_EVENTS = 1_000
"""Events that an explanation tells, the newest ones: more than a person reads, less than a long job has."""


def preview(context: Context, shelf: archives.Shelf, spec_in: JobSpecIn) -> PlanView:
    """What submitting this would do now; nothing is written. Raises `InvalidRequest`."""
    now = context.now()
    snapshot = _snapshot(context, now)
    # The command line uploads the workdir only after the plan was accepted.
    spec = replace(spec_in.to_domain(now), workdir_digest=None)
    validation.check(context, shelf, spec, snapshot.offers)
    job = _new_job(JobId("job-preview"), spec, now)
    plan = planner.preview(snapshot, job, now, context.seed)
    bought = [action for action in plan.actions if isinstance(action, BuyNode)]
    placed = [action for action in plan.actions if isinstance(action, StartAttempt)]
    price = sum(action.offer.price_usd_per_hour for action in bought)
    price += sum(snapshot.node_by_id[slot.node_id].offer.price_usd_per_hour for a in placed for slot in a.slots)
    return PlanView(
        feasible=bool(plan.actions),
        actions=[views.action(action) for action in plan.actions],
        refusals=[views.refusal(refusal) for refusal in plan.refusals[job.id]],
        price_usd_per_hour=round(price, 4),
        outlook=views.outlook(plan.outlooks.get(job.id)),
    )


def submit(
    context: Context, shelf: archives.Shelf, spec_in: JobSpecIn, idempotency_key: str | None, actor: str
) -> JobView:
    """Write the desired job; launches nothing. The same key again answers the same job.

    Raises `InvalidRequest`, or `Conflict` when the key was used for another specification.
    """
    now = context.now()
    spec = spec_in.to_domain(now)
    request_hash = hashlib.sha256(spec_in.model_dump_json().encode()).hexdigest()
    with context.db.read() as conn:
        known = None if idempotency_key is None else _repeated(conn, idempotency_key, request_hash)
        offers = queries.offers(conn)
    if known is not None:
        # Before it is checked again: what is sold may have changed since, the answer must not.
        return views.job(known)
    validation.check(context, shelf, spec, offers)
    with context.db.write() as tx:
        known = None if idempotency_key is None else _repeated(tx.conn, idempotency_key, request_hash)
        if known is not None:
            return views.job(known)
        job = _new_job(JobId(context.ids.new("job")), spec, now)
        born = Event(now, "job.state", "job", job.id, "submitted", actor, new=JobState.QUEUED, job_id=job.id)
        entities.insert(tx, job, born)
        if idempotency_key is not None:
            row = {"key": idempotency_key, "request_hash": request_hash, "job_id": job.id, "created_at": now}
            tx.conn.execute(insert(schema.idempotency).values(**row))
    return views.job(job)


def cancel(context: Context, name_or_id: str, actor: str) -> JobView:
    """Ask for a job's end. A final job is left as it is. Raises `NotFound`."""
    now = context.now()
    with context.db.write() as tx:
        job = queries.job(tx.conn, name_or_id)
        if lifecycle.is_final(job.state) or job.cancel_requested:
            return views.job(job)
        job = replace(job, cancel_requested=True)
        reason = "its owner cancelled it"
        if job.state is JobState.QUEUED:
            job = entities.advance(tx, job, JobState.CANCELLED, reason=reason, actor=actor, now=now)
        elif job.state is JobState.RECOVERING or not any(a.job_id == job.id for a in queries.live_attempts(tx.conn)):
            # What may still run of it is being stopped already; nothing else will move the job.
            job = entities.advance(tx, job, JobState.STOPPING, reason=reason, actor=actor, now=now)
        else:
            job = entities.save(tx, job)
            entities.append(tx, Event(now, "job.cancel", "job", job.id, reason, actor, job_id=job.id))
        return views.job(job)


def explain(context: Context, name_or_id: str) -> ExplainView:
    """Why a job is where it is. Computed by the planner itself on the present snapshot, so it is never out of date."""
    now = context.now()
    with context.db.read() as conn:
        job = queries.job(conn, name_or_id)
        events = queries.last_events(conn, STORY_EVENTS, job.id)
        last_lines = queries.last_lines(conn, job.id)
        ahead = queries.jobs_ahead(conn, job) if job.state is JobState.QUEUED else 0
        snapshot = queries.snapshot(conn, now, context.serving_since, context.policy)
    refusals: tuple[Refusal, ...] = ()
    outlook = None
    if repair.waits(job):
        plan = planner.preview(snapshot, job, now, context.seed)
        refusals, outlook = plan.refusals[job.id], plan.outlooks.get(job.id)
        if ahead:
            behind = Refusal(Code.BEHIND, f"{ahead} jobs", "are queued before it", "a higher priority")
            refusals = (behind, *refusals)
    return ExplainView(
        job=views.job(job),
        headline=_headline(job, refusals),
        refusals=[views.refusal(refusal) for refusal in refusals],
        last_lines=last_lines if job.state is JobState.FAILED else [],
        events=[views.event(event) for event in events],
        outlook=views.outlook(outlook),
    )


def _headline(job: Job, refusals: tuple[Refusal, ...]) -> str:
    if job.state is JobState.FAILED:
        code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
        return f"failed{code}: {job.detail}"
    if repair.waits(job):
        first = f": {refusals[0].subject} {refusals[0].message}" if refusals else ""
        return f"{job.state}, waits for nodes{first}"
    return str(job.state) + (f": {job.detail}" if job.detail else "")


def _snapshot(context: Context, now: float) -> Snapshot:
    with context.db.read() as conn:
        return queries.snapshot(conn, now, context.serving_since, context.policy)


def _new_job(job_id: JobId, spec: JobSpec, now: float) -> Job:
    return Job(job_id, spec.project, spec, JobState.QUEUED, created_at=now, state_since=now)


def _repeated(conn: Connection, key: str, request_hash: str) -> Job | None:
    row: Any = conn.execute(select(schema.idempotency).where(schema.idempotency.c.key == key)).first()
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise Conflict(f"the idempotency key {json.dumps(key)} was used for another specification; use a fresh one")
    return queries.job(conn, row.job_id)
