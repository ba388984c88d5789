"""What people do with migrations, and what comes of them: wish one, cancel one, count what was copied, tell the end."""

from dataclasses import replace

import structlog
from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.services import homes
from godwit.control_plane.services import migration_views as views
from godwit.control_plane.store import entities, moves, queries
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.errors import Conflict, InvalidRequest, NotFound, Problem
from godwit.domain.events import Event
from godwit.domain.ids import MigrationId, NodeId
from godwit.domain.intents import Intent, IntentState
from godwit.domain.jobs import Attempt, Job, JobKind, JobState
from godwit.domain.migrations import Migration, MigrationState
from godwit.domain.resources import Infra, parse_infra
from godwit.domain.wire.copies import CopyCheckpoint, CopyDone
from godwit.domain.wire.migrations import MigrationPlan, MigrationRequest, MigrationView
from godwit.scheduler import planner

log = structlog.get_logger()


def preview(context: Context, name_or_id: str, request: MigrationRequest) -> MigrationPlan:
    """Where a job would go now, and the arithmetic; nothing is written. Raises as `begin_for` does."""
    now, to = context.now(), _place(request)
    with context.db.read() as conn:
        job = queries.job(conn, name_or_id)
        _refuse(job, to)
        snapshot = queries.snapshot(conn, now, context.hearing_since, context.policy)
    found = planner.preview_move(snapshot, job.id, to, now, context.seed)
    return views.plan(job, found, to)


def wish(context: Context, name_or_id: str, request: MigrationRequest, actor: str) -> MigrationView:
    """Begin to move a running job; the planner does the rest. Asked again with the same wish it answers the same one.

    Raises `NotFound`; `InvalidRequest` for a place that the job may not go to; `Conflict` when the job does not run
    now, or moves elsewhere already.
    """
    now, to = context.now(), _place(request)
    with context.db.write() as tx:
        job = queries.job(tx.conn, name_or_id)
        known = moves.under_way(tx.conn, job.id)
        if known is not None and (known.to, known.store) == (to, request.store):
            return views.migration(tx.conn, known, now)
        if known is not None:
            raise Conflict(f"{job.spec.name} is moved already (to {known.to or 'anywhere'}); cancel that first")
        _refuse(job, to)
        where = "to wherever it costs least" if to is None else f"to {to}"
        migration = Migration(
            MigrationId(context.ids.new("migration")), job.id, MigrationState.PLANNED, now, now, actor,
            f"{actor} moves it {where}", job.epoch, to=to, store=request.store,
        )  # fmt: skip
        begin(tx, migration)
        return views.migration(tx.conn, migration, now)


def cancel(context: Context, name_or_id: str, actor: str) -> MigrationView:
    """End a job's migration while the job runs where it was. Raises `NotFound`, or `Conflict` when it is too late."""
    now = context.now()
    with context.db.write() as tx:
        job = queries.job(tx.conn, name_or_id)
        known = moves.under_way(tx.conn, job.id)
        if known is None:
            raise Conflict(f"{job.spec.name} is not being moved")
        if known.state is MigrationState.SWITCHING:
            raise Conflict(f"{job.spec.name} was told to stop already; move it back once it runs there")
        moved = move(tx, known, MigrationState.CANCELLED, f"cancelled by {actor}", actor, now)
        return views.migration(tx.conn, moved, now)


