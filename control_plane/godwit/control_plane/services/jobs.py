"""What people do with jobs: preview, submit, cancel, explain."""

import hashlib
import json
from dataclasses import replace
from typing import Any

from godwit.control_plane import tracing
from godwit.control_plane.context import Context
from godwit.control_plane.executors import dispatching
from godwit.control_plane.services import (
    afters,
    archives,
    arrays,
    attempts,
    homes,
    limits,
    migration_views,
    validation,
    views,
)
from godwit.control_plane.store import abilities, dependencies, entities, moves, queries, schema, tenancy
from godwit.control_plane.store import arrays as stored_arrays
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.errors import Conflict, InvalidRequest, Problem
from godwit.domain.events import Event
from godwit.domain.ids import JobId
from godwit.domain.jobs import Job, JobKind, JobSpec, JobState
from godwit.domain.nodes import NodeState
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.sizes import SizeView
from godwit.domain.wire.specs import JobSpecIn
from godwit.domain.wire.views import ExplainView, JobView, PlanView
from godwit.scheduler import planner, repair
from godwit.scheduler.feasibility import Answer
from godwit.scheduler.plan import BuyNode, Plan, StartAttempt
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.resizing import steps as resizing
from godwit.scheduler.snapshot import Snapshot
from sqlalchemy import Connection, insert, select

MIGRATIONS_TOLD = 5
"""Migrations that an explanation tells, the newest ones; `GET /v1/jobs/JOB/migrations` lists more."""

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
    with context.db.read() as conn:
        found = afters.found(conn, job.project, spec.after)
        after = tuple(dependencies.standing_of(conn, found))
        snapshot = limits.with_past(conn, snapshot, job)
    job = replace(job, after_id="preview")
    snapshot = replace(snapshot, dependencies={**snapshot.dependencies, "preview": after})
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
        count=spec_in.count or 1,
        outlook=views.outlook(plan.outlooks.get(job.id)),
        feasibility=views.feasibility(limits.answer(snapshot, job, plan, now)),
    )


def submit(
    context: Context,
    shelf: archives.Shelf,
    spec_in: JobSpecIn,
    idempotency_key: str | None,
    actor: str,
    *,
    is_strict: bool = False,
) -> JobView | ArrayView:
    """Write the desired job, or the jobs of an array in one transaction; launches nothing. Services come otherwise.

    Answers the job, or the array; the same key again the same one as it is by then. Raises `InvalidRequest`, if
    `is_strict` also for a job that cannot keep to its limits, or `Conflict` when the key was used for another
    specification.
    """
    now = context.now()
    spec = spec_in.to_domain(now)
    if spec.kind is JobKind.SERVICE:
        raise InvalidRequest(problems=[Problem(("kind",), "a service is no job; send it to /v1/services", ("train",))])
    written = spec_in.model_dump_json().encode()
    request_hash = hashlib.sha256(written).hexdigest()
    arrays.refuse_too_large(len(written), spec_in.count or 1)
    with context.db.read() as conn:
        known = None if idempotency_key is None else _repeated(conn, idempotency_key, request_hash)
        if known is not None:
            # Before it is checked again: what is sold may have changed since, the answer must not.
            return _submitted(conn, known)
        offers = abilities.known(queries.offers(conn), queries.holds(conn, now))
    validation.check(context, shelf, spec, offers)
    feasible = _feasibility(context, _new_job(JobId("job-preview"), spec, now), now)
    if is_strict:
        limits.refuse(feasible)
    with context.db.write() as tx:
        known = None if idempotency_key is None else _repeated(tx.conn, idempotency_key, request_hash)
        if known is not None:
            return _submitted(tx.conn, known)
        job = replace(_new_job(JobId(context.ids.new("job")), spec, now), user=actor[:64])
        job = homes.continued(tx.conn, job)
        found = afters.found(tx.conn, job.project, spec.after)
        if found:
            job = replace(job, after_id=context.ids.new("after"))
            dependencies.add(tx, str(job.after_id), found)
        job = _write(context, tx, job, spec_in.count, actor)
        tracing.note_job(job.id, made=True)
        told = views.feasibility(feasible)
        if told is not None:
            data = {"verdict": told.verdict, "short_by": told.short_by}
            entities.append(
                tx, Event(now, "job.feasibility", "job", job.id, told.answer, "planner", job_id=job.id, data=data)
            )
        if idempotency_key is not None:
            row = {"key": idempotency_key, "request_hash": request_hash, "job_id": job.id, "created_at": now}
            tx.conn.execute(insert(schema.idempotency).values(**row))
        return _submitted(tx.conn, job)


