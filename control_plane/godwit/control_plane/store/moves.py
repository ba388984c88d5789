"""Migrations of jobs: their table, as rows and back, and every reading of it."""

import json
from dataclasses import asdict
from typing import Any

from godwit.control_plane.store.schema import metadata
from godwit.domain import lifecycle
from godwit.domain.ids import JobId, NodeId
from godwit.domain.migrations import Copy, Migration, MigrationState, Sum
from godwit.domain.resources import parse_infra
from godwit.scheduler.migration.policy import LOOK_BACK_S
from sqlalchemy import Column, Connection, Float, Index, Integer, Row, String, Table, Text, bindparam, or_, select

migrations = Table(
    "migrations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("from_epoch", Integer, nullable=False),
    Column("to_infra", String(255)),
    Column("store", Text),
    Column("sum", Text, nullable=False),
    Column("nodes", Text, nullable=False),
    Column("copies", Text, nullable=False),
    Column("prepared_at", Float),
    Column("switched_at", Float),
    Column("stopped_at", Float),
    Column("working_at", Float),
    Column("detail", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "job_id", "id"),
    Index(None, "state", "created_at"),
)

UNDER_WAY = tuple(state for state in MigrationState if not lifecycle.is_final(state))

LISTED_MAX = 100
"""Migrations of one job that are shown, the newest ones."""

_SEEN = (
    select(migrations)
    .where(or_(migrations.c.state.in_(UNDER_WAY), migrations.c.created_at > bindparam("since")))
    .order_by(migrations.c.id)
)
_OF_JOB = select(migrations).where(migrations.c.job_id == bindparam("of_job")).order_by(migrations.c.id.desc())


def seen(conn: Connection, now: float) -> tuple[Migration, ...]:
    """What a plan looks at: migrations that are under way, and those that began lately."""
    return tuple(migration_from(row) for row in conn.execute(_SEEN, {"since": now - LOOK_BACK_S}))


def of_job(conn: Connection, job_id: str, limit: int = LISTED_MAX) -> list[Migration]:
    """A job's migrations, the newest first."""
    return [migration_from(row) for row in conn.execute(_OF_JOB.limit(limit), {"of_job": job_id})]


def under_way(conn: Connection, job_id: str) -> Migration | None:
    """The one migration of a job that is not over."""
    newest = of_job(conn, job_id, 1)
    return newest[0] if newest and newest[0].state in UNDER_WAY else None


def stores(conn: Connection, job_id: str, default: str) -> list[str]:
    """Where a job's checkpoints lie: first where new ones go, then where it kept them before it moved."""
    moved = [one.store for one in of_job(conn, job_id) if one.store is not None and one.switched_at is not None]
    return list(dict.fromkeys([*moved, default]))


def migration_from(row: Row[Any]) -> Migration:
    """A migration from its row."""
    copies = {NodeId(node_id): Copy(**copy) for node_id, copy in json.loads(row.copies).items()}
    return Migration(
        id=row.id, job_id=JobId(row.job_id), state=MigrationState(row.state), created_at=row.created_at,
        state_since=row.state_since, actor=row.actor, reason=row.reason, from_epoch=row.from_epoch,
        to=None if row.to_infra is None else parse_infra(row.to_infra), store=row.store,
        sum=Sum(**json.loads(row.sum)), nodes=tuple(json.loads(row.nodes)), copies=copies,
        prepared_at=row.prepared_at, switched_at=row.switched_at, stopped_at=row.stopped_at,
        working_at=row.working_at, detail=row.detail, version=row.version,
    )  # fmt: skip


def migration_values(migration: Migration) -> dict[str, Any]:
    """A migration as its row, but for id and version."""
    return {
        "job_id": migration.job_id, "state": migration.state, "created_at": migration.created_at,
        "state_since": migration.state_since, "actor": migration.actor, "reason": migration.reason,
        "from_epoch": migration.from_epoch, "to_infra": None if migration.to is None else str(migration.to),
        "store": migration.store, "sum": json.dumps(asdict(migration.sum)), "nodes": json.dumps(list(migration.nodes)),
        "copies": json.dumps({node_id: asdict(copy) for node_id, copy in migration.copies.items()}),
        "prepared_at": migration.prepared_at, "switched_at": migration.switched_at,
        "stopped_at": migration.stopped_at, "working_at": migration.working_at, "detail": migration.detail,
    }  # fmt: skip
