"""Writes down what is decided about migrations."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from godwit.control_plane.reconcilers.writing import ACTOR, Writing
from godwit.control_plane.services import attempts, migrations
from godwit.control_plane.store import entities, moves, queries
from godwit.domain.events import Event
from godwit.domain.ids import MigrationId
from godwit.domain.intents import IntentKind
from godwit.domain.jobs import JobState, Outcome
from godwit.domain.migrations import Copy, Migration, MigrationState
from godwit.scheduler.migration.actions import CopyAhead, Migrate, MoveMigration, WishMigration
from godwit.scheduler.plan import Action


def _wish(writing: Writing, action: WishMigration) -> None:
    job, now = writing.jobs[action.job_id], writing.now
    if moves.under_way(writing.tx.conn, job.id) is not None:
        return
    migration = Migration(
        MigrationId(writing.ids.new("migration")), job.id, MigrationState.PLANNED, now, now, ACTOR, action.reason,
        action.from_epoch, to=action.to, sum=action.arithmetic,
    )  # fmt: skip
    migrations.begin(writing.tx, migration)


def _move(writing: Writing, action: MoveMigration) -> None:
    migration = _known(writing, action.migration_id)
    to, reason = action.to, action.reason
    if action.arithmetic is not None:
        migration = replace(migration, sum=action.arithmetic)
    if to is MigrationState.PREPARING:
        migration = replace(migration, prepared_at=writing.now)
    job = queries.job(writing.tx.conn, migration.job_id)
    if to is MigrationState.CANCELLED and job.state is JobState.SUCCEEDED and job.epoch > migration.from_epoch:
        to, reason = MigrationState.DONE, "the job ended well on its new nodes"
    migrations.move(writing.tx, migration, to, reason, ACTOR, writing.now)
    if to is MigrationState.FAILED and job.state is JobState.MIGRATING:
        writing.move_job(writing.jobs.get(job.id, job), JobState.RECOVERING, f"its migration failed: {reason}")


def _copy(writing: Writing, action: CopyAhead) -> None:
    migration = _known(writing, action.migration_id)
    payload = {"migration": migration.id, "job": migration.job_id, "to_store": action.to_store}
    writing.save_node(writing.nodes[action.node_id])  # guarded by its version: one that has left copies nothing
    intent_id = writing.owe(IntentKind.COPY_CHECKPOINT, action.node_id, action.reason, payload=payload)
    copies = {**migration.copies, action.node_id: Copy(intent_id)}
    entities.save(writing.tx, replace(migration, copies=copies))


def _migrate(writing: Writing, action: Migrate) -> None:
    migration, attempt, now = _known(writing, action.migration_id), writing.attempts[action.attempt_id], writing.now
    told = Event(
        now, "job.migrates", "job", attempt.job_id, action.reason, ACTOR, job_id=attempt.job_id,
        data={"migration": migration.id, "epoch": attempt.epoch, "nodes": list(action.nodes)},
    )  # fmt: skip
    entities.append(writing.tx, told)
    migration = replace(migration, nodes=action.nodes, switched_at=now)
    migrations.move(writing.tx, migration, MigrationState.SWITCHING, action.reason, ACTOR, now)
    attempts.settle(writing.tx, writing.ids, attempt, Outcome.MIGRATED, action.reason, ACTOR, now)


def _known(writing: Writing, migration_id: MigrationId) -> Migration:
    """The migration as the plan saw it, or as an action before this one left it: its version guards the write."""
    row = writing.tx.conn.execute(moves.migrations.select().where(moves.migrations.c.id == migration_id)).one()
    return moves.migration_from(row)


HANDLERS: Mapping[type[Action], Callable[[Writing, Any], None]] = {
    WishMigration: _wish,
    MoveMigration: _move,
    CopyAhead: _copy,
    Migrate: _migrate,
}