def _submitted(conn: Connection, first: Job) -> JobView | ArrayView:
    """What was submitted with this job: itself, or the array that it is the first of."""
    if first.member is None:
        return views.job(first)
    return arrays.view(conn, stored_arrays.get(conn, first.member.array_id))


def _feasibility(context: Context, job: Job, now: float) -> Answer | None:
    if not limits.has_any(job):
        return None
    with context.db.read() as conn:
        snapshot = queries.snapshot(conn, now, context.hearing_since, context.policy)
        snapshot = limits.with_past(conn, snapshot, job)
    return limits.answer(snapshot, job, planner.preview(snapshot, job, now, context.seed), now)


def _write(context: Context, tx: Transaction, job: Job, count: int | None, actor: str) -> Job:
    """Write a job, or `count` like it as an array; returns the first."""
    if count is not None:
        members = arrays.members(context.ids, job, count)
        arrays.write(tx, members, actor)
        return members[0]
    born = Event(job.created_at, "job.state", "job", job.id, "submitted", actor, new=JobState.QUEUED, job_id=job.id)
    entities.insert(tx, job, born)
    return job


def cancel(context: Context, name_or_id: str, actor: str) -> JobView:
    """Ask for a job's end. A final job is left as it is. Raises `NotFound`."""
    now = context.now()
    with context.db.write() as tx:
        job = queries.job(tx.conn, name_or_id)
        tracing.note_job(job.id)
        return views.job(end(tx, job, "its owner cancelled it", actor, now))


def cancel_array(context: Context, name_or_id: str, actor: str) -> ArrayView:
    """Ask for the end of every job of an array that has not ended. Raises `NotFound`."""
    now = context.now()
    with context.db.write() as tx:
        array = stored_arrays.get(tx.conn, name_or_id)
        reason = f"its owner cancelled array {array.name}"
        queued = stored_arrays.jobs(tx.conn, array.id, [JobState.QUEUED])
        queued = [replace(job, cancel_requested=True) for job in queued]
        entities.advance_all(tx, queued, JobState.CANCELLED, reason=reason, actor=actor, now=now)
        for job in stored_arrays.jobs(tx.conn, array.id, stored_arrays.LIVE_JOBS):
            end(tx, job, reason, actor, now)
        return arrays.view(tx.conn, array)


def end(tx: Transaction, job: Job, reason: str, actor: str, now: float) -> Job:
    """Ask for a job's end, once; the caller's transaction."""
    if lifecycle.is_final(job.state) or job.cancel_requested:
        return job
    job = replace(job, cancel_requested=True)
    if job.state is JobState.QUEUED:
        return entities.advance(tx, job, JobState.CANCELLED, reason=reason, actor=actor, now=now)
    if job.state in attempts.GOES_ON or not any(a.job_id == job.id for a in queries.live_attempts(tx.conn)):
        # What may still run of it is being stopped already; nothing else will move the job.
        return entities.advance(tx, job, JobState.STOPPING, reason=reason, actor=actor, now=now)
    job = entities.save(tx, job)
    entities.append(tx, Event(now, "job.cancel", "job", job.id, reason, actor, job_id=job.id))
    return job