def listed(context: Context, name_or_id: str) -> list[MigrationView]:
    """A job's migrations, the newest first. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        job = queries.job(conn, name_or_id)
        return [views.migration(conn, one, now) for one in moves.of_job(conn, job.id)]


def begin(tx: Transaction, migration: Migration) -> None:
    """Write a new migration, and the event that tells of it."""
    born = Event(
        migration.created_at, "migration.state", "migration", migration.id, migration.reason, migration.actor,
        new=MigrationState.PLANNED, job_id=migration.job_id,
    )  # fmt: skip
    entities.insert(tx, migration, born)


def move(tx: Transaction, migration: Migration, to: MigrationState, reason: str, actor: str, now: float) -> Migration:
    """Move a migration along its table; what happened is its detail."""
    tx.hint(hints.PLAN)
    if lifecycle.is_final(to):
        _owe_no_copies(tx, migration, reason, actor, now)
    moved = replace(migration, detail=reason)
    return entities.advance(tx, moved, to, reason=reason, actor=actor, now=now)


def _owe_no_copies(tx: Transaction, migration: Migration, reason: str, actor: str, now: float) -> None:
    """A migration that is over needs no copies; one that is being made may be finished, and is no harm."""
    for copy in migration.copies.values():
        intent = queries.intent(tx.conn, copy.intent_id)
        if intent.state is IntentState.PENDING:
            entities.advance(tx, intent, IntentState.CANCELLED, reason=reason, actor=actor, now=now)


def copied(tx: Transaction, node_id: NodeId, seen: CopyDone, now: float) -> None:
    """A node told how the copy ended that it was to make; one that nobody waits for is dropped."""
    try:
        intent = queries.intent(tx.conn, seen.intent_id)
    except NotFound:  # it was ordered after the backup that was restored since
        log.warning("a copy that was not ordered", node=node_id, intent=seen.intent_id)
        return
    migration = moves.under_way(tx.conn, str(intent.job_id or intent.payload.get("job", "")))
    copy = None if migration is None else migration.copies.get(node_id)
    if migration is None or copy is None or copy.intent_id != seen.intent_id:
        log.info("a copy that nobody waits for any more", node=node_id, intent=seen.intent_id)
        return
    copy = replace(
        copy, worked=seen.worked, step=seen.step, moved_bytes=seen.moved_bytes, took_s=seen.took_s, detail=seen.detail
    )
    entities.save(tx, replace(migration, copies={**migration.copies, node_id: copy}))
    words = f"copied step {seen.step}, {seen.moved_bytes} bytes in {seen.took_s:.1f} s"
    reason = f"could not copy ahead: {seen.detail}" if not seen.worked else words
    reason = "there is nothing to copy ahead yet" if seen.worked and seen.step is None else reason
    data = {"node": node_id, "step": seen.step, "moved_bytes": seen.moved_bytes, "took_s": seen.took_s}
    entities.append(tx, Event(now, "migration.copy", "migration", migration.id, reason, f"agent {node_id}",
                              job_id=migration.job_id, node_id=node_id, data=data))  # fmt: skip


def works(tx: Transaction, job: Job, attempt: Attempt, actor: str, now: float, *, is_step: bool) -> None:
    """An attempt runs, or made its first step (`is_step`); `job` is as it was before. A migration to it is done then.

    One whose program told of steps before is done at its first step there, which ends the downtime.
    """
    if attempt.epoch < 2 or (not is_step and job.progress is not None):
        return
    migration = moves.under_way(tx.conn, job.id)
    if migration is None or migration.state is not MigrationState.SWITCHING or attempt.epoch <= migration.from_epoch:
        return
    stopped_at = migration.switched_at if job.progress is None else job.progress.at
    migration = replace(migration, stopped_at=stopped_at, working_at=now)
    what = "made its first step" if is_step else "runs"
    reason = f"it {what} on its new nodes, {migration.downtime_s or 0.0:.1f} s after its last step on the old ones"
    move(tx, migration, MigrationState.DONE, reason, actor, now)


def _place(request: MigrationRequest) -> Infra | None:
    return None if request.to is None else parse_infra(request.to)


def _refuse(job: Job, to: Infra | None) -> None:
    """Raise unless a job may be moved there now."""
    if job.spec.kind is JobKind.SERVICE:
        raise InvalidRequest(f"{job.spec.name} is a replica; `godwit services move` moves it")
    if job.state is not JobState.RUNNING or job.cancel_requested:
        raise Conflict(f"{job.spec.name} is {job.state}; only what runs can be moved")
    allowed = job.spec.resources.infra
    if to is not None and allowed and not any(_overlap(one, to) for one in allowed):
        words = ", ".join(map(str, allowed))
        problem = Problem(("to",), f"the job may run in {words} only, says its specification", tuple(map(str, allowed)))
        raise InvalidRequest(problems=[problem])


def _overlap(one: Infra, other: Infra) -> bool:
    pairs = ((one.region, other.region), (one.zone, other.zone))
    return one.provider == other.provider and all(a is None or b is None or a == b for a, b in pairs)


def stores_of(context: Context, tx: Transaction, job: Job) -> list[str]:
    """Where a job's checkpoints go, and where they went before it moved; each with the job's own folder."""
    default = job.spec.checkpoint.store or context.store_url
    return [f"{store.rstrip('/')}/{homes.folder_of(job)}" for store in moves.stores(tx.conn, job.id, default)]


def order_of(context: Context, tx: Transaction, intent: Intent) -> CopyCheckpoint:
    """What a node is told that copies a job's newest checkpoint ahead."""
    job = queries.job(tx.conn, str(intent.payload["job"]))
    known, store = moves.under_way(tx.conn, job.id), None
    if known is not None and known.store is not None and intent.payload.get("to_store"):
        store = f"{known.store.rstrip('/')}/{homes.folder_of(job)}"
    return CopyCheckpoint(
        intent_id=intent.id, job_id=job.id, epoch=job.epoch, stores=stores_of(context, tx, job), to_store=store,
        env=dict(job.spec.env), reason=intent.reason,
    )  # fmt: skip