def explain(context: Context, name_or_id: str) -> ExplainView:
    """Why a job is where it is. Computed by the planner itself on the present snapshot, so it is never out of date."""
    now = context.now()
    with context.db.read() as conn:
        job = queries.job(conn, name_or_id)
        events = queries.last_events(conn, STORY_EVENTS, job.id)
        last_lines = queries.last_lines(conn, job.id)
        moved = [migration_views.migration(conn, one, now) for one in moves.of_job(conn, job.id, MIGRATIONS_TOLD)]
        unseen = tenancy.ahead_of_window(conn, job) if job.state is JobState.QUEUED else 0
        untold = dispatching.trouble(conn)
        snapshot = queries.snapshot(conn, now, context.hearing_since, context.policy)
        if job.after_id is not None:  # one that waits for others is not among those that a plan looks at
            after = dependencies.standings(conn, [job.after_id])
            snapshot = replace(snapshot, dependencies={**snapshot.dependencies, **after})
    refusals: tuple[Refusal, ...] = ()
    outlook = None
    if repair.waits(job):
        plan = planner.preview(snapshot, job, now, context.seed)
        refusals, outlook = plan.refusals[job.id], plan.outlooks.get(job.id)
        # The planner's own order, in which fair shares count; who waits for other jobs has no place in it.
        ahead = 0 if outlook is None else outlook.position - 1 + unseen
        if ahead:
            behind = Refusal(Code.BEHIND, f"{ahead} jobs", "are served before it", "a higher priority, or time")
            refusals = (behind, *refusals)
        if untold and _unlaunched(snapshot, plan, job):
            unsent = Refusal(Code.NOT_LAUNCHING, "launches", f"are not carried out: {untold}", "your operators")
            refusals, outlook = (unsent, *refusals), None
    return ExplainView(
        job=views.job(job),
        headline=_headline(job, refusals),
        refusals=[views.refusal(refusal) for refusal in refusals],
        last_lines=last_lines if job.state is JobState.FAILED else [],
        events=[views.event(event) for event in events],
        outlook=views.outlook(outlook),
        migrations=moved,
        size=_size(snapshot, job, now),
        estimate=None if lifecycle.is_final(job.state) else views.estimate(snapshot.estimate(job, now)),
    )


def _unlaunched(snapshot: Snapshot, plan: Plan, job: Job) -> bool:
    """Whether a machine for it is still to be launched: what else it may wait for needs no worker."""
    owed = any(node.state is NodeState.REQUESTED and node.reserved_for == job.id for node in snapshot.nodes)
    return owed or any(isinstance(action, BuyNode) and action.job_id == job.id for action in plan.actions)


def _size(snapshot: Snapshot, job: Job, now: float) -> SizeView | None:
    told = resizing.explained(job, snapshot.attempt_by_job.get(job.id), snapshot, now)
    if told is None:
        return None
    return SizeView(nodes=told[0], target=told[1], wanted=job.nodes_wanted, why=told[2])


_TELLING = (
    JobState.QUEUED, JobState.RECOVERING, JobState.FAILED, JobState.STARTING, JobState.RUNNING, JobState.MIGRATING,
    JobState.RESIZING, JobState.STOPPING, JobState.CANCELLED, JobState.SUCCEEDED,
)  # fmt: skip
"""Which job of an array is worth explaining: one that waits, or else one that failed, or else one that is alive."""


def explain_array(context: Context, name_or_id: str) -> ExplainView:
    """Why an array is where it is, by one of its jobs that stands for others. Raises `NotFound`."""
    with context.db.read() as conn:
        array = stored_arrays.get(conn, name_or_id)
        shown = arrays.view(conn, array)
        state = next(state for state in _TELLING if state in shown.states)
        (job,) = stored_arrays.jobs(conn, array.id, [state], 1)
    return explain(context, job.id).model_copy(update={"array": shown})


def _headline(job: Job, refusals: tuple[Refusal, ...]) -> str:
    if job.state is JobState.FAILED:
        code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
        return f"failed{code}: {job.detail}"
    if repair.waits(job):
        first = f": {refusals[0].subject} {refusals[0].message}" if refusals else ""
        what = "other jobs" if refusals and refusals[0].code is Code.AFTER else "nodes"
        return f"{job.state}, waits for {what}{first}"
    return str(job.state) + (f": {job.detail}" if job.detail else "")


def _snapshot(context: Context, now: float) -> Snapshot:
    with context.db.read() as conn:
        return queries.snapshot(conn, now, context.hearing_since, context.policy)


def _new_job(job_id: JobId, spec: JobSpec, now: float) -> Job:
    return Job(job_id, spec.project, spec, JobState.QUEUED, created_at=now, state_since=now)


def _repeated(conn: Connection, key: str, request_hash: str) -> Job | None:
    row: Any = conn.execute(select(schema.idempotency).where(schema.idempotency.c.key == key)).first()
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise Conflict(f"the idempotency key {json.dumps(key)} was used for another specification; use a fresh one")
    return queries.job(conn, row.job_id)
